use expect_test::{Expect, expect};
use oci_spec::runtime::LinuxSeccompAction::{ScmpActAllow, ScmpActErrno};

use super::*;

const X86: Machine<'static> = Machine { architecture: "x86_64", kernel: (6, 1) };

fn names(seccomp: &LinuxSeccomp, action: LinuxSeccompAction) -> Vec<&str> {
    let rules = seccomp.syscalls().iter().flatten();
    rules
        .filter(|rule| rule.action() == action && rule.args().is_none())
        .flat_map(|rule| rule.names().iter().map(String::as_str))
        .collect()
}

fn flat(profile: Profile, capabilities: &[Capability]) -> LinuxSeccomp {
    profile.flatten(capabilities, X86).unwrap()
}

#[test]
fn built_in_profile_opens_by_capability() {
    let plain = flat(Profile::built_in(), &[]);
    let allowed = names(&plain, ScmpActAllow);
    for name in ["openat", "fchmodat2", "futex_waitv", "modify_ldt", "ptrace"] {
        assert!(allowed.contains(&name), "{name}");
    }
    for name in ["mount", "unshare", "reboot", "bpf", "clone", "clone3", "keyctl", "io_uring_setup"]
    {
        assert!(!allowed.contains(&name), "{name}");
    }
    assert_eq!(names(&plain, ScmpActErrno), ["clone3"]);

    let admin = flat(Profile::built_in(), &[Capability::SysAdmin, Capability::SysBoot]);
    let allowed = names(&admin, ScmpActAllow);
    for name in ["mount", "setns", "clone", "clone3", "reboot", "bpf"] {
        assert!(allowed.contains(&name), "{name}");
    }
    assert_eq!(names(&admin, ScmpActErrno), Vec::<&str>::new());
}

#[test]
fn architectures_follow_the_machine() {
    let of = |architecture| {
        let machine = Machine { architecture, kernel: (6, 1) };
        let seccomp = Profile::built_in().flatten(&[], machine).unwrap();
        let list = seccomp.architectures().as_ref().unwrap();
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("x86_64"), "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32");
    assert_eq!(of("aarch64"), "SCMP_ARCH_AARCH64 SCMP_ARCH_ARM");
    assert_eq!(of("unheard-of"), "");
    let arm = Machine { architecture: "aarch64", kernel: (6, 1) };
    let seccomp = Profile::built_in().flatten(&[], arm).unwrap();
    assert!(!names(&seccomp, ScmpActAllow).contains(&"modify_ldt"));
}

#[test]
fn system_container_opens_five_calls_and_more_in_a_user_namespace() {
    let system = flat(Profile::built_in().for_system_container(false), &[]);
    let allowed = names(&system, ScmpActAllow);
    for name in SYSTEM {
        assert!(allowed.contains(name), "{name}");
    }
    assert!(!allowed.contains(&"setns"));
    assert_eq!(names(&system, ScmpActErrno), ["clone3"]);

    let mapped = flat(Profile::built_in().for_system_container(true), &[]);
    let allowed = names(&mapped, ScmpActAllow);
    for name in SYSTEM.iter().chain(SYSTEM_IN_USER_NAMESPACE) {
        assert_eq!(allowed.iter().filter(|other| *other == name).count(), 1, "{name}");
    }
    assert_eq!(names(&mapped, ScmpActErrno), Vec::<&str>::new());
    assert!(
        mapped
            .syscalls()
            .iter()
            .flatten()
            .all(|rule| { rule.args().is_none() || !rule.names().contains(&"clone".to_owned()) })
    );
}

#[test]
fn system_container_overrides_a_profile_of_ones_own() {
    let text = br#"{"defaultAction":"SCMP_ACT_ALLOW",
        "syscalls":[{"names":["mount","swapon"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let profile = Profile::parse(Path::new("/p"), text).unwrap().for_system_container(false);
    let seccomp = flat(profile, &[]);
    assert_eq!(names(&seccomp, ScmpActErrno), ["swapon"]);
    assert_eq!(names(&seccomp, ScmpActAllow), Vec::<&str>::new());
}

#[test]
fn conditions_of_a_rule() {
    let text = br#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.1"}},
        {"names":["b"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.2"}},
        {"names":["c"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"5.0"}},
        {"names":["d"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
        {"names":["e"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["arm64"]}},
        {"names":["f"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_CHOWN","CAP_KILL"]}},
        {"names":["g"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_CHOWN"]}},
        {"name":"h","action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_CHOWN","CAP_KILL"]}},
        {"name":"i","action":"SCMP_ACT_ALLOW","args":[]}]}"#;
    let seccomp = flat(Profile::parse(Path::new("/p"), text).unwrap(), &[Capability::Chown]);
    assert_eq!(names(&seccomp, ScmpActAllow), ["a", "e", "g", "i"]);
}

fn check(text: &str, expect: Expect) {
    let result = Profile::parse(Path::new("/etc/isulad/p.json"), text.as_bytes())
        .and_then(|profile| profile.flatten(&[], X86));
    expect.assert_eq(&result.map_or_else(|error| error.to_string(), |_| "fine".into()));
}

#[test]
fn profiles_that_are_refused() {
    check(
        "{}",
        expect![
            "seccomp profile /etc/isulad/p.json: missing field `defaultAction` at line 1 column 2"
        ],
    );
    let rule = |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rule}]}}"#);
    check(
        &rule(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO"}"#),
        expect![
            "seccomp profile /etc/isulad/p.json: syscalls[0]: read: SCMP_ACT_ERRNO is the default action; a rule must differ from it"
        ],
    );
    check(&rule(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#), expect!["fine"]);
    check(
        &rule(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","errnoRet":38}"#),
        expect![
            "seccomp profile /etc/isulad/p.json: syscalls[0]: SCMP_ACT_ALLOW takes no errnoRet"
        ],
    );
    check(
        &rule(r#"{"names":["read"],"name":"write","action":"SCMP_ACT_ALLOW"}"#),
        expect![
            "seccomp profile /etc/isulad/p.json: syscalls[0]: name and names are both there; keep names"
        ],
    );
    check(
        &rule(r#"{"action":"SCMP_ACT_ALLOW"}"#),
        expect!["seccomp profile /etc/isulad/p.json: syscalls[0]: names no system call"],
    );
    check(
        &rule(
            r#"{"names":["a"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}"#,
        ),
        expect!["seccomp profile /etc/isulad/p.json: syscalls[0]: args: index 6 is above 5"],
    );
    check(
        &rule(r#"{"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"new"}}"#),
        expect![[
            r#"seccomp profile /etc/isulad/p.json: syscalls[0]: minKernel "new" is not a version like 4.8"#
        ]],
    );
    check(
        &rule(r#"{"names":["a"],"action":"SCMP_ACT_ALLOW","include":{}}"#),
        expect![
            "seccomp profile /etc/isulad/p.json: unknown field `include`, expected one of `name`, `names`, `action`, `errnoRet`, `args`, `comment`, `includes`, `excludes`, `errno` at line 1 column 96"
        ],
    );
    check(
        r#"{"defaultAction":"SCMP_ACT_PANIC"}"#,
        expect![
            "seccomp profile /etc/isulad/p.json: unknown variant `SCMP_ACT_PANIC`, expected one of `SCMP_ACT_KILL`, `SCMP_ACT_KILL_THREAD`, `SCMP_ACT_KILL_PROCESS`, `SCMP_ACT_TRAP`, `SCMP_ACT_ERRNO`, `SCMP_ACT_NOTIFY`, `SCMP_ACT_TRACE`, `SCMP_ACT_LOG`, `SCMP_ACT_ALLOW` at line 1 column 33"
        ],
    );
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":null}]}"#;
    check(
        text,
        expect![
            "seccomp profile /etc/isulad/p.json: architectures and archMap are both there; keep one"
        ],
    );
    let error = Profile::parse(Path::new("p.json"), b"{}").unwrap_err().to_string();
    expect!["seccomp profile p.json: the path is not absolute"].assert_eq(&error);
}
