//! config-linux.md without namespaces, cgroups and seccomp; runtime-linux.md; features.md.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::World;

use super::{Row, Runtime, bundle, by, refused, rootfs, same, says};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = devices();
    rows.extend(paths());
    rows.extend(vec![
        says(
            "linux/40",
            "sysctl: in the container's namespaces",
            |c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.shmmni": "77" }),
            "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni",
            "1\n77\n",
        ),
        says(
            "linux/41",
            "personality LINUX32: uname shows a 32 bit CPU",
            |c| c["linux"]["personality"] = json!({ "domain": "LINUX32" }),
            "test \"$(uname -m)\" != x86_64 && echo other",
            "other\n",
        )
        .not("runc", "1.1 does not know it"),
        refused(
            "linux/42",
            "intelRdt without a mounted resctrl MUST be an error",
            &[("linux.intelRdt", |c| c["linux"]["intelRdt"] = json!({ "closID": "a" }))],
        )
        .not("crun", "1.8 ignores it")
        .not("runc", "1.1 ignores it"),
        says(
            "runtime-linux/1",
            "only the standard streams are open",
            same,
            "ls /proc/self/fd",
            "0\n1\n2\n3\n",
        ),
        says(
            "runtime-linux/2",
            "/dev/fd and the links to the streams MUST be there",
            same,
            "for l in fd stdin stdout stderr; do readlink /dev/$l; done",
            "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n",
        ),
        by("features/1", "features: ociVersionMin and ociVersionMax MUST be given", features)
            .not_the_peers("runc before 1.2 and crun before 1.9 have not all of it"),
    ]);
    rows
}

fn devices() -> Vec<Row> {
    vec![
        says(
            "linux/20",
            "devices: type, numbers, mode, owner",
            |c| {
                c["linux"]["devices"] = json!([
                    { "type": "c", "path": "/dev/nowt", "major": 1, "minor": 5,
                      "fileMode": 0o640, "uid": 7, "gid": 8 },
                    { "type": "p", "path": "/dev/pipe" },
                    { "type": "b", "path": "/dev/block", "major": 7, "minor": 250 },
                ]);
            },
            "stat -c '%F %t %T %a %u %g' /dev/nowt; test -p /dev/pipe && echo pipe; \
             stat -c '%F %t %T' /dev/block",
            "character special file 1 5 640 7 8\npipe\nblock special file 7 fa\n",
        ),
        says(
            "linux/21",
            "devices: the path may be anywhere",
            |c| {
                c["linux"]["devices"] = json!([{ "type": "c", "path": "/opt/far/null", "major": 1,
                    "minor": 3, "fileMode": 0o666 }]);
            },
            "echo x > /opt/far/null && stat -c '%t %T' /opt/far/null",
            "1 3\n",
        ),
        by("linux/22", "devices: another file at the path MUST be an error", another_file)
            .not_the_peers("they leave what is there"),
        by("linux/23", "devices: the very device at the path is none", same_device),
        says(
            "linux/24",
            "the default devices MUST be there",
            same,
            "for d in null zero full random urandom tty ptmx; do test -c /dev/$d && echo $d; done",
            "null\nzero\nfull\nrandom\nurandom\ntty\nptmx\n",
        ),
        says(
            "linux/25",
            "/dev/ptmx is the one of the container's /dev/pts",
            same,
            "test $(stat -L -c %i /dev/ptmx) = $(stat -c %i /dev/pts/ptmx) && echo its own",
            "its own\n",
        ),
    ]
}

fn paths() -> Vec<Row> {
    vec![
        says(
            "linux/30",
            "maskedPaths MUST NOT be readable",
            |c| {
                c["linux"]["maskedPaths"] = json!(["/proc/cpuinfo", "/proc/sys/net", "/proc/none"]);
            },
            "wc -c < /proc/cpuinfo; ls /proc/sys/net",
            "0\n",
        ),
        says(
            "linux/31",
            "readonlyPaths MUST be read-only",
            |c| c["linux"]["readonlyPaths"] = json!(["/etc", "/none"]),
            "touch /etc/x 2>/dev/null; echo $?",
            "1\n",
        ),
        refused(
            "linux/32",
            "maskedPaths and readonlyPaths MUST be absolute",
            &[
                ("linux.maskedPaths[0]", |c| c["linux"]["maskedPaths"] = json!(["proc"])),
                ("linux.readonlyPaths[0]", |c| c["linux"]["readonlyPaths"] = json!(["proc"])),
            ],
        )
        .not_the_peers("they take them as relative to the root"),
        by("linux/33", "rootfsPropagation: shared, slave, private, unbindable", propagation)
            .not_the_peers("they leave what the host has"),
    ]
}

fn device(path: &str) -> Value {
    json!([{ "type": "c", "path": path, "major": 1, "minor": 3, "fileMode": 0o666 }])
}

fn another_file(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["true"], |c| c["linux"]["devices"] = device("/opt/null"))?;
    let path = rootfs(&dir)?.join("opt");
    std::fs::create_dir(&path)?;
    std::fs::write(path.join("null"), "precious")?;
    runtime.refuses(world, &dir, "linux.devices")?;
    ensure!(std::fs::read_to_string(path.join("null"))? == "precious");
    Ok(())
}

fn same_device(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let script = "stat -c '%t %T' /opt/null";
    let dir = bundle(world, &["sh", "-c", script], |c| {
        c["linux"]["devices"] = device("/opt/null");
    })?;
    let path = rootfs(&dir)?.join("opt");
    std::fs::create_dir(&path)?;
    world.tool("mknod").arg(path.join("null")).args(["c", "1", "3"]).ok()?;
    // And again, over what the first time left.
    for _ in 0..2 {
        let output = runtime.run(world, &dir)?;
        ensure!(output.stdout == "1 3\n", "{output}");
    }
    Ok(())
}

fn propagation(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    for (word, wanted) in
        [("private", "-"), ("shared", "shared"), ("slave", "-"), ("unbindable", "unbindable")]
    {
        let script = "awk '$5 == \"/\" { k = $7; sub(/:.*/, \"\", k); print k }' \
                      /proc/self/mountinfo";
        let dir = bundle(world, &["sh", "-c", script], |c| {
            c["linux"]["rootfsPropagation"] = json!(word);
        })?;
        let output = runtime.run(world, &dir)?;
        // A slave of what is not shared has no master.
        let right = output.line() == wanted || word == "slave" && output.line() == "master";
        ensure!(right, "{word} gives {:?}, not {wanted}\n{output}", output.line());
    }
    Ok(())
}

/// It answers without a container, and names what else is asked of it here.
fn features(_: &World, runtime: &Runtime<'_>) -> Result<()> {
    let output = runtime.verb(&["features"]).ok()?;
    ensure!(output.stderr.is_empty(), "{output}");
    let features: Value = serde_json::from_str(&output.stdout)?;
    for member in ["ociVersionMin", "ociVersionMax"] {
        let version = features[member].as_str().with_context(|| format!("no {member}"))?;
        ensure!(version.split('.').count() == 3, "{member} is {version}");
    }
    let list = |pointer: &str| -> Result<Vec<&str>> {
        let list = features.pointer(pointer).and_then(Value::as_array).context("a list")?;
        Ok(list.iter().filter_map(Value::as_str).collect())
    };
    let options = list("/mountOptions")?;
    for word in ["async", "bind", "iversion", "remount", "silent", "sync", "unbindable"] {
        ensure!(options.contains(&word), "{word} is no mount option in {options:?}");
    }
    ensure!(list("/hooks")?.len() == 6 && list("/linux/namespaces")?.len() == 8, "{output}");
    Ok(())
}
