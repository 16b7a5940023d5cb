//! A running container for stories that disturb a change at each of its steps: what can be added to
//! it, how, and a look from outside at what is there.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use tests::{Container, Output, World};

use crate::links::{Bridge, Port, has_link, ip_in};
use crate::trace::{self, Turn};

/// What of it is there; the record and the container say the same.
pub(crate) type Present = BTreeSet<&'static str>;

/// A command, and the one that takes it back.
pub(crate) type Change<'a> = (Vec<&'a str>, Vec<&'a str>);

fn present<const N: usize>(all: [(&'static str, bool); N]) -> Present {
    all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}

/// A look at what is there. It fails where the record and the container differ.
pub(crate) type Look<'a> = &'a dyn Fn() -> Result<Present>;

/// Has each change of a container's devices and paths disturbed.
pub(crate) fn of_files(
    world: &World,
    disturb: impl Fn(&Change<'_>, Look<'_>) -> Result<()>,
) -> Result<()> {
    let files = Files::new(world)?;
    for change in &files.changes() {
        disturb(change, &|| files.look())?;
    }
    files.container.remove()
}

/// Has each change of a container's links and routes disturbed.
pub(crate) fn of_nics(
    world: &World,
    disturb: impl Fn(&Change<'_>, Look<'_>) -> Result<()>,
) -> Result<()> {
    let nics = Nics::new(world)?;
    for change in &Nics::changes() {
        disturb(change, &|| nics.look())?;
    }
    nics.container.remove()?;
    world.tools(["recover"]).ok().map(drop)
}

/// A device and a path.
struct Files<'w> {
    world: &'w World,
    container: Container<'w>,
    path: String,
    pid: u32,
}

impl<'w> Files<'w> {
    fn new(world: &'w World) -> Result<Self> {
        let source = world.new_directory("source")?;
        fs::write(source.join("file"), "")?;
        let container = world.sleeper(&["--name", "web"])?;
        let pid = container.pid()?;
        Ok(Self { world, container, path: format!("{}:/data", source.display()), pid })
    }

    fn changes(&self) -> [Change<'_>; 2] {
        let device = "/dev/fuse:/dev/n1";
        [
            (vec!["add-device", "web", device], vec!["remove-device", "web", device]),
            (vec!["add-path", "web", &self.path], vec!["remove-path", "web", &self.path]),
        ]
    }

    /// # Errors
    /// The record and the container differ, or one of the two is there in part.
    fn look(&self) -> Result<Present> {
        let is_recorded = |verb: &str| -> Result<bool> {
            Ok(self.world.tools([verb, "web"]).ok()?.stdout != "[]\n")
        };
        let recorded = [is_recorded("list-device")?, is_recorded("list-path")?];
        let live = [self.has_device()?, self.has_path()?];
        ensure!(recorded == live, "recorded {recorded:?}, live {live:?}");
        Ok(present([("device", live[0]), ("path", live[1])]))
    }

    /// A node, and the rule that lets it be opened.
    fn has_device(&self) -> Result<bool> {
        let node = self.root().join("dev/n1").exists();
        let list = format!("/sys/fs/cgroup/devices/{}/devices.list", self.container.cgroup());
        let may_open = match fs::read_to_string(list) {
            Ok(rules) => rules.lines().any(|rule| rule == "c 10:229 rwm"),
            // The program of the unified hierarchy shows no rules, and without a node nobody can
            // ask it.
            Err(_) if !node => false,
            Err(_) => self.container.exec(["sh", "-c", ": < /dev/n1"]).output()?.code() == 0,
        };
        ensure!(node == may_open, "node {node}, rule {may_open}");
        Ok(node)
    }

    /// A mount, and the file in it.
    fn has_path(&self) -> Result<bool> {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.pid))?;
        let mounts = mounts.lines().filter(|line| line.contains(" /data ")).count();
        ensure!(mounts <= 1, "mounted {mounts} times");
        let file = self.root().join("data/file").exists();
        ensure!(file == (mounts == 1), "the mount shows its source");
        Ok(file)
    }

    fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid))
    }
}

/// A pair, a link of the host's and a route.
struct Nics<'w> {
    world: &'w World,
    container: Container<'w>,
    port: Port<'w>,
    /// The port as the host has it.
    before: String,
    _bridge: Bridge<'w>,
}

impl<'w> Nics<'w> {
    fn new(world: &'w World) -> Result<Self> {
        let bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
        let port = Port::new(world)?;
        let before = port.look()?;
        let container = world.sleeper(&["--name", "web"])?;
        Ok(Self { world, container, port, before, _bridge: bridge })
    }

    /// Each wants the one before it.
    fn changes() -> [Change<'static>; 4] {
        let pair = ["add-nic", "web", "--type", "veth", "--bridge", "br0", "--name", "h1:e1"];
        let address = ["--ip", "192.168.3.4/24", "--gateway", "192.168.3.1"];
        let given = ["add-nic", "web", "--type", "eth", "--name", "p0:e2", "--ip", "10.6.0.2/24"];
        let update = |mtu, ip| vec!["update-nic", "web", "--name", "e1", "--mtu", mtu, "--ip", ip];
        let route = r#"[{"dest":"10.9.0.0/16","gw":"192.168.3.1","dev":"e1"}]"#;
        [
            ([&pair[..], &address].concat(), vec!["remove-nic", "web", "--name", "e1"]),
            (given.to_vec(), vec!["remove-nic", "web", "--name", "e2"]),
            (vec!["add-route", "web", route], vec!["remove-route", "web", route]),
            (update("1400", "192.168.3.5/24"), update("1500", "192.168.3.4/24")),
        ]
    }

    /// # Errors
    /// The record and the container differ, or the host's link is not as it was.
    fn look(&self) -> Result<Present> {
        let nics = self.world.tools(["list-nic", "web"]).ok()?.stdout;
        let inside = ip_in(self.world, &self.container, "-o link")?;
        let has = |name, host, is_given| -> Result<bool> {
            let recorded = nics.contains(&format!("\"{name}\""));
            ensure!(inside.contains(&format!(" {name}@")) == recorded, "{nics}{inside}");
            ensure!(has_link(self.world, host)? == (recorded != is_given), "{host}: {nics}");
            Ok(recorded)
        };
        let (pair, given) = (has("e1", "h1", false)?, has("e2", "p0", true)?);
        if !given {
            let after = self.port.look()?;
            ensure!(after == self.before, "before: {}\nafter: {after}", self.before);
            let kept = self.world.path("links").join(self.container.id());
            ensure!(!kept.exists(), "nothing is kept");
        }
        let routes = self.world.tools(["list-route", "web"]).ok()?.stdout;
        let (recorded, live) = (
            routes.contains("10.9.0.0/16"),
            ip_in(self.world, &self.container, "route")?.contains("10.9.0.0/16"),
        );
        ensure!(recorded == live, "route recorded {recorded}, live {live}");
        self.world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
        let updated = inside.contains(" mtu 1400 ");
        ensure!(nics.contains("\"Mtu\":1400") == updated, "{nics}{inside}");
        Ok(present([("pair", pair), ("given", given), ("route", live), ("mtu", updated)]))
    }
}

/// A container with a device and a path, whose hook runs under strace.
pub(crate) struct Hooked<'w> {
    container: Container<'w>,
    /// The options that strace is given at the next start.
    options: PathBuf,
    log: PathBuf,
}

impl<'w> Hooked<'w> {
    pub(crate) fn new(world: &'w World) -> Result<Self> {
        let spec = world.hook_spec()?;
        let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&spec)?)?;
        let program = document["prestart"][0]["path"].as_str().unwrap_or_default().to_owned();
        let script = spec.with_file_name("traced");
        let (options, log) = (spec.with_file_name("traced.args"), spec.with_file_name("trace"));
        let text = format!("#!/bin/sh\nexec strace $(cat $0.args) {program} --state prestart\n");
        fs::write(&script, text)?;
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
        Ok(Self { container, options, log })
    }

    /// The calls of its hook.
    pub(crate) fn turns(&self) -> Result<Vec<Turn>> {
        let started = self.start_again(None)?;
        ensure!(started.code() == 0, "it starts under strace: {started}");
        trace::turns(&self.log)
    }

    pub(crate) fn start_again(&self, turn: Option<(&Turn, &str)>) -> Result<Output> {
        self.container.isula("stop", ["-t", "0"]).ok()?;
        fs::write(&self.options, trace::options(&self.log, turn).join(" "))?;
        self.container.isula("start", [""; 0]).output()
    }

    /// # Errors
    /// It does not start when nobody disturbs its hook, or has not all that was added.
    pub(crate) fn look(&self) -> Result<()> {
        fs::write(&self.options, trace::options(&self.log, None).join(" "))?;
        self.container.isula("start", [""; 0]).ok()?;
        let look = self.container.exec(["sh", "-c", ": < /dev/n1 && cat /data/file"]).ok()?;
        look.expect_stdout("host\n").map(drop)
    }

    pub(crate) fn remove(self) -> Result<()> {
        self.container.remove()
    }
}
