//! config-linux.md: namespaces and the maps of ids.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::World;
use tests::need::IDMAP_TMPFS;

use super::{Row, Runtime, bundle, by, drop_namespace, id, refused, same, says};

/// As the configuration and as /proc/PID/ns call them.
const KINDS: [(&str, &str); 6] = [
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mount", "mnt"),
    ("network", "net"),
    ("pid", "pid"),
    ("uts", "uts"),
];

pub(super) fn rows() -> Vec<Row> {
    vec![
        refused(
            "linux/1",
            "namespaces: a path MUST be absolute",
            &[("linux.namespaces[", |c| add(c, json!({ "type": "network", "path": "ns/net" })))],
        ),
        by("linux/2", "namespaces: the process MUST be in the one at the path", joined),
        by("linux/3", "namespaces: one of another type at the path MUST be an error", other_type),
        by("linux/4", "namespaces: without a path a new one MUST be made", new_ones),
        by("linux/5", "namespaces: what is not listed MUST be inherited", inherited),
        refused(
            "linux/6",
            "namespaces: a type twice MUST be an error",
            &[("linux.namespaces", |c| {
                c["linux"]["namespaces"] =
                    json!([{ "type": "mount" }, { "type": "uts" }, { "type": "uts" }]);
            })],
        )
        .not("crun", "1.8 takes the last"),
        says("linux/7", "namespaces: pid", same, "echo $$", "1\n"),
        says(
            "linux/8",
            "namespaces: network has its own links",
            same,
            "cat /sys/class/net/lo/flags; ip -4 addr show dev lo | grep -c 127.0.0.1",
            "0x9\n1\n",
        ),
        says(
            "linux/9",
            "uidMappings and gidMappings",
            |c| {
                add(c, json!({ "type": "user" }));
                let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
                c["linux"]["uidMappings"] = map.clone();
                c["linux"]["gidMappings"] = map;
            },
            "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; stat -c %u /",
            " 0 100000 1000\n 0 100000 1000\n0\n",
        )
        .needs(&[IDMAP_TMPFS])
        .not_the_peers("they cannot show a rootfs of the host's root"),
        refused(
            "linux/10",
            "mappings without a user namespace",
            &[("linux.uidMappings", |c| {
                c["linux"]["uidMappings"] =
                    json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
            })],
        )
        .not_the_peers("they ignore them"),
        says(
            "linux/11",
            "timeOffsets",
            |c| {
                c["ociVersion"] = json!("1.1.0");
                add(c, json!({ "type": "time" }));
                c["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 7200, "nanosecs": 5 } });
            },
            "grep boottime /proc/self/timens_offsets | tr -s ' '",
            "boottime 7200 5\n",
        )
        .not_the_peers("runc 1.1 and crun 1.8 do not know it"),
    ]
}

fn add(config: &mut Value, entry: Value) {
    if let Some(kind) = entry["type"].as_str() {
        drop_namespace(config, kind);
    }
    super::push(config, "/linux/namespaces", entry);
}

fn own(name: &str) -> Result<PathBuf> {
    // Of this thread: the world's are not the process's.
    Ok(std::fs::read_link(format!("/proc/thread-self/ns/{name}"))?)
}

fn of(pid: i64, name: &str) -> Result<PathBuf> {
    Ok(std::fs::read_link(format!("/proc/{pid}/ns/{name}"))?)
}

fn joined(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let host = bundle(world, &["sleep", "1000"], same)?;
    let host_id = id(world, &host)?;
    let host_pid = runtime.started(&host, &host_id)?;
    let guest = bundle(world, &["sleep", "1000"], |c| {
        for (kind, name) in KINDS.iter().filter(|(kind, _)| *kind != "mount") {
            add(c, json!({ "type": kind, "path": format!("/proc/{host_pid}/ns/{name}") }));
        }
        // The name is that of the joined namespace.
        c["hostname"] = json!("");
    })?;
    let guest_id = id(world, &guest)?;
    let guest_pid = runtime.started(&guest, &guest_id)?;
    for (kind, name) in KINDS {
        let is_there = of(host_pid, name)? == of(guest_pid, name)?;
        ensure!(is_there == (kind != "mount"), "{kind}: {is_there}");
    }
    runtime.remove(&guest_id)?;
    runtime.remove(&host_id)
}

fn other_type(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    for path in ["/proc/self/ns/ipc", "/etc/passwd", "/no/such"] {
        let dir = bundle(world, &["true"], |c| {
            add(c, json!({ "type": "network", "path": path }));
        })?;
        let output = runtime.run(world, &dir)?;
        ensure!(output.code() != 0, "{path} is a network namespace\n{output}");
        if runtime.is_ours() {
            output.expect_stderr(&format!("join net namespace {path}"))?;
        }
        runtime.fails(&["state", &id(world, &dir)?])?;
    }
    Ok(())
}

fn new_ones(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], |c| {
        for (kind, _) in KINDS {
            add(c, json!({ "type": kind }));
        }
    })?;
    let id = id(world, &dir)?;
    let pid = runtime.started(&dir, &id)?;
    for (kind, name) in KINDS {
        ensure!(of(pid, name)? != own(name)?, "{kind} is not a new one");
    }
    runtime.remove(&id)
}

/// A mount namespace is always made: without one the container's mounts would be the host's.
fn inherited(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], |c| {
        c["linux"]["namespaces"] = json!([{ "type": "mount" }]);
        c["hostname"] = json!("");
        // Those that show a namespace that is not ours to change.
        c["linux"]["sysctl"] = json!({});
    })?;
    let id = id(world, &dir)?;
    let pid = runtime.started(&dir, &id)?;
    for (kind, name) in KINDS.iter().filter(|(kind, _)| *kind != "mount") {
        ensure!(of(pid, name)? == own(name)?, "{kind} is not the runtime's");
    }
    ensure!(of(pid, "user")? == own("user")?, "user is not the runtime's");
    runtime.remove(&id)
}
