//! Signals for a container: to its init, or to every process of its cgroup.

use std::time::Duration;

use linux::Errno;
use linux::cgroup::{Cgroup, CgroupPath, Layout};
use linux::process::PidFd;
use linux::signal::Signal;

use crate::error::During as _;
use crate::state::{Saved, Status};
use crate::stop_signal::Init;
use crate::{Error, Result, Runtime, system};

/// How long a killed process may take: one in uninterruptible sleep may never go.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

impl Runtime {
    /// Sends `signal` to init, or with `all` to every process of the container, also when init is
    /// gone already.
    ///
    /// # Errors
    /// The container does not exist, or nothing of it runs.
    pub fn kill(&self, id: &str, signal: Signal, all: bool) -> Result<()> {
        if let Some(driver) = self.driver(id)? {
            return driver.kill(signal, all);
        }
        let saved = self.load(id)?;
        if all {
            return self.kill_everything(&saved, signal);
        }
        let init = self.living(&saved)?;
        match init.signal(signal) {
            Err(error) if error.is(Errno::SRCH) => Err(stopped(&saved)),
            sent => sent.step(|| format!("kill container {id}")),
        }?;
        if signal == Signal::KILL {
            thaw(&saved)?;
        }
        Ok(())
    }

    /// The signal to send when `signal` is asked for. Engines that know no system containers stop
    /// every container with SIGTERM, which an init takes for something else or not at all: one of
    /// ours that such an engine runs gets the signal of its annotation, else the one that fits.
    ///
    /// # Errors
    /// The container does not exist.
    pub fn stop_signal(&self, id: &str, signal: Signal) -> Result<Signal> {
        let saved = self.load(id)?;
        if signal != Signal::TERM || !saved.adapted {
            return Ok(signal);
        }
        if let Some(named) = saved.annotations.get(system::STOP_SIGNAL) {
            return Ok(named.parse()?);
        }
        let init = self.init(&saved)?.and_then(|init| init.pid().ok().flatten());
        Ok(init.map_or(signal, |pid| Init::of(pid).stop_signal()))
    }

    fn kill_everything(&self, saved: &Saved, signal: Signal) -> Result<()> {
        let Some(cgroup) = cgroup_of(saved)? else { return Err(stopped(saved)) };
        if signal == Signal::KILL {
            cgroup.kill_all(PATIENCE).step(|| format!("kill container {}", saved.id))?;
            return Ok(());
        }
        let pids = cgroup.procs()?;
        if pids.is_empty() {
            return Err(stopped(saved));
        }
        for pid in pids {
            // It was in the cgroup a moment ago, and still is, or its pid may be another's.
            let Ok(process) = PidFd::open(pid) else { continue };
            if !cgroup.procs()?.contains(&pid) {
                continue;
            }
            match process.signal(signal) {
                Err(error) if !error.is(Errno::SRCH) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The v1 freezer holds even a killed process.
fn thaw(saved: &Saved) -> Result<()> {
    if let Some(cgroup) = cgroup_of(saved)?
        && cgroup.is_frozen()?
    {
        cgroup.thaw()?;
    }
    Ok(())
}

/// The container's cgroup, if there is one left.
pub(crate) fn cgroup_of(saved: &Saved) -> Result<Option<Cgroup>> {
    match Cgroup::open(&Layout::detect()?, &CgroupPath::parse(&saved.cgroup)?) {
        Err(error) if error.is(Errno::NOENT) => Ok(None),
        cgroup => Ok(Some(cgroup?)),
    }
}

fn stopped(saved: &Saved) -> Error {
    Error::NotRunning { id: saved.id.clone(), status: Status::Stopped }
}
