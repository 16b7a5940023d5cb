//! config.md, "POSIX-platform Hooks", and the steps of runtime.md, "Lifecycle", that are theirs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use linux::process::{Pid, PidFd};
use linux::signal::Signal;
use serde_json::{Value, json};
use tests::World;

use super::{Row, Runtime, bundle, by, id, refused, rootfs, same};

const ALL: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub(super) fn rows() -> Vec<Row> {
    vec![
        refused(
            "config/60",
            "hooks: a path MUST be absolute",
            &[
                ("hooks.prestart[0]", |c| c["hooks"] = json!({ "prestart": [{ "path": "true" }] })),
                ("hooks.poststop[0]", |c| c["hooks"] = json!({ "poststop": [{ "path": "true" }] })),
            ],
        )
        .not_the_peers("they find out when they run it"),
        refused(
            "config/61",
            "hooks: a timeout MUST be greater than zero",
            &[("hooks.poststart[0]", |c| {
                c["hooks"] = json!({ "poststart": [{ "path": "/bin/true", "timeout": 0 }] });
            })],
        )
        .not_the_peers("they take it"),
        by("config/62", "hooks: after its timeout a hook is aborted", timeout)
            .not("runc", "1.1 waits for what holds its output"),
        by("config/63", "hooks MUST be called in the listed order", listed_order),
        by("config/64", "hooks: the state MUST be passed over stdin", state_over_stdin)
            .not("runc", "1.1 runs poststart when it creates, with pid 1")
            .not("crun", "1.8 gives startContainer the pid 0"),
        by("config/65", "hooks: prestart, createRuntime, createContainer, in this order", order),
        by("config/66", "prestart, createRuntime, poststart, poststop: the runtime's namespace", runtime_namespace),
        by("config/67", "createContainer: a path of the runtime's, run in the container's namespace", create_container),
        by("config/68", "startContainer: a path of the container's, run in the container", start_container),
        by("config/69", "prestart to createContainer run before the root is changed", before_pivot),
        by("config/70", "startContainer runs in start, before the program", before_the_program),
        by("config/71", "poststart runs after the program is executed, before start returns", poststart)
            .not("runc", "1.1 runs it when it creates"),
        by("config/72", "poststop runs after the container is gone, before delete returns", poststop),
        by("runtime/10", "a failing prestart, createRuntime or createContainer: an error, no container, poststop", failing_create)
            .not_the_peers("runc 1.1 and crun 1.8 do not run poststop then"),
        by("runtime/11", "a failing startContainer: an error, the program MUST NOT run", failing_start)
            .not_the_peers("runc 1.1 tells nobody, crun 1.8 runs the program"),
        by("runtime/12", "a failing poststart: an error, the container is stopped", failing_poststart)
            .not_the_peers("as of 1.3 of the specification; before it was a warning"),
        by("runtime/13", "a failing poststop: a warning, the remaining ones run", failing_poststop)
            .not_the_peers("runc 1.1 does not run the remaining ones, crun 1.8 warns nobody"),
    ]
}

/// A bundle with hooks that write to one log, and that log.
struct Hooked {
    dir: PathBuf,
    log: PathBuf,
    id: String,
}

/// A hook that runs this script on the host.
fn hook(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] })
}

impl Hooked {
    /// `script` is told the name of its hook as $NAME and the log as $LOG.
    fn new(world: &World, names: &[&str], args: &[&str], script: &str) -> Result<Self> {
        let dir = bundle(world, args, same)?;
        // The image's own directory: hooks inside write there, too.
        let log = rootfs(&dir)?.join("log");
        std::fs::write(&log, "")?;
        let id = id(world, &dir)?;
        let hooked = Self { dir, log, id };
        hooked.add(names, script)?;
        Ok(hooked)
    }

    fn add(&self, names: &[&str], script: &str) -> Result<()> {
        super::rewrite(&self.dir, |config| {
            for name in names {
                let log = match *name {
                    "startContainer" => Path::new("/log"),
                    _ => &self.log,
                };
                let script = format!("NAME={name}; LOG={}; {script}", log.display());
                let list = &mut config["hooks"][name];
                match list.as_array_mut() {
                    Some(list) => list.push(hook(&script)),
                    None => *list = json!([hook(&script)]),
                }
            }
        })
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn says(&self, wanted: &str) -> Result<()> {
        ensure!(self.said() == wanted, "the hooks said {:?}, not {wanted:?}", self.said());
        Ok(())
    }
}

fn timeout(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &[], &["true"], "")?;
    super::rewrite(&hooked.dir, |config| {
        let mut slow = hook(&format!("echo $$ > {}; exec sleep 1000", hooked.log.display()));
        slow["timeout"] = json!(1);
        config["hooks"] = json!({ "createRuntime": [slow] });
    })?;
    let create = runtime.verb(&["create", "--bundle"]).arg(&hooked.dir).arg(&hooked.id).output()?;
    ensure!(create.code() != 0, "{create}");
    let pid = hooked.said().trim().parse().ok().and_then(Pid::new).context("its pid")?;
    let hook = PidFd::open(pid);
    if runtime.is_ours() {
        ensure!(hook.is_err(), "the hook runs on");
    } else if let Ok(hook) = hook {
        // crun 1.8 lets it.
        hook.signal(Signal::KILL)?;
    }
    Ok(())
}

fn listed_order(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &[], &["true"], "")?;
    for number in 1..4 {
        hooked.add(&["createRuntime", "poststop"], &format!("echo $NAME {number} >> $LOG"))?;
    }
    runtime.started(&hooked.dir, &hooked.id)?;
    runtime.until(&hooked.id, "stopped")?;
    runtime.verb(&["delete", &hooked.id]).ok()?;
    let all = |name: &str| (1..4).map(|n| format!("{name} {n}\n")).collect::<String>();
    hooked.says(&(all("createRuntime") + &all("poststop")))
}

fn state_over_stdin(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &ALL, &["sleep", "1000"], "cat >> $LOG; echo >> $LOG")?;
    let pid = runtime.started(&hooked.dir, &hooked.id)?;
    runtime.remove(&hooked.id)?;
    let said = hooked.said();
    let states: Vec<Value> =
        said.lines().map(serde_json::from_str).collect::<Result<_, _>>().context(said.clone())?;
    ensure!(states.len() == 6, "{} states:\n{said}", states.len());
    for (state, name) in states.iter().zip(ALL) {
        ensure!(state["id"] == hooked.id && state["ociVersion"].is_string(), "{name}: {state}");
        ensure!(state["bundle"].as_str() == hooked.dir.to_str(), "{name}: {state}");
        let in_container = matches!(name, "createContainer" | "startContainer");
        if name != "poststop" && (!in_container || runtime.is_ours()) {
            let wanted = if in_container { 1 } else { pid };
            ensure!(state["pid"] == wanted, "{name}: {state}, not pid {wanted}");
        }
    }
    ensure!(states[5]["status"] == "stopped", "poststop: {}", states[5]);
    Ok(())
}

fn order(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &ALL, &["true"], "echo $NAME >> $LOG")?;
    runtime.create(&hooked.dir, &hooked.id)?;
    ensure!(hooked.said().starts_with("prestart\ncreateRuntime\ncreateContainer\n"));
    runtime.verb(&["start", &hooked.id]).ok()?;
    runtime.until(&hooked.id, "stopped")?;
    runtime.verb(&["delete", &hooked.id]).ok()?;
    let mut said: Vec<_> = hooked.said().lines().map(str::to_owned).collect();
    said.sort();
    let mut all = ALL.to_vec();
    all.sort_unstable();
    ensure!(said == all, "{said:?}");
    Ok(())
}

fn runtime_namespace(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let names = ["prestart", "createRuntime", "poststart", "poststop"];
    let script = "echo $(readlink /proc/self/ns/mnt /proc/self/ns/pid) >> $LOG";
    let hooked = Hooked::new(world, &names, &["true"], script)?;
    runtime.started(&hooked.dir, &hooked.id)?;
    runtime.until(&hooked.id, "stopped")?;
    runtime.verb(&["delete", &hooked.id]).ok()?;
    let own = |name| -> Result<_> {
        Ok(std::fs::read_link(format!("/proc/thread-self/ns/{name}"))?.display().to_string())
    };
    hooked.says(&format!("{} {}\n", own("mnt")?, own("pid")?).repeat(4))
}

/// `/bin/sh` of the host, and the mounts of the container: the host's own path of the rootfs has
/// a proc in it.
fn create_container(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &[], &["true"], "")?;
    let proc = rootfs(&hooked.dir)?.join("proc");
    let script = format!(
        "echo $(readlink /proc/thread-self/ns/mnt) $(grep -c ' {} proc ' /proc/mounts) >> $LOG",
        proc.display()
    );
    hooked.add(&["createContainer"], &script)?;
    runtime.create(&hooked.dir, &hooked.id)?;
    let pid = runtime.pid(&hooked.id)?;
    let inside = std::fs::read_link(format!("/proc/{pid}/ns/mnt"))?;
    hooked.says(&format!("{} 1\n", inside.display()))?;
    runtime.remove(&hooked.id)
}

fn start_container(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &[], &["sleep", "1000"], "")?;
    let program = rootfs(&hooked.dir)?.join("only-inside");
    let script = "#!/bin/sh\nfor n in mnt pid; do readlink /proc/self/ns/$n; done > /log\n";
    std::fs::write(&program, script)?;
    world.tool("chmod").arg("755").arg(&program).ok()?;
    super::rewrite(&hooked.dir, |config| {
        config["hooks"] =
            json!({ "startContainer": [{ "path": "/only-inside", "env": ["PATH=/bin"] }] });
    })?;
    let pid = runtime.started(&hooked.dir, &hooked.id)?;
    let inside = |name| -> Result<_> {
        Ok(std::fs::read_link(format!("/proc/{pid}/ns/{name}"))?.display().to_string())
    };
    hooked.says(&format!("{}\n{}\n", inside("mnt")?, inside("pid")?))?;
    runtime.remove(&hooked.id)
}

/// The root of init, and of the hook in its mount namespace, still is the host's.
fn before_pivot(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &[], &["true"], "")?;
    let script = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); \
                  test -e /proc/$pid/root$LOG && echo $NAME >> $LOG";
    hooked.add(&["prestart", "createRuntime"], script)?;
    hooked.add(&["createContainer"], "test -e $LOG && echo $NAME >> $LOG")?;
    runtime.create(&hooked.dir, &hooked.id)?;
    hooked.says("prestart\ncreateRuntime\ncreateContainer\n")?;
    runtime.remove(&hooked.id)
}

fn before_the_program(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let script = "echo program >> /log; sleep 1000";
    let hooked = Hooked::new(
        world,
        &["startContainer"],
        &["sh", "-c", script],
        "sleep 0.2; echo $NAME >> $LOG",
    )?;
    runtime.create(&hooked.dir, &hooked.id)?;
    hooked.says("")?;
    runtime.verb(&["start", &hooked.id]).ok()?;
    tests::wait::until("the program has run", std::time::Duration::from_secs(20), || {
        Ok(hooked.said().contains("program").then_some(()))
    })?;
    hooked.says("startContainer\nprogram\n")?;
    runtime.remove(&hooked.id)
}

fn poststart(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let script = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); sleep 0.2; \
                  echo $(tr '\\0' ' ' < /proc/$pid/cmdline) >> $LOG";
    let hooked = Hooked::new(world, &["poststart"], &["sleep", "1000"], script)?;
    runtime.create(&hooked.dir, &hooked.id)?;
    hooked.says("")?;
    runtime.verb(&["start", &hooked.id]).ok()?;
    hooked.says("sleep 1000\n")?;
    runtime.remove(&hooked.id)
}

fn poststop(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &[], &["sleep", "1000"], "")?;
    let tasks: Vec<String> = tests::leaks::hierarchies()
        .iter()
        .map(|top| top.join(world.name()).join(hooked.dir.file_name().unwrap_or_default()))
        .map(|dir| format!("test -d {} && echo left >> $LOG;", dir.display()))
        .collect();
    hooked.add(&["poststop"], &format!("{} sleep 0.2; echo $NAME >> $LOG", tasks.concat()))?;
    runtime.started(&hooked.dir, &hooked.id)?;
    hooked.says("")?;
    runtime.remove(&hooked.id)?;
    hooked.says("poststop\n")
}

fn failing_create(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    for name in ["prestart", "createRuntime", "createContainer"] {
        let hooked = Hooked::new(world, &["poststop"], &["true"], "echo $NAME >> $LOG")?;
        hooked.add(&[name], "echo the reason >&2; exit 7")?;
        let create = runtime.verb(&["create", "--bundle"]).arg(&hooked.dir).arg(&hooked.id);
        let create = create.output()?;
        ensure!(create.code() != 0, "{name}\n{create}");
        if runtime.is_ours() {
            ensure!(
                create.stderr.contains(name) && create.stderr.contains("the reason"),
                "{create}"
            );
        }
        runtime.fails(&["state", &hooked.id])?;
        hooked.says("poststop\n").context(name)?;
    }
    Ok(())
}

fn failing_start(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked =
        Hooked::new(world, &["startContainer"], &["sh", "-c", "echo ran >> /log"], "exit 7")?;
    hooked.add(&["poststop"], "echo $NAME >> $LOG")?;
    runtime.create(&hooked.dir, &hooked.id)?;
    runtime.fails(&["start", &hooked.id])?;
    runtime.until(&hooked.id, "stopped")?;
    runtime.verb(&["delete", &hooked.id]).ok()?;
    hooked.says("poststop\n")
}

fn failing_poststart(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &["poststart"], &["sleep", "1000"], "exit 7")?;
    runtime.create(&hooked.dir, &hooked.id)?;
    runtime.fails(&["start", &hooked.id])?;
    runtime.until(&hooked.id, "stopped")?;
    runtime.remove(&hooked.id)
}

fn failing_poststop(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let hooked = Hooked::new(world, &["poststop"], &["sleep", "1000"], "exit 7")?;
    hooked.add(&["poststop"], "echo $NAME >> $LOG")?;
    runtime.started(&hooked.dir, &hooked.id)?;
    let log = hooked.dir.join("runtime.log");
    let delete = runtime.verb(&["--log"]).arg(&log).args(["delete", "--force", &hooked.id]);
    delete.ok()?;
    hooked.says("poststop\n")?;
    let said = std::fs::read_to_string(&log)?.to_lowercase();
    ensure!(said.contains("warn"), "no warning was logged: {said:?}");
    Ok(())
}
