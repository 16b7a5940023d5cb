//! Other limits for a container that exists, and who is in it.

use linux::process::Pid;
use oci_spec::runtime::LinuxResources;

use crate::error::During as _;
use crate::kill::cgroup_of;
use crate::state::Status;
use crate::{Error, Result, Runtime, cgroup};

impl Runtime {
    /// Sets the limits that `resources` has; what it leaves out stays as it is. Either all of it
    /// comes true or nothing. Device rules replace all that are in force, those that were added to
    /// the running container too.
    ///
    /// # Errors
    /// The container does not exist or has ended, or a limit cannot be honoured.
    pub fn update(&self, id: &str, resources: &LinuxResources) -> Result<()> {
        if let Some(driver) = self.driver(id)? {
            return driver.update(resources);
        }
        let resources = cgroup::resources(resources)?;
        let saved = self.load(id)?;
        let _lock = self.lock(id)?;
        self.living(&saved)?;
        let gone = || Error::NotRunning { id: id.to_owned(), status: Status::Stopped };
        let cgroup = cgroup_of(&saved)?.ok_or_else(gone)?;
        cgroup.update(&resources).step(|| format!("update container {id}"))?;
        match &saved.scope {
            Some(scope) => scope
                .tell(&cgroup, resources.devices.as_ref())
                .step(|| format!("update container {id}")),
            None => Ok(()),
        }
    }

    /// Host pids of every process of the container, init among them; none once it has ended.
    ///
    /// # Errors
    /// The container does not exist.
    pub fn pids(&self, id: &str) -> Result<Vec<Pid>> {
        if let Some(driver) = self.driver(id)? {
            return driver.pids();
        }
        match cgroup_of(&self.load(id)?)? {
            Some(cgroup) => Ok(cgroup.procs()?),
            None => Ok(Vec::new()),
        }
    }
}
