//! The runtime specification, MUST by MUST: each row is a sentence of it, a bundle, and what the
//! container then sees. runc is held to the same rows where it is installed, so that a row says what
//! the specification means and not what we do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, ROOT, RUNC};
use tests::{Call, Story, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("conformance::config", NEEDS, |world| rows(world, CONFIG)),
        story("conformance::config_linux", NEEDS, |world| rows(world, LINUX)),
        story("conformance::wrong_configurations", NEEDS, wrong),
        story("conformance::operations", NEEDS, |world| each(world, operations)),
        story("conformance::create_and_start_are_two", NEEDS, |world| each(world, two_steps)),
        // runc 1.1 runs poststart when it creates.
        story("conformance::hooks", NEEDS, |world| hooks(world, &ours(world))),
    ]
}

/// A sentence, its bundle, its script and what that says.
type Row = (&'static str, fn(&mut Value), &'static str, &'static str);

const CONFIG: &[Row] = &[
    (
        "root.readonly: MUST be read-only inside",
        |c| c["root"]["readonly"] = json!(true),
        "touch /x 2>/dev/null; echo $?",
        "1\n",
    ),
    ("root.readonly false: can be written", same, "touch /x && echo written", "written\n"),
    (
        "mounts: MUST be mounted in the listed order",
        |c| {
            tmpfs(c, "/tmp/a");
            tmpfs(c, "/tmp");
        },
        "test -e /tmp/a; echo $?",
        "1\n",
    ),
    (
        "mounts.destination: is made when it is not there",
        |c| tmpfs(c, "/new/dir"),
        "test -d /new/dir && echo made",
        "made\n",
    ),
    ("process.cwd: MUST be set", |c| c["process"]["cwd"] = json!("/tmp"), "pwd", "/tmp\n"),
    (
        "process.env: is the environment",
        |c| {
            c["process"]["env"] = json!(["PATH=/bin", "A=b c", "B=$A"]);
        },
        "echo \"$A|$B\"",
        "b c|$A\n",
    ),
    (
        "process.args: are passed as they are",
        |c| {
            c["process"]["args"] = json!(["printf", "%s.", "a b", "$c", ""]);
        },
        "",
        "a b.$c..",
    ),
    (
        "process.user: uid, gid, additionalGids",
        |c| {
            c["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7] });
        },
        "id -u; id -g; id -G",
        "1000\n1001\n1001 5 7\n",
    ),
    (
        "process.user.umask",
        |c| {
            c["process"]["user"] = json!({ "uid": 0, "gid": 0, "umask": 0o077 });
        },
        "umask",
        "0077\n",
    ),
    (
        "process.rlimits",
        |c| {
            c["process"]["rlimits"] =
                json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
        },
        "ulimit -Sn; ulimit -Hn",
        "100\n200\n",
    ),
    (
        "process.noNewPrivileges",
        |c| c["process"]["noNewPrivileges"] = json!(true),
        "grep -c 'NoNewPrivs:.1' /proc/self/status",
        "1\n",
    ),
    (
        "process.capabilities: the sets, and nothing else",
        |c| {
            let one = json!(["CAP_KILL"]);
            c["process"]["capabilities"] =
                json!({ "bounding": one, "effective": one, "permitted": one });
        },
        "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2",
        "0000000000000000\n0000000000000020\n0000000000000020\n0000000000000020\n0000000000000000\n",
    ),
    (
        "process.oomScoreAdj",
        |c| c["process"]["oomScoreAdj"] = json!(500),
        "cat /proc/self/oom_score_adj",
        "500\n",
    ),
    ("hostname", |c| c["hostname"] = json!("box"), "hostname", "box\n"),
    (
        "annotations: unknown keys MUST be ignored",
        |c| {
            c["annotations"] = json!({ "com.example.key": "value", "com.example.empty": "" });
        },
        "echo ran",
        "ran\n",
    ),
    (
        "unknown properties MUST be ignored",
        |c| c["future"] = json!({ "a": [1] }),
        "echo ran",
        "ran\n",
    ),
];

const LINUX: &[Row] = &[
    ("namespaces: pid", same, "echo $$", "1\n"),
    (
        "namespaces: network of its own has its own links",
        same,
        "ls /sys/class/net | grep -v -e lo -e sit -e tunl -e gre -e ip -e erspan; echo .",
        ".\n",
    ),
    (
        "default devices MUST be there",
        same,
        "for d in null zero full random urandom tty ptmx; do test -c /dev/$d && echo $d; done",
        "null\nzero\nfull\nrandom\nurandom\ntty\nptmx\n",
    ),
    (
        "default links MUST be there",
        same,
        "for l in fd stdin stdout stderr; do readlink /dev/$l; done",
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n",
    ),
    (
        "devices: type, numbers, mode, owner",
        |c| {
            c["linux"]["devices"] = json!([{ "type": "c", "path": "/dev/nowt", "major": 1, "minor": 5,
                                         "fileMode": 0o640, "uid": 7, "gid": 8 }]);
        },
        "stat -c '%F %t %T %a %u %g' /dev/nowt",
        "character special file 1 5 640 7 8\n",
    ),
    (
        "resources.devices: what is not allowed cannot be opened",
        |c| {
            c["linux"]["devices"] =
                json!([{ "type": "c", "path": "/dev/mem", "major": 1, "minor": 1 }]);
        },
        "head -c 1 /dev/mem 2>&1 >/dev/null | grep -c 'not permitted'",
        "1\n",
    ),
    (
        "maskedPaths: MUST NOT be readable",
        |c| {
            c["linux"]["maskedPaths"] = json!(["/proc/cpuinfo", "/proc/sys/net", "/proc/none"]);
        },
        "wc -c < /proc/cpuinfo; ls /proc/sys/net",
        "0\n",
    ),
    (
        "readonlyPaths: MUST be read-only",
        |c| c["linux"]["readonlyPaths"] = json!(["/etc", "/none"]),
        "touch /etc/x 2>/dev/null; echo $?",
        "1\n",
    ),
    (
        "sysctl: in the container's namespaces",
        |c| {
            c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.shmmni": "77" });
        },
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni",
        "1\n77\n",
    ),
    (
        "seccomp: the action for the named calls",
        |c| {
            c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }] });
        },
        "mkdir /tmp/x 2>&1 | grep -c 'No space'",
        "1\n",
    ),
    (
        "mounts: options of a bind",
        |c| {
            let mount = json!({ "destination": "/bound", "type": "none", "source": "/usr",
                            "options": ["bind", "ro", "nosuid", "nodev", "noexec"] });
            c["mounts"].as_array_mut().expect("mounts").push(mount);
        },
        "grep ' /bound ' /proc/mounts | tr ' ,' '\\n\\n' | grep -x -e ro -e nosuid -e nodev -e noexec",
        "ro\nnosuid\nnodev\nnoexec\n",
    ),
];

fn same(_: &mut Value) {}

fn tmpfs(config: &mut Value, path: &str) {
    let mount = json!({ "destination": path, "type": "tmpfs", "source": "tmpfs" });
    config["mounts"].as_array_mut().expect("mounts").push(mount);
}

fn ours(world: &World) -> impl Fn(&[&str]) -> Call + '_ {
    |words| world.program("isula-runtime").arg("--root").arg(world.path("oci")).args(words)
}

/// Ours, and runc where it is.
/// A runtime's command line, up to the verb.
type Runtime<'w> = dyn Fn(&[&str]) -> Call + 'w;

fn runtimes(world: &World) -> Vec<Box<Runtime<'_>>> {
    let runc =
        |words: &[&str]| world.tool("runc").arg("--root").arg(world.path("runc")).args(words);
    let mut all: Vec<Box<Runtime<'_>>> = vec![Box::new(ours(world))];
    if RUNC.check().is_ok() {
        all.push(Box::new(runc));
    }
    all
}

fn each(world: &World, held_to: fn(&World, &Runtime<'_>) -> Result<()>) -> Result<()> {
    for runtime in runtimes(world) {
        let name = runtime(&[]).argv()[0].to_string_lossy().into_owned();
        held_to(world, &*runtime).with_context(|| name)?;
    }
    Ok(())
}

fn rows(world: &World, rows: &[Row]) -> Result<()> {
    let mut wrong = Vec::new();
    for (number, (sentence, change, script, expected)) in rows.iter().enumerate() {
        for runtime in runtimes(world) {
            let dir = bundle(world, &["sh", "-c", script], *change)?;
            let output = runtime(&["run", "--bundle"]).arg(&dir).arg(format!("row{number}"));
            let output = output.output()?;
            if output.stdout != *expected {
                wrong.push(format!("{sentence}: {expected:?} expected\n{output}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn bundle(world: &World, args: &[&str], change: impl FnOnce(&mut Value)) -> Result<PathBuf> {
    let dir = world.new_directory("bundle")?;
    world.program("isula-runtime").args(["spec", "--bundle"]).arg(&dir).ok()?;
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["ociVersion"] = json!("1.0.2");
    config["root"] = json!({ "path": world.busybox()? });
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(args);
    let name = dir.file_name().context("a name")?.to_string_lossy().into_owned();
    config["linux"]["cgroupsPath"] = json!(format!("/{}/{name}", world.name()));
    change(&mut config);
    std::fs::write(&path, serde_json::to_vec(&config)?)?;
    Ok(dir)
}

/// config.md: what a configuration MUST be; each is an error that names the member.
fn wrong(world: &World) -> Result<()> {
    type Wrong = (&'static str, fn(&mut Value));
    let list: &[Wrong] = &[
        ("process.cwd", |c| c["process"]["cwd"] = json!("tmp")),
        ("process.args", |c| c["process"]["args"] = json!([])),
        ("ociVersion", |c| c["ociVersion"] = json!("2.0.0")),
        ("linux.namespaces", |c| {
            c["linux"]["namespaces"] =
                json!([{ "type": "mount" }, { "type": "mount" }, { "type": "uts" }]);
        }),
        ("mounts[0].destination", |c| c["mounts"][0]["destination"] = json!("proc")),
        ("linux.maskedPaths[0]", |c| c["linux"]["maskedPaths"] = json!(["proc"])),
        ("linux.rootfsPropagation", |c| c["linux"]["rootfsPropagation"] = json!("loud")),
        ("hostname", |c| {
            c["hostname"] = json!("x");
            c["linux"]["namespaces"] = json!([{ "type": "mount" }]);
        }),
    ];
    for (member, change) in list {
        let dir = bundle(world, &["true"], *change)?;
        let call = world.program("isula-runtime").arg("--root").arg(world.path("oci"));
        let output = call.args(["run", "--bundle"]).arg(&dir).arg("wrong").code(1)?;
        ensure!(output.stderr.contains(&format!("config.json: {member}")), "{member}:\n{output}");
    }
    Ok(())
}

fn status(runtime: &Runtime<'_>, id: &str) -> Result<Value> {
    let output = runtime(&["state", id]).ok()?;
    serde_json::from_str(&output.stdout).with_context(|| format!("{output}"))
}

fn until(runtime: &Runtime<'_>, id: &str, wanted: &str) -> Result<()> {
    wait::until(format!("{id} is {wanted}"), Duration::from_secs(20), || {
        Ok((status(runtime, id)?["status"] == wanted).then_some(()))
    })
}

fn create(runtime: &Runtime<'_>, dir: &Path, id: &str) -> Result<()> {
    let null = std::process::Stdio::null;
    let call = runtime(&["create", "--bundle"]).arg(dir).arg(id);
    let ended = call.command().stdin(null()).stdout(null()).stderr(null()).status()?;
    ensure!(ended.success(), "create ended with {ended}");
    Ok(())
}

/// runtime.md, "Operations": what each MUST do, and when it MUST be an error.
fn operations(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let fails = |words: &[&str]| -> Result<()> {
        let output = runtime(words).output()?;
        ensure!(output.code() != 0, "an error expected\n{output}");
        Ok(())
    };
    for verb in
        [&["state", "one"][..], &["start", "one"], &["kill", "one", "9"], &["delete", "one"]]
    {
        fails(verb).context("a container that is not there")?;
    }
    let dir = bundle(world, &["sleep", "1000"], same)?;
    create(runtime, &dir, "one")?;
    let state = status(runtime, "one")?;
    for member in ["ociVersion", "id", "status", "pid", "bundle"] {
        ensure!(!state[member].is_null(), "state has no {member}: {state}");
    }
    ensure!(state["id"] == "one" && state["status"] == "created", "{state}");
    ensure!(state["bundle"].as_str() == dir.to_str(), "{state}");
    let other = bundle(world, &["true"], same)?;
    if create(runtime, &other, "one").is_ok() {
        bail!("an id MUST be unique");
    }
    runtime(&["start", "one"]).ok()?;
    until(runtime, "one", "running")?;
    fails(&["start", "one"]).context("start of what is not created")?;
    fails(&["delete", "one"]).context("delete of what is not stopped")?;
    runtime(&["kill", "one", "KILL"]).ok()?;
    until(runtime, "one", "stopped")?;
    fails(&["start", "one"]).context("start of what has stopped")?;
    fails(&["kill", "one", "KILL"]).context("kill of what has stopped")?;
    runtime(&["delete", "one"]).ok()?;
    fails(&["state", "one"]).context("delete MUST delete")
}

/// The program MUST NOT run at create; later changes of config.json MUST have no effect.
fn two_steps(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sh", "-c", "echo first > /mark; sleep 1000"], same)?;
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let mark = Path::new(config["root"]["path"].as_str().context("a path")?).join("mark");
    create(runtime, &dir, "two")?;
    config["process"]["args"] = json!(["sh", "-c", "echo second > /mark; sleep 1000"]);
    std::fs::write(&path, config.to_string())?;
    ensure!(!mark.exists(), "it runs before its start");
    runtime(&["start", "two"]).ok()?;
    let said = wait::until("it has run", Duration::from_secs(20), || {
        Ok(std::fs::read_to_string(&mark).ok().filter(|text| !text.is_empty()))
    })?;
    ensure!(said == "first\n", "it is {said:?} that ran");
    runtime(&["delete", "--force", "two"]).ok()?;
    Ok(())
}

/// Their order, their stdin, and that a failing poststop changes nothing.
fn hooks(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let log = world.new_directory("hooks")?.join("log");
    let hook = |name: &str, code: u8| {
        let script = format!(
            "s=$(cat); case $s in *'\"id\"'*) echo {name} >> {};; esac; exit {code}",
            log.display()
        );
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }])
    };
    let dir = bundle(world, &["true"], |config| {
        config["hooks"] = json!({
            "prestart": hook("prestart", 0),
            "createRuntime": hook("createRuntime", 0),
            "createContainer": hook("createContainer", 0),
            "poststart": hook("poststart", 0),
            "poststop": hook("poststop", 3),
        });
    })?;
    create(runtime, &dir, "hooked")?;
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    ensure!(said() == "prestart\ncreateRuntime\ncreateContainer\n", "{}", said());
    runtime(&["start", "hooked"]).ok()?;
    ensure!(said().ends_with("createContainer\npoststart\n"), "{}", said());
    until(runtime, "hooked", "stopped")?;
    runtime(&["delete", "hooked"]).ok()?;
    ensure!(said().ends_with("poststart\npoststop\n"), "{}", said());
    Ok(())
}
