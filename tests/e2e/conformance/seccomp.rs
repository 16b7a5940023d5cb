//! config-linux.md, "Seccomp", and the container process state that its agent gets.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{World, wait};

use super::{Change, Row, Runtime, bundle, by, id, refused, says};

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

pub(super) fn rows() -> Vec<Row> {
    vec![
        says(
            "linux/80",
            "seccomp: the action for the named calls, with errnoRet",
            |c| allow_but(c, json!({ "names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 28 })),
            "mkdir /tmp/x 2>&1 | grep -c 'No space'",
            "1\n",
        ),
        says(
            "linux/81",
            "seccomp: errnoRet is EPERM unless given",
            |c| allow_but(c, json!({ "names": MKDIR, "action": "SCMP_ACT_ERRNO" })),
            "mkdir /tmp/x 2>&1 | grep -c 'not permitted'",
            "1\n",
        ),
        says(
            "linux/82",
            "seccomp: args are compared",
            |c| {
                let args = json!([{ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" }]);
                let action = "SCMP_ACT_ERRNO";
                let names = ["kill"];
                allow_but(
                    c,
                    json!({ "names": names, "action": action, "errnoRet": 28, "args": args }),
                );
            },
            "kill -USR1 $$ 2>&1 | grep -c 'No space'; kill -CONT $$ && echo sent",
            "1\nsent\n",
        ),
        refused("linux/83", "an errno where the action has none MUST be an error", WRONG_ERRNO)
            .not("runc", "1.1 ignores it"),
        refused(
            "linux/84",
            "seccomp: names MUST contain at least one",
            &[("linux.seccomp", |c| {
                allow_but(c, json!({ "names": [], "action": "SCMP_ACT_ERRNO" }));
            })],
        )
        .not_the_peers("they take it"),
        refused(
            "linux/85",
            "seccomp: listenerMetadata MUST NOT be set without listenerPath",
            &[("linux.seccomp.listenerMetadata", |c| {
                c["linux"]["seccomp"] =
                    json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" });
            })],
        )
        .not_the_peers("they ignore it"),
        says(
            "linux/86",
            "seccomp: listenerPath without SCMP_ACT_NOTIFY is ignored",
            |c| {
                c["linux"]["seccomp"] =
                    json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such" });
            },
            "echo ran",
            "ran\n",
        )
        .not_the_peers("they look for it"),
        by("linux/87", "seccomp: an agent that cannot be told MUST be an error", no_agent),
        by(
            "linux/88",
            "seccomp: the agent MUST get one state and the descriptor, and the end",
            agent,
        )
        .not_the_peers("they send it from the parent, with their own version's members"),
    ]
}

const WRONG_ERRNO: &[(&str, Change)] = &[
    ("linux.seccomp", |c| {
        let rule = json!({ "names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1 });
        allow_but(c, rule);
    }),
    ("linux.seccomp", |c| {
        c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1 });
    }),
];

fn allow_but(config: &mut Value, rule: Value) {
    config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
}

fn notify(config: &mut Value, path: &std::path::Path) {
    let rule = json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" });
    allow_but(config, rule);
    config["linux"]["seccomp"]["listenerPath"] = json!(path);
    config["linux"]["seccomp"]["listenerMetadata"] = json!("for the agent");
}

fn no_agent(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let path = world.path("nobody.sock");
    let dir = bundle(world, &["true"], |c| notify(c, &path))?;
    let output = runtime.run(world, &dir)?;
    ensure!(output.code() != 0, "{output}");
    runtime.fails(&["state", &id(world, &dir)?])?;
    Ok(())
}

fn agent(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let path = world.new_directory("agent")?.join("sock");
    let listener = UnixListener::bind(&path)?;
    let dir = bundle(world, &["sleep", "1000"], |c| {
        notify(c, &path);
        c["annotations"] = json!({ "com.example.key": "value" });
    })?;
    let id = id(world, &dir)?;
    let pid = runtime.started(&dir, &id)?;
    listener.set_nonblocking(true)?;
    let (stream, _) = wait::until("the runtime connects", Duration::from_secs(20), || {
        Ok(listener.accept().ok())
    })?;
    stream.set_nonblocking(false)?;
    let mut bytes = vec![0; 1 << 16];
    let (length, fds) = linux::socket::recv_fds(&stream, &mut bytes, 4)?;
    let state: Value = serde_json::from_slice(&bytes[..length])?;
    ensure!(fds.len() == 1 && state["fds"] == json!(["seccompFd"]), "{} fds, {state}", fds.len());
    ensure!(state["pid"] == pid && state["metadata"] == "for the agent", "{state}");
    ensure!(state["state"]["id"] == id && state["state"]["pid"] == pid, "{state}");
    ensure!(state["state"]["annotations"]["com.example.key"] == "value", "{state}");
    ensure!(state["ociVersion"].is_string(), "{state}");
    let (more, _) = linux::socket::recv_fds(&stream, &mut bytes, 4)?;
    ensure!(more == 0, "the connection goes on");
    ensure!(listener.accept().is_err(), "a second connection");
    runtime.remove(&id).context("remove")
}
