//! Those who are compared: our engine, OCI runtimes, and what the kernel takes by itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::{Call, World, leaks, processes, wait};

use crate::bundle;

/// Where the runtimes keep their state, in the world.
pub(crate) const OCI_STATE: &str = "oci";

/// One way to run containers. Every call it returns is one command line, start to end.
pub(crate) trait Peer: Send {
    /// Looks whether it is there, and makes its world ready.
    fn prepare(&mut self, world: &World) -> Result<()>;
    /// Runs `args` in a container of that id and removes it; the call ends when all is gone.
    fn run(&self, world: &World, id: &str, rootfs: &Path, args: &[&str]) -> Result<Call>;
    /// Starts systemd in a container; the call ends when pid 1 runs.
    fn boot(&self, world: &World, id: &str, rootfs: &Path) -> Result<Call>;
    fn exec(&self, world: &World, id: &str, args: &[&str]) -> Call;
    /// Pid 1 as this side sees it.
    fn pid(&self, world: &World, id: &str) -> Result<u32>;
    /// Asks systemd to shut down; `true`: the call itself waits until all is gone.
    fn stop(&self, world: &World, id: &str) -> (Call, bool);
    fn remove(&self, world: &World, id: &str) -> Call;
    /// KiB of a supervisor (PSS, private) and its threads, if it has one: the mean over a quiet
    /// container in each of `rootfs`.
    fn supervisors(&self, _: &World, _rootfs: &[PathBuf]) -> Result<Option<[f64; 3]>> {
        Ok(None)
    }
    /// A call that lists all containers, of whom there are `count` then; none if it has no such.
    fn list(&self, _: &World, _rootfs: &Path, _count: usize) -> Result<Option<Call>> {
        Ok(None)
    }
}

/// An OCI runtime command line, on bundles with or without a system call filter.
pub(crate) struct Oci {
    program: &'static str,
    filtered: bool,
    seccomp: Option<serde_json::Value>,
}

impl Oci {
    pub(crate) fn new(program: &'static str) -> Self {
        Self { program, filtered: false, seccomp: None }
    }

    /// The same with the profile that the engine gives to its containers.
    pub(crate) fn filtered(program: &'static str) -> Self {
        Self { filtered: true, ..Self::new(program) }
    }

    fn tool(&self, world: &World) -> Call {
        // Ours is the one of this build.
        match self.program {
            "isula-runtime" => world.program(self.program),
            other => world.tool(other),
        }
    }

    fn call(&self, world: &World, verb: &str) -> Call {
        self.tool(world).arg("--root").arg(world.path(OCI_STATE)).arg(verb)
    }
}

impl Peer for Oci {
    fn prepare(&mut self, world: &World) -> Result<()> {
        self.tool(world).arg("--version").ok()?;
        if self.filtered {
            self.seccomp = Some(default_profile(world)?);
        }
        if self.program != "crun" {
            return Ok(());
        }
        // crun 1.8 refuses hybrid hosts whose cgroup2 has controllers; in this namespace alone it
        // finds none.
        let empty = world.path("no-controllers");
        std::fs::write(&empty, "")?;
        let unified = leaks::hierarchies();
        let is_hybrid = !tests::need::mounted("cgroup").is_empty();
        for file in unified.iter().map(|dir| dir.join("cgroup.controllers")) {
            if is_hybrid && file.exists() {
                world.bind(&empty, &file)?;
            }
        }
        Ok(())
    }

    fn run(&self, world: &World, id: &str, rootfs: &Path, args: &[&str]) -> Result<Call> {
        let bundle = bundle::write(world, id, rootfs, args, self.seccomp.as_ref())?;
        Ok(self.call(world, "run").arg("--bundle").arg(bundle).arg(id))
    }

    fn boot(&self, world: &World, id: &str, rootfs: &Path) -> Result<Call> {
        let bundle = bundle::write(world, id, rootfs, &["/sbin/init"], self.seccomp.as_ref())?;
        Ok(self.call(world, "run").arg("--detach").arg("--bundle").arg(bundle).arg(id))
    }

    fn exec(&self, world: &World, id: &str, args: &[&str]) -> Call {
        self.call(world, "exec").arg(id).args(args)
    }

    fn pid(&self, world: &World, id: &str) -> Result<u32> {
        let output = self.call(world, "state").arg(id).ok()?;
        let state: serde_json::Value = serde_json::from_str(&output.stdout)?;
        let pid = state["pid"].as_u64().with_context(|| format!("a pid in\n{output}"))?;
        Ok(u32::try_from(pid)?)
    }

    fn stop(&self, world: &World, id: &str) -> (Call, bool) {
        // 37 is SIGRTMIN+3: systemd halts.
        (self.call(world, "kill").arg(id).arg("37"), false)
    }

    fn remove(&self, world: &World, id: &str) -> Call {
        self.call(world, "delete").arg("--force").arg(id)
    }
}

/// The filter of a container that the engine makes.
fn default_profile(world: &World) -> Result<serde_json::Value> {
    let rootfs = world.busybox()?;
    let container = world.create(&["--system-container"], &rootfs, &["true"])?;
    let path = world.root().join("engines/isula").join(container.id()).join("config.json");
    let spec: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
    container.remove()?;
    let profile = spec.pointer("/linux/seccomp").context("a filter in the engine's document")?;
    Ok(profile.clone())
}

/// The engine: supervised, with logs.
pub(crate) struct Isula;

impl Peer for Isula {
    fn prepare(&mut self, world: &World) -> Result<()> {
        world.isula(["version"]).ok().map(drop)
    }

    fn run(&self, world: &World, id: &str, rootfs: &Path, args: &[&str]) -> Result<Call> {
        Ok(world.isula_with("run", &["--rm", "--name", id], rootfs, args))
    }

    fn boot(&self, world: &World, id: &str, rootfs: &Path) -> Result<Call> {
        let options = ["-d", "--system-container", "--name", id];
        Ok(world.isula_with("run", &options, rootfs, &["/sbin/init"]))
    }

    fn exec(&self, world: &World, id: &str, args: &[&str]) -> Call {
        world.isula(["exec", id]).args(args)
    }

    fn pid(&self, world: &World, id: &str) -> Result<u32> {
        let output = world.isula(["inspect", "--format", "{{json .State.Pid}}", id]).ok()?;
        output.line().parse().with_context(|| format!("a pid in\n{output}"))
    }

    fn stop(&self, world: &World, id: &str) -> (Call, bool) {
        (world.isula(["stop", id]), true)
    }

    fn remove(&self, world: &World, id: &str) -> Call {
        world.isula(["rm", "-f", id])
    }

    fn supervisors(&self, world: &World, rootfs: &[PathBuf]) -> Result<Option<[f64; 3]>> {
        let ids: Vec<String> = (0..rootfs.len()).map(|number| format!("held{number}")).collect();
        for (id, rootfs) in ids.iter().zip(rootfs) {
            world.isula_with("run", &["-d", "--name", id], rootfs, &["sleep", "1000"]).ok()?;
        }
        // What it takes while the container lives on: its start is over after a quiet second.
        let quiet = Instant::now() + Duration::from_secs(2);
        wait::until("the start is over", Duration::from_secs(5), || {
            Ok((Instant::now() >= quiet).then_some(()))
        })?;
        let found = processes::of(world.name());
        let is_shim = |process: &&processes::Process| process.argv[0].ends_with("isula-shim");
        let shims: Vec<_> = found.iter().filter(is_shim).collect();
        ensure!(shims.len() == ids.len(), "{} shims, not {}", ids.len(), shims.len());
        let mut sum = [0.0; 3];
        for shim in &shims {
            for (sum, one) in sum.iter_mut().zip(memory(shim.pid)?) {
                *sum += one / f64::from(u32::try_from(shims.len())?);
            }
        }
        for id in &ids {
            world.isula(["rm", "-f", id]).ok()?;
        }
        Ok(Some(sum))
    }

    fn list(&self, world: &World, rootfs: &Path, count: usize) -> Result<Option<Call>> {
        let there = world.isula(["ps", "-a", "-q"]).ok()?.stdout.lines().count();
        for number in there..count {
            world.isula_with("create", &["--name", &listed(number)], rootfs, &["true"]).ok()?;
        }
        for number in count..there {
            world.isula(["rm", &listed(number)]).ok()?;
        }
        Ok(Some(world.isula(["ps", "-a"])))
    }
}

fn listed(number: usize) -> String {
    format!("listed{number}")
}

/// The kernel's part of the same work: see `floor.rs`.
pub(crate) struct Floor;

impl Floor {
    fn cgroup(world: &World, id: &str) -> String {
        format!("{}/{id}", world.name())
    }

    fn pid_file(world: &World, id: &str) -> PathBuf {
        world.path(&format!("{id}.pid"))
    }
}

impl Peer for Floor {
    fn prepare(&mut self, _: &World) -> Result<()> {
        Ok(())
    }

    fn run(&self, world: &World, id: &str, rootfs: &Path, args: &[&str]) -> Result<Call> {
        let call = world.program("floor").arg("run").arg(Self::cgroup(world, id));
        Ok(call.arg(rootfs).args(args))
    }

    fn boot(&self, world: &World, id: &str, rootfs: &Path) -> Result<Call> {
        let call = world.program("floor").arg("start").arg(Self::pid_file(world, id));
        Ok(call.arg(Self::cgroup(world, id)).arg(rootfs).arg("/sbin/init"))
    }

    fn exec(&self, world: &World, id: &str, args: &[&str]) -> Call {
        let pid = self.pid(world, id).unwrap_or_default();
        world.program("floor").arg("exec").arg(pid.to_string()).args(args)
    }

    fn pid(&self, world: &World, id: &str) -> Result<u32> {
        Ok(std::fs::read_to_string(Self::pid_file(world, id))?.parse()?)
    }

    fn stop(&self, world: &World, id: &str) -> (Call, bool) {
        let pid = self.pid(world, id).unwrap_or_default();
        (world.tool("kill").arg("-37").arg(pid.to_string()), false)
    }

    fn remove(&self, world: &World, id: &str) -> Call {
        world.program("floor").arg("remove").arg(Self::cgroup(world, id))
    }
}

/// KiB (PSS, private) and threads of a process.
fn memory(pid: u32) -> Result<[f64; 3]> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))?.count();
    let private = field("Private_Clean:") + field("Private_Dirty:");
    Ok([field("Pss:"), private, f64::from(u32::try_from(threads)?)])
}
