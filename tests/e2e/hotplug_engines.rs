//! Running containers of podman, docker and containerd get a device, a link, a route and a
//! directory, and have them again after they were started again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::need::{BUSYBOX, CONTAINERD, DOCKER, PODMAN, ROOT};
use tests::{Call, Story, World, story};

use crate::added::source;
use crate::engines::{self, Engine};
use crate::links::{Bridge, Port, has_link};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_engines::podman", &[ROOT, BUSYBOX, PODMAN], podman),
        story("hotplug_engines::docker", &[ROOT, BUSYBOX, DOCKER], docker),
        story("hotplug_engines::containerd", &[ROOT, BUSYBOX, CONTAINERD], containerd),
    ]
}

const ROUTE: &str = r#"[{"dest":"10.9.0.0/16","gw":"192.168.3.1"}]"#;

/// Runs a script inside: what it says.
type Exec<'w> = Box<dyn Fn(&str) -> Result<String> + 'w>;

/// A container that an engine runs.
struct Guest<'w> {
    world: &'w World,
    /// As `--engine` has it.
    engine: &'static str,
    /// What it is called: its name where the engine gives one, its id, the beginning of it.
    words: [String; 3],
    exec: Exec<'w>,
}

impl Guest<'_> {
    fn tools(&self, arguments: &[&str]) -> Call {
        self.world
            .tools(["--engine-files", &self.world.path("host").to_string_lossy()])
            .args(["--records", &self.world.path("records").to_string_lossy()])
            .args(arguments)
    }

    /// Each by another of its words, and by the engine's name or without.
    fn add_all(&self, source: &Path) -> Result<()> {
        let [name, id, start] = self.words.each_ref().map(String::as_str);
        let path = format!("{}:/data", source.display());
        let nic = ["--type", "veth", "--bridge", "br0", "--name", "h1:e1", "--ip"];
        self.tools(&["add-device", name, "/dev/fuse:/dev/n1"]).ok()?;
        self.tools(&["--engine", self.engine, "add-path", id, &path]).ok()?;
        self.tools(&[&["add-nic", start], &nic[..], &["192.168.3.4/24"]].concat()).ok()?;
        self.tools(&["--engine", self.engine, "add-route", name, ROUTE]).ok()?;
        let other = if self.engine == "podman" { "docker" } else { "podman" };
        let refused = self.tools(&["--engine", other, "list-device", id]).code(3)?;
        refused.expect_stderr("no container matches")?;
        Ok(())
    }

    fn remove_all(&self, source: &Path) -> Result<()> {
        let name = self.words[0].as_str();
        self.tools(&["remove-route", name, ROUTE]).ok()?;
        self.tools(&["remove-nic", name, "--name", "e1"]).ok()?;
        self.tools(&["remove-path", name, &format!("{}:/data", source.display())]).ok()?;
        self.tools(&["remove-device", name, ":/dev/n1"]).ok()?;
        let look = (self.exec)("ls /dev/n1 /data; ip -o link | grep -c ': e1'; ip route | wc -l")?;
        ensure!(look == "/data:\n0\n0\n", "{look:?}");
        ensure!(!has_link(self.world, "h1")?, "the pair is gone");
        Ok(())
    }

    /// It can use all of it.
    fn has_all(&self) -> Result<()> {
        let look =
            (self.exec)(": < /dev/n1 && cat /data/file && ip route | grep -c '^10.9.0.0/16'")?;
        ensure!(look == "host\n1\n", "{look:?}");
        let ping = ["ping", "-c", "1", "-w", "10", "192.168.3.4"];
        self.world.tool("busybox").args(ping).ok()?;
        self.tools(&["diff", &self.words[0]]).ok()?.expect_stdout("").map(drop)
    }

    /// It has been started again, and nobody has run our hook.
    fn reconcile(&self) -> Result<()> {
        let name = self.words[0].as_str();
        let drift = self.tools(&["diff", name]).code(1)?;
        for kind in ["device", "path", "nic", "route"] {
            ensure!(drift.stdout.contains(&format!("{kind} ")), "{drift}");
        }
        self.tools(&["reconcile", name]).ok()?;
        self.has_all()
    }
}

fn guest<'w>(
    world: &'w World,
    kind: &'static str,
    engine: &'w Engine<'w>,
    image: &[&str],
) -> Result<Guest<'w>> {
    engine.run(&["-d", "--name", "box"], image, &["sleep", "1000"]).ok()?;
    let id = engine.verb(&["inspect", "--format", "{{.Id}}", "box"]).ok()?.line().to_owned();
    let words = ["box".to_owned(), id.clone(), id[..6].to_owned()];
    let exec =
        |script: &str| Ok(engine.verb(&["exec", "box", "sh", "-c", script]).output()?.stdout);
    Ok(Guest { world, engine: kind, words, exec: Box::new(exec) })
}

/// A directory of hooks as podman and CRI-O read it, made of the packaged files.
fn hooks_dir(world: &World) -> Result<PathBuf> {
    let spec = world.hook_spec()?;
    let program = spec.with_file_name("syscontainer-hooks");
    let dir = world.new_directory("hooks.d")?;
    let packaged = [
        ("start", include_str!("../../packaging/hooks.d-syscontainer-tools.json")),
        ("stop", include_str!("../../packaging/hooks.d-syscontainer-tools-poststop.json")),
    ];
    for (name, text) in packaged {
        let mut hook: serde_json::Value = serde_json::from_str(text)?;
        hook["hook"]["path"] = json!(program);
        let arguments = hook["hook"]["args"].as_array_mut().context("arguments")?;
        for (option, place) in [("--records", "records"), ("--links", "links")] {
            arguments.extend([json!(option), json!(world.path(place))]);
        }
        fs::write(dir.join(name).with_extension("json"), hook.to_string())?;
    }
    Ok(dir)
}

fn podman(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let port = Port::new(world)?;
    let before = port.look()?;
    let (rootfs, source) = (world.busybox()?, source(world)?);
    let engine = engines::podman_engine(world)?;
    let guest = guest(world, "podman", &engine, &["--rootfs", &rootfs.to_string_lossy()])?;
    guest.add_all(&source)?;
    guest.has_all()?;
    engine.verb(&["restart", "-t", "0", "box"]).ok()?;
    guest.reconcile()?;
    // By its hooks, and with a link of the host's, which is home while the container is not.
    let give = ["add-nic", "box", "--type", "eth", "--name", "p0:e2", "--ip", "10.6.0.2/24"];
    guest.tools(&give).ok()?;
    let hooks = hooks_dir(world)?;
    let hooked = |verb: &[&str]| {
        let hooks = hooks.to_string_lossy().into_owned();
        engine.verb(&[&["--hooks-dir", &hooks], verb].concat())
    };
    hooked(&["restart", "-t", "0", "box"]).ok()?;
    guest.has_all()?;
    hooked(&["stop", "-t", "0", "box"]).ok()?;
    world.until("its link is home", std::time::Duration::from_secs(10), || {
        Ok((has_link(world, "p0")? && port.look()? == before).then_some(()))
    })?;
    // What is added meanwhile is there at its start.
    guest.tools(&["add-device", "box", "/dev/fuse:/dev/n2"]).ok()?;
    hooked(&["start", "box"]).ok()?;
    guest.has_all()?;
    let look = (guest.exec)(": < /dev/n2 && ip -o link | grep -c ': e2'")?;
    ensure!(look == "1\n", "{look:?}");
    guest.tools(&["remove-device", "box", ":/dev/n2"]).ok()?;
    guest.tools(&["remove-nic", "box", "--name", "e2"]).ok()?;
    ensure!(port.look()? == before, "before: {before}\nafter: {}", port.look()?);
    guest.remove_all(&source)?;
    engine.verb(&["rm", "-f", "box"]).ok()?;
    engines::forget_conmon(world)
}

fn docker(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let port = Port::new(world)?;
    let before = port.look()?;
    let (rootfs, source) = (world.busybox()?, source(world)?);
    engines::with_docker(world, "isula", &rootfs, |engine| {
        let guest = guest(world, "docker", engine, &["image"])?;
        guest.add_all(&source)?;
        guest.has_all()?;
        let give = ["add-nic", "box", "--type", "eth", "--name", "p0:e2", "--ip", "10.6.0.2/24"];
        guest.tools(&give).ok()?;
        engine.verb(&["restart", "-t", "0", "box"]).ok()?;
        guest.reconcile()?;
        ensure!((guest.exec)("ip -o link | grep -c ': e2'")? == "1\n", "the link went along");
        // A container that has ended is found, too, and what it had of the host comes home.
        engine.verb(&["stop", "-t", "0", "box"]).ok()?;
        guest.tools(&["remove-nic", "box", "--name", "e2"]).ok()?;
        ensure!(port.look()? == before, "before: {before}\nafter: {}", port.look()?);
        engine.verb(&["start", "box"]).ok()?;
        guest.reconcile()?;
        guest.remove_all(&source)?;
        engine.verb(&["rm", "-f", "box"]).ok().map(drop)
    })
}

fn containerd(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let (rootfs, source) = (world.busybox()?, source(world)?);
    let rootfs = rootfs.to_string_lossy();
    engines::with_containerd(world, engines::NO_CRI, |ctr| {
        let words = ["-d", "--rootfs", &rootfs, "box-of-ctr", "sleep", "1000"];
        engines::ctr_run(world, ctr, &words)?.ok()?;
        let count = std::cell::Cell::new(0);
        let exec = move |script: &str| -> Result<String> {
            count.set(count.get() + 1);
            let id = format!("x{}", count.get());
            let words = ["task", "exec", "--exec-id", &id, "box-of-ctr", "sh", "-c", script];
            Ok(ctr(&words).output()?.stdout)
        };
        let words = ["box-of-ctr", "box-of-ctr", "box"].map(str::to_owned);
        let guest = Guest { world, engine: "containerd", words, exec: Box::new(exec) };
        guest.add_all(&source)?;
        guest.has_all()?;
        let end = || -> Result<()> {
            ctr(&["task", "kill", "-s", "SIGKILL", "box-of-ctr"]).ok()?;
            world.until("it is down", std::time::Duration::from_secs(10), || {
                Ok(ctr(&["task", "ls"]).ok()?.stdout.contains("STOPPED").then_some(()))
            })?;
            ctr(&["task", "rm", "box-of-ctr"]).output().map(drop)
        };
        end()?;
        ctr(&["task", "start", "-d", "box-of-ctr"]).ok()?;
        guest.reconcile()?;
        guest.remove_all(&source)?;
        end()?;
        ctr(&["containers", "rm", "box-of-ctr"]).ok().map(drop)
    })
}
