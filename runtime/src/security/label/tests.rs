use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

const NONE: Modules = Modules { apparmor: false, selinux: false };
const BOTH: Modules = Modules { apparmor: true, selinux: true };

fn process(profile: &str, label: &str) -> Process {
    serde_json::from_value(json!({"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0},
        "apparmorProfile": profile, "selinuxLabel": label}))
    .unwrap()
}

fn check(profile: &str, label: &str, modules: Modules, expect: Expect) {
    let answer = match from_spec(&process(profile, label), || modules) {
        Ok(labels) => labels.iter().map(|l| format!("{} <- {}\n", l.file, l.value)).collect(),
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&answer);
}

#[test]
fn labels_where_the_host_has_the_module() {
    check(
        "docker-default",
        "system_u:system_r:container_t:s0:c1,c2",
        BOTH,
        expect![[r#"
            attr/apparmor/exec <- exec docker-default
            attr/exec <- system_u:system_r:container_t:s0:c1,c2
        "#]],
    );
    check(
        "unconfined",
        "",
        BOTH,
        expect![[r#"
        attr/apparmor/exec <- exec unconfined
    "#]],
    );
}

#[test]
fn labels_where_it_has_not() {
    check("", "", NONE, expect![""]);
    check("unconfined", "", NONE, expect![""]);
    check(
        "web",
        "",
        NONE,
        expect![[
            r#"config.json: process.apparmorProfile: "web" cannot be applied: AppArmor is not enabled on this host; remove it"#
        ]],
    );
    check(
        "",
        "system_u:s0",
        NONE,
        expect![[
            r#"config.json: process.selinuxLabel: "system_u:s0" cannot be applied: SELinux is not enabled on this host; remove it"#
        ]],
    );
    check(
        "a\nb",
        "",
        BOTH,
        expect![[r#"config.json: process.apparmorProfile: "a\nb" is not a label"#]],
    );
}

#[test]
fn mount_labels() {
    assert_eq!(mount_context_with(None, || NONE).unwrap(), None);
    assert_eq!(mount_context_with(Some(""), || NONE).unwrap(), None);
    assert_eq!(mount_context_with(Some("a:b:c"), || BOTH).unwrap(), Some("a:b:c"));
    let error = mount_context_with(Some("a:b:c"), || NONE).unwrap_err().to_string();
    expect![[
        r#"config.json: linux.mountLabel: "a:b:c" cannot be applied: SELinux is not enabled on this host; remove it"#
    ]]
    .assert_eq(&error);
}
