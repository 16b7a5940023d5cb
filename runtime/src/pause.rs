//! Stopping a container in its tracks, and letting it go on: its cgroup is frozen and thawed.

use crate::error::During as _;
use crate::kill::cgroup_of;
use crate::state::{Saved, Status};
use crate::{Error, Result, Runtime};

impl Runtime {
    /// Freezes every process of a running container.
    ///
    /// # Errors
    /// The container does not run, or a process in it cannot be stopped; then all go on.
    pub fn pause(&self, id: &str) -> Result<()> {
        if let Some(driver) = self.driver(id)? {
            return driver.pause();
        }
        let saved = self.load(id)?;
        let _lock = self.lock(id)?;
        self.require(&saved, Status::Running, "only a running container can be paused")?;
        let Some(cgroup) = cgroup_of(&saved)? else { return Err(stopped(&saved)) };
        cgroup.freeze().step(|| format!("pause container {id}"))
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// The container is not paused.
    pub fn resume(&self, id: &str) -> Result<()> {
        if let Some(driver) = self.driver(id)? {
            return driver.resume();
        }
        let saved = self.load(id)?;
        let _lock = self.lock(id)?;
        self.require(&saved, Status::Paused, "only a paused container can be resumed")?;
        let Some(cgroup) = cgroup_of(&saved)? else { return Err(stopped(&saved)) };
        cgroup.thaw().step(|| format!("resume container {id}"))
    }

    fn require(&self, saved: &Saved, wanted: Status, hint: &'static str) -> Result<()> {
        match self.status(saved)? {
            status if status == wanted => Ok(()),
            Status::Stopped => Err(stopped(saved)),
            status => Err(Error::WrongStatus { id: saved.id.clone(), status, hint }),
        }
    }
}

fn stopped(saved: &Saved) -> Error {
    Error::NotRunning { id: saved.id.clone(), status: Status::Stopped }
}
