//! `isulad-tools` and its hook are killed before one system call after the other.
//!
//! strace counts: it ends the traced process by SIGKILL at its N-th system call. Whatever N, the
//! record can be read, is the old one or the new one, and `recover` makes the container agree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, CGROUP_V1, ROOT, STRACE};
use tests::{Container, Story, World, story};

use crate::links::{Bridge, Port, has_link, ip_in};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_crash::at_some_calls", &[ROOT, BUSYBOX, CGROUP_V1, STRACE], |world| {
            sweep(world, 13)
        }),
        story("hotplug_crash::at_every_call", &[ROOT, BUSYBOX, CGROUP_V1, STRACE], |world| {
            sweep(world, 1)
        })
        .stress(),
        story("hotplug_crash::links_at_some_calls", &[ROOT, BUSYBOX, STRACE], |world| {
            links(world, 29)
        }),
        story("hotplug_crash::links_at_every_call", &[ROOT, BUSYBOX, STRACE], |world| {
            links(world, 1)
        })
        .stress(),
        story("hotplug_crash::the_hook", &[ROOT, BUSYBOX, CGROUP_V1, STRACE], |world| {
            hook(world, 17)
        }),
        story("hotplug_crash::the_hook_at_every_call", &[ROOT, BUSYBOX, CGROUP_V1, STRACE], |w| {
            hook(w, 1)
        })
        .stress(),
    ]
}

/// A system call of a run: its name, and which of that name it is in its thread.
type Turn = (String, usize);

/// strace's options to write the calls of a run to `log`, and to kill at `turn`.
fn options(log: &Path, turn: Option<&Turn>) -> Vec<String> {
    let mut options = vec!["-f".into(), "-q".into(), "-o".into(), log.display().to_string()];
    if let Some((call, at)) = turn {
        options.push("-e".into());
        options.push(format!("inject={call}:signal=KILL:when={at}"));
    }
    options
}

/// The calls that a log has, each once, in their order.
fn turns(log: &Path) -> Result<Vec<Turn>> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut turns = Vec::new();
    for line in fs::read_to_string(log)?.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let count = counts.entry((thread.to_owned(), name.to_owned())).or_default();
        *count += 1;
        let turn = (name.to_owned(), *count);
        if !turns.contains(&turn) {
            turns.push(turn);
        }
    }
    ensure!(turns.len() > 100, "only {} calls in {}", turns.len(), log.display());
    Ok(turns)
}

/// One container, a device and a path of it, and what is known of both from outside.
struct Subject<'w> {
    world: &'w World,
    container: Container<'w>,
    source: PathBuf,
    pid: u32,
}

impl Subject<'_> {
    fn recorded(&self) -> Result<(bool, bool)> {
        let is_empty = |verb: &str| -> Result<bool> {
            Ok(self.world.tools([verb, "web"]).ok()?.stdout == "[]\n")
        };
        Ok((!is_empty("list-device")?, !is_empty("list-path")?))
    }

    /// Node and rule; mount and its file.
    fn live(&self) -> Result<(bool, bool)> {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        let node = root.join("dev/n1").exists();
        let list = format!("/sys/fs/cgroup/devices/{}/devices.list", self.container.cgroup());
        let rule = fs::read_to_string(list)?.lines().any(|line| line == "c 10:229 rwm");
        ensure!(node == rule, "node {node}, rule {rule}");
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.pid))?;
        let mounts = mounts.lines().filter(|line| line.contains(" /data ")).count();
        ensure!(mounts <= 1, "mounted {mounts} times");
        ensure!(root.join("data/file").exists() == (mounts == 1), "the mount shows its source");
        Ok((node, mounts == 1))
    }

    fn path(&self) -> String {
        format!("{}:/data", self.source.display())
    }

    fn run(&self, verb: &[&str], back: &[&str], stride: usize) -> Result<()> {
        run(self.world, verb, back, stride, &|| {
            let (recorded, live) = (self.recorded()?, self.live()?);
            ensure!(recorded == live, "recorded {recorded:?}, live {live:?}");
            Ok(())
        })
    }
}

/// Runs the verb with a kill at each `stride`-th of its calls. `agree`: what is recorded and what
/// there is are the same.
fn run(
    world: &World,
    verb: &[&str],
    back: &[&str],
    stride: usize,
    agree: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let tools = world.tools(verb);
    let log = world.path("trace");
    let traced = |turn| {
        let strace = world.tool("strace").args(options(&log, turn)).arg("--");
        strace.args(tools.argv()).output()
    };
    let first = traced(None)?;
    ensure!(first.code() == 0, "it works under strace\n{first}");
    let turns = turns(&log)?;
    world.tools(back).ok()?;
    for turn in turns.iter().step_by(stride) {
        let killed = traced(Some(turn))?;
        // A call that depends on the time may not be made this time.
        ensure!([0, 137].contains(&killed.code()), "killed, and nothing else\n{killed}");
        let about = || format!("{verb:?} killed at {turn:?}");
        let check = || -> Result<()> {
            world.tools(["list-path", "web"]).ok()?;
            world.tools(["recover", "web"]).ok()?;
            agree()
        };
        check().map_err(|error| error.context(about()))?;
        // It may have been done already; undone it has to be for the next round.
        world.tools(back).output()?;
        agree().map_err(|error| error.context(about()))?;
    }
    Ok(())
}

/// A pair, a link of the host's and a route.
fn links(world: &World, stride: usize) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let port = Port::new(world)?;
    let before = port.look()?;
    let container = world.sleeper(&["--name", "web"])?;
    let agree = || -> Result<()> {
        let nics = world.tools(["list-nic", "web"]).ok()?.stdout;
        let inside = ip_in(world, &container, "-o link")?;
        for (name, host, is_given) in [("e1", "h1", false), ("e2", "p0", true)] {
            let recorded = nics.contains(&format!("\"{name}\""));
            ensure!(inside.contains(&format!(" {name}@")) == recorded, "{nics}{inside}");
            ensure!(has_link(world, host)? == (recorded != is_given), "{host}: {nics}");
        }
        if !nics.contains("e2") {
            let after = port.look()?;
            ensure!(after == before, "before: {before}\nafter: {after}");
            ensure!(!world.path("links").join(container.id()).exists(), "nothing is kept");
        }
        world.tools(["diff", "web"]).ok()?.expect_stdout("").map(drop)
    };
    let pair = ["add-nic", "web", "--type", "veth", "--bridge", "br0", "--name", "h1:e1", "--ip"];
    let pair = [&pair[..], &["192.168.3.4/24", "--gateway", "192.168.3.1"]].concat();
    let given = ["add-nic", "web", "--type", "eth", "--name", "p0:e2", "--ip", "10.6.0.2/24"];
    let (no_pair, no_given) =
        (["remove-nic", "web", "--name", "e1"], ["remove-nic", "web", "--name", "e2"]);
    run(world, &pair, &no_pair, stride, &agree)?;
    run(world, &given, &no_given, stride, &agree)?;
    world.tools(&pair).ok()?;
    run(world, &no_pair, &pair, stride, &agree)?;
    world.tools(given).ok()?;
    run(world, &no_given, &given, stride, &agree)?;
    container.remove()?;
    world.tools(["recover"]).ok()?;
    Ok(())
}

fn subject(world: &World) -> Result<Subject<'_>> {
    let source = world.new_directory("source")?;
    fs::write(source.join("file"), "")?;
    let container = world.sleeper(&["--name", "web"])?;
    let pid = container.pid()?;
    Ok(Subject { world, container, source, pid })
}

fn sweep(world: &World, stride: usize) -> Result<()> {
    let subject = subject(world)?;
    let path = subject.path();
    let device = "/dev/fuse:/dev/n1";
    let (add_device, remove_device) =
        (["add-device", "web", device], ["remove-device", "web", device]);
    let (add_path, remove_path) = (["add-path", "web", &path], ["remove-path", "web", &path]);
    subject.run(&add_device, &remove_device, stride)?;
    world.tools(add_device).ok()?;
    subject.run(&remove_device, &add_device, stride)?;
    subject.run(&add_path, &remove_path, stride)?;
    world.tools(add_path).ok()?;
    subject.run(&remove_path, &add_path, stride)?;
    subject.container.remove()
}

fn hook(world: &World, stride: usize) -> Result<()> {
    let spec = world.hook_spec()?;
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&spec)?)?;
    let program = document["prestart"][0]["path"].as_str().unwrap_or_default().to_owned();
    let script = spec.with_file_name("traced");
    let (arguments, log) = (spec.with_file_name("traced.args"), spec.with_file_name("trace"));
    let text = format!("#!/bin/sh\nexec strace $(cat $0.args) {program} --state prestart\n");
    fs::write(&script, text)?;
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    document["prestart"][0]["path"] = script.to_string_lossy().into();
    document["prestart"][0]["args"] = serde_json::json!([script]);
    let traced = spec.with_file_name("traced.json");
    fs::write(&traced, document.to_string())?;

    let source = world.new_directory("source")?;
    fs::write(source.join("file"), "host\n")?;
    let traced = traced.to_string_lossy().into_owned();
    let hooked = ["--name", "web", "--hook-spec", &traced];
    let container = world.create(&hooked, &world.busybox()?, &["sleep", "86400"])?;
    world.tools(["add-device", "web", "/dev/fuse:/dev/n1"]).ok()?;
    world.tools(["add-path", "web", &format!("{}:/data", source.display())]).ok()?;
    let start = |turn: Option<&Turn>| -> Result<tests::Output> {
        fs::write(&arguments, options(&log, turn).join(" "))?;
        container.isula("start", [""; 0]).output()
    };
    ensure!(start(None)?.code() == 0, "it starts under strace");
    let turns = turns(&log)?;
    for turn in turns.iter().step_by(stride) {
        container.isula("stop", ["-t", "0"]).ok()?;
        let started = start(Some(turn))?;
        if started.code() != 0 {
            started.expect_stderr("traced")?;
        }
        ensure!(start(None)?.code() == 0, "it starts when nobody kills its hook");
    }
    let look = container.exec(["sh", "-c", ": < /dev/n1 && cat /data/file"]).ok()?;
    ensure!(look.stdout == "host\n", "{look}");
    container.remove()
}
