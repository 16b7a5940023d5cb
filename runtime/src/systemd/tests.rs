use expect_test::{Expect, expect};

use super::*;

fn scope(path: &str) -> Scope {
    Scope::parse(Some(path), "web").unwrap()
}

fn refused(path: &str, text: Expect) {
    text.assert_eq(&Scope::parse(Some(path), "web").unwrap_err().to_string());
}

#[test]
fn a_scope_is_named_by_slice_prefix_and_name() {
    let of_podman = scope("machine.slice:libpod:0123");
    assert_eq!(of_podman.name, "libpod-0123.scope");
    assert_eq!(of_podman.path().unwrap().as_str(), "machine.slice/libpod-0123.scope");
    let of_a_pod = scope("kubepods-burstable-pod7.slice:cri-containerd:89");
    assert_eq!(
        of_a_pod.path().unwrap().as_str(),
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7.slice/\
         cri-containerd-89.scope"
    );
    assert_eq!(scope("-.slice::x").path().unwrap().as_str(), "x.scope");
    assert_eq!(scope(":docker:x").path().unwrap().as_str(), "system.slice/docker-x.scope");
    let unnamed = Scope::parse(None, "web").unwrap();
    assert_eq!(unnamed.path().unwrap().as_str(), "system.slice/isula-web.scope");
}

#[test]
fn what_names_no_unit_is_refused() {
    refused(
        "/isulad/web",
        expect![[
            r#"config.json: linux.cgroupsPath: is "/isulad/web"; the systemd cgroup driver takes SLICE:PREFIX:NAME"#
        ]],
    );
    refused(
        "machine:a:b",
        expect![[
            r#"config.json: linux.cgroupsPath: "machine" is not the name of a slice, like machine.slice"#
        ]],
    );
    refused(
        "a--b.slice:a:b",
        expect![[
            r#"config.json: linux.cgroupsPath: "a--b.slice" is not the name of a slice, like machine.slice"#
        ]],
    );
    refused(
        "a.slice:../..:b",
        expect![[r#"config.json: linux.cgroupsPath: "../.." and "b" make no name of a unit"#]],
    );
    refused(
        "a.slice:a:",
        expect![[r#"config.json: linux.cgroupsPath: "a" and "" make no name of a unit"#]],
    );
}
