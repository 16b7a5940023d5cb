use std::fs;

use expect_test::{Expect, expect};

use super::*;

#[test]
fn ids_are_mapped_line_by_line() {
    let map = IdMap::parse("         0     100000        10\n        20     200000         5\n");
    assert_eq!(map.to_host(0), Some(100_000));
    assert_eq!(map.to_host(9), Some(100_009));
    assert_eq!(map.to_host(10), None);
    assert!(map.covers(100_009) && !map.covers(100_010) && !map.covers(0));
    assert_eq!(map.to_host(24), Some(200_004));
    assert_eq!(IdMap::default().to_host(0), None);
}

/// The error of a bundle whose root.path is `path`, with `root` in its state.
fn refused(path: &str, root: Option<&str>, expected: &Expect) {
    let bundle = tempfile::tempdir().unwrap();
    fs::create_dir(bundle.path().join("rootfs")).unwrap();
    fs::create_dir(bundle.path().join("other")).unwrap();
    let here = bundle.path().to_str().unwrap();
    let text = format!(r#"{{"root":{{"path":"{path}"}}}}"#);
    fs::write(bundle.path().join("config.json"), text).unwrap();
    let root = root.map(|root| root.replace("BUNDLE", here).into());
    let state = OciState { id: "web".into(), pid: 1, bundle: bundle.path().into(), root };
    let spec = Spec::read(&state.bundle).unwrap();
    let text = match rootfs_of(&state, &spec) {
        Ok(rootfs) => rootfs.display().to_string(),
        Err(error) => error.to_string(),
    };
    let real = fs::canonicalize(here).unwrap();
    expected.assert_eq(&text.replace(real.to_str().unwrap(), "BUNDLE").replace(here, "BUNDLE"));
}

#[test]
fn the_rootfs_is_the_bundles_and_never_the_hosts() {
    refused("rootfs", None, &expect!["BUNDLE/rootfs"]);
    refused("rootfs", Some("BUNDLE/rootfs"), &expect!["BUNDLE/rootfs"]);
    refused("", None, &expect!["container web: root.path of its config.json is missing or empty"]);
    refused("/", None, &expect!["container web: root.path of its config.json is the host's root"]);
    refused(
        "/proc/..",
        None,
        &expect!["container web: root.path of its config.json is the host's root"],
    );
    refused(
        "rootfs",
        Some("BUNDLE/other"),
        &expect![[
            r#"container web: its state says that the rootfs is "BUNDLE/other", its config.json says BUNDLE/rootfs"#
        ]],
    );
    refused(
        "rootfs",
        Some("rootfs"),
        &expect![[
            r#"container web: its state says that the rootfs is "rootfs", its config.json says BUNDLE/rootfs"#
        ]],
    );
    refused(
        "gone",
        None,
        &expect![
            "container web: find its rootfs BUNDLE/gone: No such file or directory (os error 2)"
        ],
    );
}

#[test]
fn a_process_among_the_hosts_mounts_is_no_container() {
    let pid = Pid::current();
    let init = PidFd::open(pid).unwrap();
    let error = Running::hold("web".into(), pid, init, None, None).unwrap_err();
    let text = error.to_string().replace(&pid.to_string(), "PID");
    expect!["container web: process PID lives among the host's mounts"].assert_eq(&text);
}

#[test]
fn a_process_elsewhere_than_in_the_cgroup_of_its_bundle_is_another() {
    let mut spec = Spec::default();
    spec.linux.cgroups_path = Some("/system-container-toolkit/nobody".into());
    let pid = Pid::current();
    let error = cgroup_of("web", pid, &spec).unwrap_err();
    let text = error.to_string().replace(&pid.to_string(), "PID");
    expect!["container web: process PID is not in its cgroup /system-container-toolkit/nobody"]
        .assert_eq(&text);
}

#[test]
fn the_cgroup_is_the_one_that_carries_the_id() {
    let check = |path: &str, expected: &str| {
        assert_eq!(trimmed(Path::new(path), "3f2a"), Path::new(expected), "{path}");
    };
    check("/docker/3f2a/init.scope", "/docker/3f2a");
    check("/system.slice/docker-3f2a.scope/x/y", "/system.slice/docker-3f2a.scope");
    check("/machine/other/init.scope", "/machine/other");
    check("/machine/other", "/machine/other");
}
