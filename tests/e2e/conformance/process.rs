//! config.md, "Process".

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Terminal, World};

use super::{Row, Runtime, bundle, by, id, refused, same, says};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = program();
    rows.extend(limits());
    rows.extend(privileges());
    rows
}

fn program() -> Vec<Row> {
    vec![
        by("config/30", "terminal: a pseudoterminal is on the standard streams", terminal),
        says(
            "config/31",
            "consoleSize MUST be ignored without a terminal",
            |c| c["process"]["consoleSize"] = json!({ "height": 3, "width": 5 }),
            "echo ran",
            "ran\n",
        ),
        refused(
            "config/32",
            "cwd MUST be absolute",
            &[("process.cwd", |c| c["process"]["cwd"] = json!("tmp"))],
        )
        .not("crun", "1.8 takes it from the root"),
        says("config/33", "cwd", |c| c["process"]["cwd"] = json!("/tmp"), "pwd", "/tmp\n"),
        refused(
            "config/34",
            "args: at least one entry is REQUIRED",
            &[
                ("process.args", |c| c["process"]["args"] = json!([])),
                ("process.args", |c| drop(c["process"].as_object_mut().map(|p| p.remove("args")))),
            ],
        ),
        says(
            "config/35",
            "args are passed as they are",
            |c| c["process"]["args"] = json!(["printf", "%s.", "a b", "$c", ""]),
            "",
            "a b.$c..",
        ),
        says(
            "config/36",
            "args: the first is looked for as execvp does",
            |c| {
                c["process"]["env"] = json!(["PATH=/no/such:/tmp:/bin"]);
                c["process"]["args"] = json!(["echo", "found"]);
            },
            "",
            "found\n",
        ),
        says(
            "config/37",
            "env is the environment",
            |c| c["process"]["env"] = json!(["PATH=/bin", "A=b c", "B=$A"]),
            "echo \"$A|$B\"",
            "b c|$A\n",
        ),
        says(
            "config/38",
            "user: uid, gid, additionalGids",
            |c| {
                c["process"]["user"] =
                    json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7] });
            },
            "id -u; id -g; id -G",
            "1000\n1001\n1001 5 7\n",
        ),
        says(
            "config/39",
            "user.umask",
            |c| c["process"]["user"] = json!({ "uid": 0, "gid": 0, "umask": 0o077 }),
            "umask",
            "0077\n",
        ),
    ]
}

fn limits() -> Vec<Row> {
    vec![
        refused(
            "config/40",
            "rlimits: a type that cannot be mapped MUST be an error",
            &[("RLIMIT_PATIENCE", |c| rlimits(c, &[("RLIMIT_PATIENCE", 1, 1)]))],
        ),
        says(
            "config/41",
            "rlimits: soft and hard MUST match",
            |c| rlimits(c, &[("RLIMIT_NOFILE", 100, 200), ("RLIMIT_CORE", 0, 512)]),
            "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc",
            "100\n200\n0\n1\n",
        ),
        refused(
            "config/42",
            "rlimits: a type twice MUST be an error",
            &[("process.rlimits", |c| {
                rlimits(c, &[("RLIMIT_NOFILE", 10, 10), ("RLIMIT_NOFILE", 20, 20)]);
            })],
        )
        .not_the_peers("runc 1.1 and crun 1.8 take the last"),
        says(
            "config/43",
            "oomScoreAdj MUST be set",
            |c| c["process"]["oomScoreAdj"] = json!(500),
            "cat /proc/self/oom_score_adj",
            "500\n",
        ),
        by("config/44", "oomScoreAdj, not given, MUST NOT be changed", oom_score),
        says(
            "config/45",
            "scheduler: policy, and nice is 0 unless given",
            |c| {
                c["ociVersion"] = json!("1.1.0");
                c["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH" });
            },
            "cut -d' ' -f19,41 /proc/self/stat",
            "0 3\n",
        )
        .not_the_peers("runc before 1.2 and crun before 1.9 do not know it"),
        says(
            "config/46",
            "ioPriority",
            |c| {
                c["ociVersion"] = json!("1.1.0");
                c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 });
            },
            "ionice -p $$",
            "idle\n",
        )
        .not_the_peers("runc before 1.2 and crun before 1.9 do not know it"),
        by("config/47", "execCPUAffinity.final: where a further process runs", affinity)
            .not_the_peers("newer than they are"),
    ]
}

fn privileges() -> Vec<Row> {
    vec![
        says(
            "config/48",
            "capabilities: the five sets, and nothing else",
            |c| {
                let one = json!(["CAP_KILL"]);
                c["process"]["capabilities"] = json!({ "bounding": ["CAP_KILL", "CAP_CHOWN"],
                    "effective": one, "permitted": ["CAP_KILL"], "inheritable": one,
                    "ambient": one });
            },
            "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2",
            "0000000000000020\n0000000000000020\n0000000000000020\n0000000000000021\n\
             0000000000000020\n",
        ),
        by(
            "config/49",
            "capabilities: one that cannot be mapped MUST be logged as a warning",
            strange_capability,
        )
        .not("crun", "1.8 fails"),
        says(
            "config/50",
            "noNewPrivileges",
            |c| c["process"]["noNewPrivileges"] = json!(true),
            "grep -c 'NoNewPrivs:.1' /proc/self/status",
            "1\n",
        ),
    ]
}

fn rlimits(config: &mut Value, list: &[(&str, u64, u64)]) {
    let entry = |&(name, soft, hard): &(&str, u64, u64)| json!({ "type": name, "soft": soft, "hard": hard });
    config["process"]["rlimits"] = list.iter().map(entry).collect();
}

fn terminal(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let script = "for n in 0 1 2; do readlink /proc/self/fd/$n; done; stty size; ls /dev/console";
    let dir = bundle(world, &["sh", "-c", script], |c| {
        c["process"]["terminal"] = json!(true);
        c["process"]["consoleSize"] = json!({ "height": 33, "width": 99 });
    })?;
    let call = runtime.verb(&["run", "--bundle"]).arg(&dir).arg(id(world, &dir)?);
    let mut terminal = Terminal::start(&call)?;
    for _ in 0..3 {
        terminal.expect("/dev/pts/0")?;
    }
    terminal.expect("/dev/console")?;
    terminal.code(0)
}

/// That of the caller.
fn oom_score(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["cat", "/proc/self/oom_score_adj"], same)?;
    let call = runtime.verb(&["run", "--bundle"]).arg(&dir).arg(id(world, &dir)?);
    let script = "echo 77 > /proc/self/oom_score_adj; exec \"$@\"";
    let output = world.tool("sh").args(["-c", script, "sh"]).args(call.argv()).output()?;
    ensure!(output.stdout == "77\n", "{output}");
    Ok(())
}

fn affinity(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let id = id(world, &dir)?;
    runtime.started(&dir, &id)?;
    let process = json!({
        "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
        "args": ["grep", "Cpus_allowed_list", "/proc/self/status"],
        "execCPUAffinity": { "final": "0" },
    });
    let file = dir.join("process.json");
    std::fs::write(&file, process.to_string())?;
    let output = runtime.verb(&["exec", "--process"]).arg(&file).arg(&id).ok()?;
    ensure!(output.stdout == "Cpus_allowed_list:\t0\n", "{output}");
    runtime.remove(&id)
}

fn strange_capability(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["echo", "ran"], |c| {
        c["process"]["capabilities"] = json!({ "bounding": ["CAP_KILL", "CAP_FLY"] });
    })?;
    let log = dir.join("log");
    let call = runtime.verb(&["--log"]).arg(&log).args(["run", "--bundle"]).arg(&dir);
    let output = call.arg(id(world, &dir)?).output()?;
    ensure!(output.stdout == "ran\n", "{output}");
    let said = std::fs::read_to_string(&log)?;
    let said = said.to_lowercase();
    ensure!(said.contains("cap_fly") && said.contains("warn"), "the log is {said:?}");
    Ok(())
}
