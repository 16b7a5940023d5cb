//! What is done in the place of a shim that has gone: by kill -9, or with the power.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use container::state::Exit;
use container::{Container, Seized, State, Status};
use linux::cgroup::{Cgroup, CgroupPath, Layout};
use linux::process::{PidFd, Signal};

use super::{Engine, init};
use crate::prepare::give_back;
use crate::spec;

/// A shim that has answered its last request needs this long to go, at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// After SIGKILL: what takes longer hangs in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(90);

/// Takes the container from nobody. A living shim is given time to end.
pub(super) fn seize(container: &Container) -> Result<Seized> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seized) = container.seize()? {
            return Ok(seized);
        }
        if Instant::now() >= deadline {
            bail!("container {}: its shim does not let go; try again", container.id.short());
        }
        // flock(2) has no descriptor that says when it is free.
        let pause = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
}

/// A process of the container that is still the one that was started.
pub(super) fn living_init(state: &State) -> Result<Option<PidFd>> {
    match init(state) {
        Some((pid, start_time)) => Ok(PidFd::open_checked(pid, start_time)?),
        None => Ok(None),
    }
}

/// Ends what runs, cleans up, and writes down what can be known.
pub(super) fn end(
    engine: &Engine,
    container: &Container,
    signal: Signal,
    patience: Option<Duration>,
) -> Result<i32> {
    let seized = seize(container)?;
    end_seized(engine, container, &seized, signal, patience)
}

/// The same for the holder of the lock.
pub(super) fn end_seized(
    engine: &Engine,
    container: &Container,
    _seized: &Seized,
    signal: Signal,
    patience: Option<Duration>,
) -> Result<i32> {
    let state = container.saved_state()?;
    if let Some(init) = living_init(&state)? {
        // A frozen process cannot hear.
        if state.status == Status::Paused {
            let path = CgroupPath::parse(&spec::cgroups_path(&container.config()?))?;
            Cgroup::open(&Layout::detect()?, &path)?.thaw()?;
        }
        init.signal(signal)?;
        if !init.exits_within(patience)? {
            init.signal(Signal::KILL)?;
            if !init.exits_within(Some(KILL_PATIENCE))? {
                bail!("init does not end after SIGKILL; it hangs in the kernel");
            }
        }
    }
    settle(engine, container)
}

/// Cleans up after a container that nobody supervised, and says so in its state. For the holder of
/// the lock.
pub(super) fn settle(engine: &Engine, container: &Container) -> Result<i32> {
    let config = container.config()?;
    let runtime = engine.runtime(&config);
    runtime.delete(container.id.as_str(), true).context("clean up")?;
    give_back(engine.store.layout(), container, &config)?;
    let state = container.saved_state()?;
    if !state.status.is_live() {
        return Ok(state.exit_code);
    }
    let now = super::now()?;
    let state = State {
        status: Status::Stopped,
        pid: None,
        start_time: None,
        finished_at: now,
        exit_code: 137,
        exit: Some(Exit::Unknown),
        stopped_by_user: true,
        ready: false,
        network: None,
        ..state
    };
    container.save_state(&state)?;
    Ok(state.exit_code)
}
