//! The end of a container: what still runs, its cgroup, its poststop hooks, its state.

use std::io::ErrorKind;
use std::path::Path;

use linux::error::Context as _;
use linux::signal::Signal;
use tracing::warn;

use crate::error::During as _;
use crate::hooks::{self, Place};
use crate::kill::{PATIENCE, cgroup_of};
use crate::state::{FILE, Saved, Status};
use crate::{Error, Result, Runtime};

/// So many may have found a container in the moment that it goes.
const LATE_ONES: u32 = 100;

impl Runtime {
    /// Removes a stopped or just created container; with `force` one that runs, too, and then a
    /// container that is not there is no error.
    ///
    /// # Errors
    /// The container runs, or something of it cannot be removed; then its state stays, and
    /// `delete` can be tried again.
    pub fn delete(&self, id: &str, force: bool) -> Result<()> {
        self.delete_telling(id, force, &[])
    }

    /// [`Self::delete`] by somebody who knows why the container ended: `told` (`KEY=VALUE`) is put
    /// into the environment of the poststop hooks.
    ///
    /// # Errors
    /// Those of [`Self::delete`].
    pub fn delete_telling(&self, id: &str, force: bool, told: &[String]) -> Result<()> {
        if let Some(driver) = self.driver(id)? {
            return driver.delete(force);
        }
        let directory = self.directory(id)?;
        let saved = match self.load(id) {
            Err(Error::NotFound { .. }) if force || self.is_abandoned(id)? => {
                return remove(&directory);
            }
            saved => saved?,
        };
        // Another delete may have been faster.
        let lock = match self.lock(id).and_then(|lock| self.load(id).map(|_| lock)) {
            Err(Error::NotFound { .. }) if force => return Ok(()),
            lock => lock?,
        };
        self.stop(&saved, force)?;
        let cgroup = cgroup_of(&saved)?;
        if let Some(cgroup) = cgroup
            && !cgroup.remove_if_empty().step(|| format!("delete container {id}"))?
        {
            // Without a pid namespace of its own, processes outlive init.
            let stuck = cgroup.kill_all(PATIENCE)?;
            if !stuck.is_empty() {
                warn!(container = %id, ?stuck, "processes of the container do not end");
            }
            cgroup.remove(PATIENCE).step(|| format!("delete container {id}"))?;
        }
        if let Some(scope) = &saved.scope {
            scope.end().step(|| format!("delete container {id}"))?;
        }
        run_poststop(&saved, told);
        remove(&directory)?;
        drop(lock);
        Ok(())
    }

    fn stop(&self, saved: &Saved, force: bool) -> Result<()> {
        let Some(init) = self.init(saved)? else { return Ok(()) };
        let status = self.status(saved)?;
        if !force && !matches!(status, Status::Created | Status::Stopped) {
            return Err(Error::WrongStatus {
                id: saved.id.clone(),
                status,
                hint: "stop it first, or force its removal",
            });
        }
        if let Some(cgroup) = cgroup_of(saved)?
            && cgroup.is_frozen()?
        {
            init.signal(Signal::KILL)?;
            cgroup.thaw()?;
        }
        match init.signal(Signal::KILL) {
            Err(error) if !error.is(linux::Errno::SRCH) => return Err(error.into()),
            _ => {}
        }
        if init.exits_within(Some(PATIENCE))? {
            return Ok(());
        }
        Err(Error::WrongStatus {
            id: saved.id.clone(),
            status,
            hint: "its init does not end although it was killed",
        })
    }
}

/// Their failure is told and changes nothing (runtime.md, "Lifecycle").
pub(crate) fn run_poststop(saved: &Saved, told: &[String]) {
    let state = saved.hook_state(Status::Stopped, 0);
    let directory = saved.bundle.is_dir().then(|| saved.bundle.clone());
    let place = Place { directory, inherit_environment: true, told, confine: &|| Ok(()) };
    for hook in &saved.poststop {
        if let Err(error) = hooks::run([("poststop", hook)], &state, &place) {
            warn!(container = %saved.id, error = %error.flatten(), "poststop hook failed");
        }
    }
}

/// Removes the state directory, which holds nothing but files of ours.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    // First what it is found by: whoever comes now, and finds no lock, finds no container either.
    let state = directory.join(FILE);
    match std::fs::remove_file(&state) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed.during(|| format!("remove {}", state.display()))?,
    }
    // Whoever has found it just before makes a lock here for a moment.
    let mut late_ones = 0..LATE_ONES;
    loop {
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error)
                if error.kind() == ErrorKind::DirectoryNotEmpty && late_ones.next().is_some() => {}
            removed => return Ok(removed.during(|| format!("remove {}", directory.display()))?),
        }
    }
}
