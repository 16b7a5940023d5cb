//! What is done and timed. A time is that of whole processes: from starting a command line to its
//! end, as a person or a script meets it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::{Call, World, wait};

use crate::clock::{milliseconds, quiet, timed};
use crate::peers::Peer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Only sees that the peer is there.
    Nothing,
    /// Exit codes and output, to be equal among peers.
    Answers,
    /// One container that runs `true`.
    Trivial,
    /// Fifty of them at once.
    Burst,
    /// What a supervisor takes while five containers sleep.
    Memory,
    /// All containers listed, when there are few and when there are many.
    Listing,
    /// Debian's systemd to `running`, an exec, a shutdown.
    Boot,
}

#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) answers: Vec<String>,
    pub(crate) figures: Vec<(&'static str, f64)>,
}

const BURST: usize = 50;
const HELD: usize = 5;
const LISTS: usize = 15;

/// What is made once for all rounds.
pub(crate) struct Stage {
    small: PathBuf,
    many: Vec<PathBuf>,
    debian: PathBuf,
    serial: AtomicU32,
}

impl Stage {
    pub(crate) fn set(world: &World, _: &dyn Peer) -> Result<Self> {
        Ok(Self {
            small: world.busybox()?,
            many: (0..BURST).map(|_| world.busybox()).collect::<Result<_>>()?,
            debian: world.debian()?,
            serial: AtomicU32::new(0),
        })
    }

    fn id(&self) -> String {
        format!("bench{}", self.serial.fetch_add(1, Ordering::Relaxed))
    }
}

impl Work {
    pub(crate) fn run(self, world: &World, peer: &dyn Peer, stage: &Stage) -> Result<Done> {
        match self {
            Work::Nothing => Ok(Done::default()),
            Work::Answers => answers(world, peer, stage),
            Work::Trivial => trivial(world, peer, stage),
            Work::Burst => burst(world, peer, stage),
            Work::Memory => memory(world, peer, stage),
            Work::Listing => listing(world, peer, stage),
            Work::Boot => boot(world, peer, stage),
        }
    }
}

fn answers(world: &World, peer: &dyn Peer, stage: &Stage) -> Result<Done> {
    let mut done = Done::default();
    let script = "hostname >&2; echo $(id -u) $(pwd) $$ $(ls /dev | grep -c null); exit 3";
    let output = peer.run(world, &stage.id(), &stage.small, &["sh", "-c", script])?.output()?;
    done.answers.push(format!("{} {:?}", output.code(), output.stdout));
    Ok(done)
}

fn trivial(world: &World, peer: &dyn Peer, stage: &Stage) -> Result<Done> {
    let call = peer.run(world, &stage.id(), &stage.small, &["true"])?;
    Ok(Done { figures: vec![("run true", timed(&call)?)], ..Done::default() })
}

fn burst(world: &World, peer: &dyn Peer, stage: &Stage) -> Result<Done> {
    let calls = stage.many.iter().map(|rootfs| peer.run(world, &stage.id(), rootfs, &["true"]));
    let calls: Vec<Call> = calls.collect::<Result<_>>()?;
    let started = Instant::now();
    let children: Vec<_> = calls.iter().map(|call| quiet(call).spawn()).collect();
    for child in children {
        ensure!(child?.wait()?.success(), "one of {BURST} failed");
    }
    let each = milliseconds(started.elapsed()) / f64::from(u32::try_from(BURST)?);
    Ok(Done { figures: vec![("run true, each of 50 at once", each)], ..Done::default() })
}

fn memory(world: &World, peer: &dyn Peer, stage: &Stage) -> Result<Done> {
    let mut done = Done::default();
    if let Some([pss, private, threads]) = peer.supervisors(world, &stage.many[..HELD])? {
        done.figures.push(("shim PSS, KiB, each of 5", pss));
        done.figures.push(("shim private, KiB, each of 5", private));
        done.figures.push(("shim threads", threads));
    }
    Ok(done)
}

fn listing(world: &World, peer: &dyn Peer, stage: &Stage) -> Result<Done> {
    let mut done = Done::default();
    for (name, count) in [("ps -a, 100 containers", 100), ("ps -a, 1000 containers", 1000)] {
        let Some(call) = peer.list(world, &stage.small, count)? else { break };
        for _ in 0..LISTS {
            done.figures.push((name, timed(&call)?));
        }
    }
    peer.list(world, &stage.small, 0)?;
    Ok(done)
}

fn boot(world: &World, peer: &dyn Peer, stage: &Stage) -> Result<Done> {
    let mut figures = Vec::new();
    let id = stage.id();
    let call = peer.boot(world, &id, &stage.debian)?;
    let started = Instant::now();
    timed(&call)?;
    figures.push(("boot, command returns", milliseconds(started.elapsed())));
    let pid = peer.pid(world, &id)?;
    // The same question by the same program, whoever started the container.
    let target = pid.to_string();
    let state = ["nsenter", "--target", &target, "--mount", "--pid", "--uts", "--ipc", "--net"];
    let ask = world.tool(state[0]).args(&state[1..]);
    let ask = ask.args(["systemctl", "is-system-running", "--wait"]);
    wait::until("systemd is running", Duration::from_secs(60), || {
        let output = ask.command().stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(text == "running", "it is {text:?}");
        Ok(Some(()))
    })?;
    figures.push(("boot, systemd is running", milliseconds(started.elapsed())));

    for _ in 0..3 {
        figures.push(("exec true", timed(&peer.exec(world, &id, &["true"]))?));
    }
    let (stop, waits) = peer.stop(world, &id);
    let started = Instant::now();
    timed(&stop)?;
    if !waits {
        wait::until_true("init is gone", Duration::from_secs(30), || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.map_or(true, |text| text.contains(") Z "))
        })?;
        timed(&peer.remove(world, &id))?;
    }
    figures.push(("stop, all gone", milliseconds(started.elapsed())));
    if waits {
        peer.remove(world, &id).ok()?;
    }
    Ok(Done { figures, ..Done::default() })
}
