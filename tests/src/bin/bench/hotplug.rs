//! What it costs to add things to a running container, as whole command lines, and to add them again
//! at its start; lxc-device(1) of LXC beside it, where it is installed, and what the kernel takes by
//! itself.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use tests::{Call, Container, World};

use crate::clock::timed;
use crate::report::Results;

/// Who the rows are of.
const OURS: &str = "isulad-tools";
const LXC: &str = "lxc-device";
const FLOOR: &str = "floor";
/// So many in a row, and so many recorded ones at a start.
const IN_A_ROW: usize = 100;
const RECORDED: usize = 128;

/// Measures all of it, in a world of its own.
pub(crate) fn bench(rounds: u32, results: &mut Results) -> Result<()> {
    let rows = std::thread::spawn(move || -> Result<Rows> {
        let world = World::enter()?;
        let measured = measure(&world, rounds);
        if measured.is_err() {
            world.remove_containers();
        }
        let left = world.leave();
        match measured {
            Ok(rows) if left.is_empty() => Ok(rows),
            Ok(_) => Err(anyhow!("left behind: {}", left.join(", "))),
            Err(error) => Err(error),
        }
    });
    let rows = rows.join().map_err(|_| anyhow!("the thread of the world panicked"))??;
    for (peer, round, work, value) in rows {
        results.add(round, peer, vec![(work, value)]);
    }
    Ok(())
}

type Rows = Vec<(&'static str, u32, &'static str, f64)>;

fn measure(world: &World, rounds: u32) -> Result<Rows> {
    let mut rows = Rows::new();
    world.tool("ip").args(["link", "add", "br0", "type", "bridge"]).ok()?;
    world.tool("ip").args(["link", "set", "br0", "up"]).ok()?;
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let options = ["--name", "web", "--hook-spec", &spec];
    let container = world.run(&options, &world.busybox()?, &["sleep", "86400"])?;
    let source = world.new_directory("source")?;
    let lxc = Lxc::start(world)?;
    let bare = world.run(&["--name", "bare"], &world.busybox()?, &["sleep", "86400"])?;
    let pid = world.isula(["inspect", "--format", "{{json .State.Pid}}", "bare"]).ok()?;
    let floor = Floor { world, pid: pid.line().to_owned(), source: source.clone() };
    let path = path(&source, 0);
    let nic = ["web", "--type", "veth", "--bridge", "br0", "--name", "h1:e1"];
    for round in 0..rounds {
        let mut time = |work: &'static str, words: &[&str]| -> Result<()> {
            rows.push((OURS, round, work, timed(&world.tools(words))?));
            Ok(())
        };
        time("the process itself", &["--version"])?;
        time("add-device", &["add-device", "web", "/dev/fuse:/dev/n1"])?;
        time("remove-device", &["remove-device", "web", "/dev/fuse:/dev/n1"])?;
        time("add-nic veth", &[&["add-nic", "--ip", "10.0.0.2/24"], &nic[..]].concat())?;
        time("add-route", &["add-route", "web", r#"[{"dest":"10.9.0.0/16","dev":"e1"}]"#])?;
        time("remove-nic veth", &["remove-nic", "web", "--name", "h1:e1"])?;
        time("add-path", &["add-path", "web", &path])?;
        time("remove-path", &["remove-path", "web", &path])?;
        for (work, call) in floor.calls(round) {
            rows.push((FLOOR, round, work, timed(&call)?));
        }
        world.tool("ip").args(["link", "del", "f1"]).ok()?;
        if let Some(lxc) = &lxc {
            for (work, verb) in [("add-device", "add"), ("remove-device", "del")] {
                rows.push((LXC, round, work, timed(&lxc.device(verb))?));
            }
        }
    }
    rows.extend(in_a_row(world, &source)?);
    rows.extend(replay(world, &container, rounds)?);
    bare.remove()?;
    container.remove()?;
    world.tool("ip").args(["link", "del", "br0"]).ok()?;
    Ok(rows)
}

/// The same done by nobody in particular, on a container of its own: see `floor.rs`.
struct Floor<'w> {
    world: &'w World,
    pid: String,
    source: PathBuf,
}

impl Floor<'_> {
    fn calls(&self, round: u32) -> [(&'static str, Call); 4] {
        let call = |words: &[&str]| {
            let call = self.world.program(FLOOR).args([words[0], &self.pid]).args(&words[1..]);
            call.arg(self.world.path("record.json"))
        };
        let (node, target) = (format!("/dev/n{round}"), format!("/data{round}"));
        let source = self.source.to_string_lossy();
        [
            ("the process itself", self.world.program(FLOOR).arg("nothing")),
            ("add-device", call(&["add-device", "/dev/fuse", &node])),
            ("add-nic veth", call(&["add-nic", "br0", "f1", "e1", "10.0.0.3"])),
            ("add-path", call(&["add-path", &source, &target])),
        ]
    }
}

fn path(source: &Path, number: usize) -> String {
    format!("{}:/data/{number}", source.display())
}

/// Each a command of its own, and there are more every time.
fn in_a_row(world: &World, source: &Path) -> Result<Rows> {
    let mut sum = 0.0;
    for number in 0..RECORDED {
        let took = timed(&world.tools(["add-path", "web", &path(source, number)]))?;
        if number < IN_A_ROW {
            sum += took;
        }
    }
    Ok(vec![(OURS, 0, "100 times add-path", sum)])
}

/// A start with a full record, beside one without.
fn replay(world: &World, container: &Container<'_>, rounds: u32) -> Result<Rows> {
    let mut rows = Rows::new();
    let mut start = |work: &'static str| -> Result<()> {
        for round in 0..rounds.div_ceil(5) {
            container.isula("stop", ["-t", "0"]).ok()?;
            rows.push((OURS, round, work, timed(&container.isula("start", [""; 0]))?));
        }
        Ok(())
    };
    start("start with 128 paths recorded")?;
    let record = world.root().join("engines/isula").join(container.id()).join("device_hook.json");
    container.isula("stop", ["-t", "0"]).ok()?;
    std::fs::remove_file(record)?;
    container.isula("start", [""; 0]).ok()?;
    start("start with nothing recorded")?;
    Ok(rows)
}

/// A container of LXC's, with the same tree; it ends with this value.
struct Lxc<'w> {
    world: &'w World,
    place: String,
}

impl<'w> Lxc<'w> {
    fn start(world: &'w World) -> Result<Option<Self>> {
        if world.tool("lxc-device").arg("--version").output().is_err() {
            return Ok(None);
        }
        let place = world.new_directory("lxc")?;
        let dir = place.join("box");
        std::fs::create_dir(&dir)?;
        let config = format!(
            "lxc.rootfs.path = dir:{}\nlxc.uts.name = box\nlxc.net.0.type = empty\n\
             lxc.mount.auto = proc:mixed\nlxc.autodev = 1\nlxc.cgroup.dir = {}/lxc\n\
             lxc.cgroup.devices.deny = a\nlxc.init.cmd = /bin/busybox sleep 86400\n\
             lxc.apparmor.profile = unconfined\n",
            world.busybox()?.display(),
            world.name()
        );
        std::fs::write(dir.join("config"), config)?;
        let lxc = Self { world, place: place.to_string_lossy().into_owned() };
        lxc.call("lxc-start", &[]).ok()?;
        Ok(Some(lxc))
    }

    fn call(&self, program: &str, words: &[&str]) -> Call {
        self.world.tool(program).args(["-n", "box", "-P", &self.place]).args(words)
    }

    fn device(&self, verb: &str) -> Call {
        // With a name of its own it fails; it goes to the same path.
        self.call("lxc-device", &[verb, "/dev/fuse"])
    }
}

impl Drop for Lxc<'_> {
    fn drop(&mut self) {
        let _ = self.call("lxc-stop", &["-k"]).output();
        // It leaves its cgroups.
        for hierarchy in tests::leaks::hierarchies() {
            let dir = hierarchy.join(self.world.name()).join("lxc");
            for dir in [dir.join("lxc.pivot"), dir] {
                let _ = std::fs::remove_dir(dir);
            }
        }
    }
}
