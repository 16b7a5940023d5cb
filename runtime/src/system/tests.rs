use expect_test::expect;
use serde_json::json;

use super::*;

fn spec(annotations: serde_json::Value) -> Spec {
    serde_json::from_value(json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "process": {
            "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/sbin/init"],
            "env": ["PATH=/bin"],
            "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"] },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/sys/fs/cgroup/", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "ro"] },
            { "destination": "/run/.containerenv", "type": "bind", "source": "/x",
              "options": ["bind"] },
        ],
        "linux": {
            "namespaces": [{ "type": "pid" }],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [
                    { "names": ["read", "mount"], "action": "SCMP_ACT_ALLOW" },
                    { "names": ["reboot"], "action": "SCMP_ACT_ERRNO" },
                ],
            },
        },
        "annotations": annotations,
    }))
    .unwrap()
}

fn asks(annotations: serde_json::Value) -> String {
    let asked = SystemContainer::AsAnnotated.asks(&spec(annotations), &Policy::default());
    asked.map_or_else(|error| error.to_string(), |asked| asked.to_string())
}

#[test]
fn what_an_init_needs_is_added_once() {
    let mut adapted = spec(json!({}));
    adapt(&mut adapted);
    let mounts = adapted.mounts().iter().flatten().map(|mount| {
        let options = mount.options().clone().unwrap_or_default().join(",");
        format!("{} {options}\n", mount.destination().display())
    });
    expect![[r#"
        /proc 
        /sys/fs/cgroup/ nosuid,rw
        /run nosuid,nodev,mode=755
        /run/.containerenv bind
        /run/lock nosuid,noexec,nodev,mode=755
        /tmp nosuid,nodev,mode=1777
    "#]]
    .assert_eq(&mounts.collect::<String>());
    let linux = adapted.linux().as_ref().unwrap();
    let rules = linux.seccomp().as_ref().unwrap().syscalls().iter().flatten();
    let rules: Vec<String> =
        rules.map(|rule| format!("{:?} {:?}", rule.action(), rule.names())).collect();
    assert_eq!(
        rules,
        [
            r#"ScmpActAllow ["read"]"#,
            r#"ScmpActAllow ["mount", "umount2", "reboot", "name_to_handle_at", "unshare"]"#
        ]
    );
    assert_eq!(linux.namespaces().as_ref().unwrap().len(), 2);
    let process = adapted.process().as_ref().unwrap();
    assert_eq!(process.env().as_ref().unwrap(), &["PATH=/bin", "container=isula"]);
    let bounding = process.capabilities().as_ref().unwrap().bounding().clone().unwrap();
    assert!(bounding.contains(&Capability::SysBoot) && bounding.contains(&Capability::Kill));

    let once = adapted.clone();
    adapt(&mut adapted);
    assert_eq!(once, adapted);
}

#[test]
fn annotations_ask_or_are_refused() {
    assert_eq!(asks(json!({})), "false");
    assert_eq!(asks(json!({ "org.isula.system-container": "true" })), "true");
    assert_eq!(asks(json!({ "org.isula.system-container": "auto" })), "true");
    assert_eq!(asks(json!({ "com.example.x": "y" })), "false");
    expect!["config.json: annotations.org.isula.fly: is not known to this runtime; leave it out"]
        .assert_eq(&asks(json!({ "org.isula.fly": "1" })));
    expect![[
        r#"config.json: annotations.org.isula.system-container: is "yes"; use true, false or auto"#
    ]]
    .assert_eq(&asks(json!({ "org.isula.system-container": "yes" })));
    let policy = Policy { forbid: vec![ANNOTATION.to_owned()] };
    let refused = SystemContainer::AsAnnotated
        .asks(&spec(json!({ "org.isula.system-container": "true" })), &policy)
        .unwrap_err();
    expect!["config.json: annotations.org.isula.system-container: is forbidden on this host by its policy file"]
        .assert_eq(&refused.to_string());
}
