//! Golden documents: what each kind of container gets. To accept a change: UPDATE_EXPECT=1.

use std::collections::BTreeMap;

use container::config::{Log, Namespaces, NetworkFiles, Process, Resources, Security, VERSION};
use container::config::{Mount, MountKind, RestartPolicy, Seccomp, UserRemap};
use expect_test::{ExpectFile, expect_file};
use linux::device::DeviceKind;
use oci_spec::runtime::Hooks;

use super::*;
use crate::host::Paths;

pub(crate) fn config() -> Config {
    Config {
        version: VERSION,
        id: "0123456789abcdef".repeat(4).parse().unwrap(),
        name: "web1".parse().unwrap(),
        created: String::new(),
        image: "none".into(),
        rootfs: "/srv/web".into(),
        rootfs_image: false,
        system_container: false,
        privileged: false,
        read_only: false,
        process: Process {
            args: vec!["init".into()],
            entrypoint: None,
            env: vec!["PATH=/bin".into()],
            env_target_file: None,
            cwd: "/".into(),
            user: String::new(),
            group_add: vec![],
            tty: true,
            open_stdin: true,
        },
        hostname: "web".into(),
        namespaces: Namespaces::default(),
        bridge: None,
        expose: vec![],
        publish_all: false,
        user_remap: None,
        cgroup_parent: "/isulad".into(),
        resources: Resources::default(),
        security: Security::default(),
        mounts: vec![],
        devices: vec![],
        host_channel: None,
        shm_size: 64 << 20,
        sysctls: BTreeMap::new(),
        ns_change_files: vec![],
        ns_change_opt: None,
        network_files: NetworkFiles::default(),
        restart: RestartPolicy::No,
        auto_remove: false,
        stop_signal: None,
        log: Log::default(),
        health: None,
        hook_spec: None,
        lxcfs: container::config::Lxcfs::default(),
        hooks: Hooks::default(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        runtime: None,
    }
}

fn system() -> Config {
    Config { system_container: true, ..config() }
}

fn host() -> Host {
    Host {
        paths: Paths {
            bundle: "/var/lib/isulad/B".into(),
            state: "/run/isulad/S".into(),
            rootfs: "/srv/web".into(),
        },
        kernel: (6, 1),
        huge_page: "2MB".into(),
        ..Host::default()
    }
}

/// The document without its system call lists (they have tests of their own), sets sorted.
fn document(config: &Config, host: &Host) -> serde_json::Value {
    let spec = build(config, host).unwrap();
    let mut document = serde_json::to_value(spec).unwrap();
    if let Some(seccomp) = document["linux"].get_mut("seccomp") {
        *seccomp = "left out".into();
    }
    let capabilities = document["process"]["capabilities"].as_object_mut().unwrap();
    for set in capabilities.values_mut() {
        let mut names: Vec<String> = serde_json::from_value(set.take()).unwrap();
        names.sort();
        *set = names.join(" ").into();
    }
    // Their order is that of a hash map.
    for map in ["/annotations", "/linux/sysctl"] {
        if let Some(map) = document.pointer_mut(map).and_then(|map| map.as_object_mut()) {
            map.sort_keys();
        }
    }
    document
}

fn check(config: &Config, host: &Host, expected: ExpectFile) {
    expected.assert_eq(&format!("{:#}\n", document(config, host)));
}

#[test]
fn an_ordinary_container() {
    check(&config(), &host(), expect_file!["tests/ordinary.json"]);
}

#[test]
fn a_system_container() {
    check(&system(), &host(), expect_file!["tests/system.json"]);
}

#[test]
fn a_system_container_with_everything() {
    let mut config = system();
    config.user_remap = Some(UserRemap { uid: 100_000, gid: 200_000, size: 65535 });
    config.ns_change_files = vec!["/proc/sys/net".into()];
    config.resources = Resources {
        memory: Some(64 << 20),
        nano_cpus: Some(1_500_000_000),
        pids_limit: Some(-1),
        oom_score_adj: Some(5),
        hugetlb: vec![container::config::Hugetlb { page_size: String::new(), limit: 4 << 20 }],
        device_cgroup_rules: vec!["c 10:* rw".into()],
        device_read_bps: vec![container::config::DeviceValue {
            path: "/dev/sda".into(),
            value: 1 << 20,
        }],
        ulimits: vec![container::config::Ulimit { name: "nofile".into(), soft: 1, hard: 2 }],
        ..Resources::default()
    };
    config.mounts = [("/z/y", "deep"), ("/z", "shallow"), ("/tmp", "theirs")]
        .map(|(destination, source)| Mount {
            kind: MountKind::Bind,
            source: format!("/{source}").into(),
            destination: destination.into(),
            options: vec!["rbind".into(), "ro".into()],
            volume: None,
        })
        .into();
    config.sysctls.insert("kernel.sem".into(), "1 2 3 4".into());
    config.annotations.insert("native.umask".into(), "normal".into());
    let mut host = host();
    host.devices = vec![DeviceFact {
        container_path: "/dev/sdx".into(),
        kind: DeviceKind::Block,
        major: 8,
        minor: 0,
        mode: 0o660,
        uid: 0,
        gid: 6,
        access: "rw".into(),
    }];
    host.block_devices.insert("/dev/sda".into(), (8, 0));
    check(&config, &host, expect_file!["tests/everything.json"]);
}

#[test]
fn privileged() {
    let document = document(&Config { privileged: true, ..system() }, &host());
    let linux = &document["linux"];
    assert!(linux.get("seccomp").is_none());
    assert_eq!(linux["maskedPaths"], serde_json::json!([]));
    assert_eq!(linux["readonlyPaths"], serde_json::json!([]));
    let sys = document["mounts"].as_array().unwrap().iter();
    let sys = sys.into_iter().find(|mount| mount["destination"] == "/sys").unwrap();
    assert!(sys["options"].as_array().unwrap().contains(&"rw".into()));
    assert_eq!(linux["resources"]["devices"].as_array().unwrap().len(), 1);
}

#[test]
fn joined_and_host_namespaces() {
    let mut config = config();
    config.namespaces = Namespaces {
        net: Some("host".into()),
        pid: Some("container:x".into()),
        ipc: Some("container:x".into()),
        uts: Some("host".into()),
        user: None,
        cgroup: Some("host".into()),
        time: false,
    };
    let mut host = host();
    host.joined.insert("container:x".into(), 77);
    let document = document(&config, &host);
    assert_eq!(
        document["linux"]["namespaces"],
        serde_json::json!([
            {"type": "mount"},
            {"type": "pid", "path": "/proc/77/ns/pid"},
            {"type": "ipc", "path": "/proc/77/ns/ipc"},
        ])
    );
    assert!(document.get("hostname").is_none());
    let mounts = document["mounts"].to_string();
    assert!(mounts.contains("/proc/77/root/dev/shm"), "{mounts}");
}

#[test]
fn capabilities_in_every_order_and_spelling() {
    let set = |add: &[&str], drop: &[&str]| {
        let mut config = system();
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        config.security.cap_add = own(add);
        config.security.cap_drop = own(drop);
        bounding(&config).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(set(&[], &[]).len(), 15);
    assert_eq!(set(&["NET_ADMIN"], &["ALL"]), ["NET_ADMIN"]);
    assert!(!set(&[], &["SYS_BOOT"]).contains(&"SYS_BOOT".to_owned()));
    let all = set(&["ALL"], &["SYS_ADMIN"]);
    assert!(all.len() == 40 && !all.contains(&"SYS_ADMIN".to_owned()));
    assert!(for_user(&bounding(&system()), 33).effective().as_ref().unwrap().is_empty());
}

#[test]
fn seccomp_of_each_kind() {
    let seccomp = |config: &Config| {
        build(config, &host()).unwrap().linux().clone().unwrap().seccomp().clone()
    };
    let calls = |config: &Config| {
        let profile = seccomp(config).unwrap();
        let rules = profile.syscalls().clone().unwrap();
        rules.iter().flat_map(|rule| rule.names().clone()).collect::<Vec<_>>()
    };
    assert!(!calls(&config()).contains(&"mount".to_owned()));
    assert!(calls(&system()).contains(&"mount".to_owned()));
    let mut unconfined = system();
    unconfined.security.seccomp = Seccomp::Unconfined;
    assert!(seccomp(&unconfined).is_none());
}
