//! A listener's journey to its agent; see `security::tests` for the way of running it.

use std::os::fd::AsRawFd as _;

use expect_test::expect;
use serde_json::json;

use super::*;
use crate::Status;

fn profile(json: serde_json::Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

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

fn refusal(json: serde_json::Value) -> String {
    connect(&profile(json), &state()).unwrap_err().to_string()
}

#[test]
fn profiles_that_no_agent_can_serve() {
    let notify = json!([{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]);
    let none = profile(json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    assert!(connect(&none, &state()).unwrap().is_none());
    expect!["config.json: linux.seccomp.syscalls: SCMP_ACT_NOTIFY needs listenerPath"]
        .assert_eq(&refusal(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": notify})));
    expect!["config.json: linux.seccomp.listenerMetadata: needs listenerPath"]
        .assert_eq(&refusal(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"})));
    let unused = profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}));
    assert!(connect(&unused, &state()).unwrap().is_none());
    expect!["config.json: linux.seccomp.syscalls: sendmsg cannot have the action SCMP_ACT_NOTIFY: the listener itself is sent by it"]
        .assert_eq(&refusal(json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"})));
    let error = connect(
        &profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/agent",
            "syscalls": notify})),
        &state(),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "reach the seccomp agent of linux.seccomp.listenerPath");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("/no/agent"));
}

#[test]
fn an_agent_is_told_who_it_decides_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let listening = socket::listen(&path, Kind::Stream).unwrap();
    let agent = connect(
        &profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "listenerMetadata": "m",
            "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]})),
        &state(),
    )
    .unwrap()
    .unwrap();
    let (any_fd, _writer) = rustix::pipe::pipe().unwrap();
    agent.send(&any_fd, super::super::host_pid().unwrap()).unwrap();

    let connection = socket::accept(&listening).unwrap();
    let mut buffer = [0; 4096];
    let (count, fds) = socket::recv_fds(&connection, &mut buffer, 4).unwrap();
    assert_eq!(fds.len(), 1);
    assert!(fds[0].as_raw_fd() > 2);
    let message: serde_json::Value = serde_json::from_slice(&buffer[..count]).unwrap();
    let pid = std::process::id();
    assert_eq!(
        message,
        json!({
            "ociVersion": "1.2.0", "fds": ["seccompFd"], "pid": pid, "metadata": "m",
            "state": {"ociVersion": "1.2.0", "id": "web", "status": "creating", "pid": pid,
                "bundle": "/b", "rootfs": "/b/rootfs", "created": ""},
        })
    );
}
