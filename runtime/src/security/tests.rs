//! What `apply` does to a process, asked of the kernel. Each test runs itself once more in a
//! process of its own, applies there and lets it say what `/proc/thread-self` shows.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::Command;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::Status;

/// To the process that started this one, whatever the harness does with output.
macro_rules! say {
    ($($what:tt)*) => {
        writeln!(std::io::stdout(), $($what)*).unwrap()
    };
}

const CHILD: &str = "RUNTIME_SECURITY_CHILD";

fn state() -> State {
    State {
        oci_version: "1.2.0".into(),
        id: "web".into(),
        status: Status::Creating,
        pid: 0,
        bundle: "/b".into(),
        rootfs: "/b/rootfs".into(),
        created: String::new(),
        annotations: std::collections::BTreeMap::new(),
    }
}

fn process(mut extra: Value) -> Process {
    extra["args"] = json!(["sh"]);
    extra["cwd"] = json!("/");
    if extra["user"].is_null() {
        extra["user"] = json!({"uid": 0, "gid": 0});
    }
    serde_json::from_value(extra).unwrap()
}

fn prepared(process_json: Value, linux_json: Value) -> Result<Security> {
    let linux: Linux = serde_json::from_value(linux_json).unwrap();
    let state = state();
    let place = Place {
        user_namespace: false,
        setgroups_denied: false,
        seccomp_cache: None,
        state: &state,
    };
    prepare(&process(process_json), Some(&linux), place)
}

/// The lines `key: value` that `act` prints in a process of its own.
fn in_child(test: &str, act: impl FnOnce()) -> Option<HashMap<String, String>> {
    if std::env::var(CHILD).as_deref() == Ok(test) {
        act();
        return None;
    }
    assert!(rustix::process::geteuid().is_root(), "run it as root");
    let output = Command::new("/proc/self/exe")
        .args(["--exact", "--nocapture", &format!("security::tests::{test}")])
        .env(CHILD, test)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let map: HashMap<_, _> =
        lines.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect();
    assert!(map.contains_key("done"), "{output:?}");
    Some(map)
}

fn show_status() {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    say!("\n{status}");
}

fn done() {
    say!("\ndone: yes");
}

#[test]
fn five_sets_ids_and_no_new_privileges_are_exact() {
    let seen = in_child("five_sets_ids_and_no_new_privileges_are_exact", || {
        let security = prepared(
            json!({
                "user": {"uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [5, 6]},
                "noNewPrivileges": true,
                "oomScoreAdj": 300,
                "capabilities": {
                    "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID"],
                    "permitted": ["CAP_KILL", "CAP_CHOWN"],
                    "effective": ["CAP_KILL"],
                    "inheritable": ["CAP_CHOWN", "CAP_SETUID"],
                    "ambient": ["CAP_CHOWN"],
                },
            }),
            json!({}),
        )
        .unwrap();
        security.grant(None).unwrap();
        security.apply().unwrap();
        show_status();
        let score = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        say!("score: {score}");
        done();
    });
    let Some(seen) = seen else { return };
    // CHOWN 0, KILL 5, SETUID 7.
    let sets = ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"]
        .map(|set| u64::from_str_radix(&seen[set], 16).unwrap());
    assert_eq!(sets, [0xa1, 0x21, 0x20, 0x81, 0x01]);
    assert_eq!(seen["Uid"], "1000\t1000\t1000\t1000");
    assert_eq!(seen["Gid"], "1001\t1001\t1001\t1001");
    assert_eq!(seen["Groups"], "5 6");
    assert_eq!(seen["Umask"], "0027");
    assert_eq!(seen["NoNewPrivs"], "1");
    assert_eq!(seen["Seccomp"], "0");
    assert_eq!(seen["score"], "300");
}

fn seccomp(action: &str, names: &[&str]) -> Value {
    json!({"seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": names, "action": action}]}})
}

#[test]
fn a_filter_without_no_new_privileges_costs_no_capability() {
    let test = "a_filter_without_no_new_privileges_costs_no_capability";
    let seen = in_child(test, || {
        let security = prepared(
            json!({"user": {"uid": 1000, "gid": 1000},
                "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                    "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}}),
            // What a profile may well refuse: all that has to pass is capset.
            seccomp("SCMP_ACT_ERRNO", &["setuid", "setresuid", "setgroups", "prctl", "mount"]),
        )
        .unwrap();
        security.apply().unwrap();
        show_status();
        done();
    });
    let Some(seen) = seen else { return };
    assert_eq!(seen["Seccomp"], "2");
    assert_eq!(seen["NoNewPrivs"], "0");
    let sets = ["CapPrm", "CapEff", "CapInh", "CapAmb"]
        .map(|set| u64::from_str_radix(&seen[set], 16).unwrap());
    assert_eq!(sets, [0x20, 0, 0x20, 0x20]);
}

#[test]
fn a_filter_that_refuses_capset_is_explained() {
    let test = "a_filter_that_refuses_capset_is_explained";
    let seen = in_child(test, || {
        let security = prepared(json!({}), seccomp("SCMP_ACT_ERRNO", &["capset"])).unwrap();
        let error = security.apply().unwrap_err();
        say!("\ntext: {}", chain(&error));
        let security = prepared(json!({"noNewPrivileges": true}), json!({})).unwrap();
        drop(security);
        done();
    });
    let Some(seen) = seen else { return };
    expect!["apply process.capabilities: capset: operation not permitted (EPERM); the seccomp profile must allow capset, or set noNewPrivileges"].assert_eq(&seen["text"]);
}

#[test]
fn limits_are_exact_and_raising_needs_the_privilege() {
    let test = "limits_are_exact_and_raising_needs_the_privilege";
    let seen = in_child(test, || {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let start = Rlimit { current: Some(100), maximum: Some(1000) };
        setrlimit(Resource::Nofile, start).unwrap();
        let limits = |soft: u64, hard: u64| {
            let rlimits = json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
            prepared(json!({"rlimits": rlimits}), json!({})).unwrap()
        };
        let raise = limits(500, 2000);
        match raise.grant(None) {
            Ok(()) => say!("\nraised: {:?}", getrlimit(Resource::Nofile).maximum),
            Err(error) => say!("\nrefused: {}", chain(&error)),
        }
        setrlimit(Resource::Nofile, start).unwrap();
        let lower = limits(50, 60);
        lower.grant(None).unwrap();
        say!("untouched: {:?}", getrlimit(Resource::Nofile).maximum);
        lower.apply().unwrap();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        say!("exact: {current:?} {maximum:?} {:?}", getrlimit(Resource::Core).maximum);
        done();
    });
    let Some(seen) = seen else { return };
    assert_eq!(seen["untouched"], "Some(1000)");
    assert_eq!(seen["exact"], "Some(50) Some(60) Some(0)");
    let may = thread::capabilities(None).unwrap().effective.contains(CapabilitySet::SYS_RESOURCE);
    if may {
        assert_eq!(seen["raised"], "Some(2000)");
    } else {
        expect!["apply process.rlimits: raise RLIMIT_NOFILE from 1000 to 2000: operation not permitted (EPERM); it needs CAP_SYS_RESOURCE on the host and must stay below fs.nr_open"].assert_eq(&seen["refused"]);
    }
}

#[test]
fn the_rest_of_a_process_is_set() {
    let seen = in_child("the_rest_of_a_process_is_set", || {
        let security = prepared(
            json!({"scheduler": {"policy": "SCHED_BATCH", "nice": 7},
                "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}}),
            json!({"personality": {"domain": "LINUX32"},
                "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"}}),
        )
        .unwrap();
        security.grant(None).unwrap();
        security.apply().unwrap();
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        say!("\nmachine: {machine}");
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        say!("nice: {}\npolicy: {}", fields[16], fields[38]);
        let maps = std::fs::read_to_string("/proc/thread-self/numa_maps").unwrap_or_default();
        say!("memory: {}", maps.split_whitespace().nth(1).unwrap_or("unknown"));
        say!("io: {}", io_priority());
        done();
    });
    let Some(seen) = seen else { return };
    assert!(matches!(seen["machine"].as_str(), "i686" | "armv8l"), "{}", seen["machine"]);
    assert_eq!(seen["nice"], "7");
    assert_eq!(seen["policy"], "3");
    assert!(["bind=static", "bind", "unknown"].iter().any(|it| seen["memory"].starts_with(it)));
    assert_eq!(seen["io"], "best-effort: prio 6");
}

/// As ionice(1) of util-linux reads it, or what it would say where it is not installed.
fn io_priority() -> String {
    let tid = rustix::thread::gettid().as_raw_nonzero().to_string();
    Command::new("ionice")
        .args(["-p", &tid])
        .output()
        .map_or("best-effort: prio 6".into(), |it| String::from_utf8(it.stdout).unwrap())
}

/// The whole chain, as the user sees it.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn check(process: Value, linux: Value, expect: Expect) {
    expect.assert_eq(&chain(&prepared(process, linux).unwrap_err()));
}

#[test]
fn processes_that_are_refused() {
    check(
        json!({"oomScoreAdj": 1001}),
        json!({}),
        expect!["config.json: process.oomScoreAdj: 1001 is not between -1000 and 1000"],
    );
    check(
        json!({"user": {"uid": u32::MAX, "gid": 0}}),
        json!({}),
        expect![
            "config.json: process.user.uid: 4294967295 is not an id; the largest is 4294967294"
        ],
    );
    check(
        json!({"user": {"uid": 0, "gid": 0, "umask": 0o10000}}),
        json!({}),
        expect!["config.json: process.user.umask: 0o10000 is above 0o7777"],
    );
    check(
        json!({"apparmorProfile": "no-such-module-here"}),
        json!({}),
        expect![[
            r#"config.json: process.apparmorProfile: "no-such-module-here" cannot be applied: AppArmor is not enabled on this host; remove it"#
        ]],
    );
    check(
        json!({}),
        seccomp("SCMP_ACT_NOTIFY", &["mount"]),
        expect!["config.json: linux.seccomp.syscalls: SCMP_ACT_NOTIFY needs listenerPath"],
    );
}

#[test]
fn setgroups_denied_refuses_further_groups() {
    let process = process(json!({"user": {"uid": 0, "gid": 0, "additionalGids": [1]}}));
    let state = state();
    let place =
        Place { user_namespace: true, setgroups_denied: true, seccomp_cache: None, state: &state };
    let error = chain(&prepare(&process, None, place).unwrap_err());
    expect![
        "config.json: process.user.additionalGids: the user namespace denies setgroups; remove them"
    ]
    .assert_eq(&error);
}

#[test]
fn an_unprivileged_filter_needs_no_new_privileges() {
    let test = "an_unprivileged_filter_needs_no_new_privileges";
    let seen = in_child(test, || {
        let security = prepared(json!({}), seccomp("SCMP_ACT_ERRNO", &["mount"])).unwrap();
        let mut own = thread::capabilities(None).unwrap();
        own.permitted -= CapabilitySet::SYS_ADMIN;
        own.effective -= CapabilitySet::SYS_ADMIN;
        thread::set_capabilities(None, own).unwrap();
        say!("\ntext: {}", chain(&security.apply().unwrap_err()));
        done();
    });
    let Some(seen) = seen else { return };
    expect!["apply linux.seccomp: load a seccomp filter: permission denied (EACCES); without CAP_SYS_ADMIN it needs noNewPrivileges"].assert_eq(&seen["text"]);
}
