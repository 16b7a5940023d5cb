//! The state file of a container, and the OCI state made of it.
//!
//! `<state root>/<id>/state.json` is written by `create` alone and removed by `delete`. It holds
//! what cannot be asked of the kernel later; whether the container runs is always asked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::Errno;
use linux::cgroup::{Cgroup, CgroupPath, Layout};
use linux::error::Context as _;
use linux::lock::Lock;
use linux::process::{Pid, PidFd};
use oci_spec::runtime::Hook;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::hooks::HookState;
use crate::kill::cgroup_of;
use crate::systemd::Scope;
use crate::{Error, Result, Runtime, start};

/// The state file and the lock, in the container's directory.
pub(crate) const FILE: &str = "state.json";
const LOCK: &str = "lock";

/// A verb waits no longer for another one: hooks may take their time, but not for ever.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// The version of the file format.
pub(crate) const VERSION: u32 = 1;

/// The file: what `create` knew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// Version of this format.
    pub version: u32,
    /// The version the bundle was written for.
    pub oci_version: String,
    /// Name of the container.
    pub id: String,
    /// Host pid of init; absent while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Start time of init in clock ticks since boot: tells it from a later process of that pid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<u64>,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the rootfs on the host.
    pub rootfs: PathBuf,
    /// Path of the cgroup in every hierarchy, relative to its mount.
    pub cgroup: String,
    /// The unit of systemd's that the cgroup is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<Scope>,
    /// When `create` was called, RFC 3339.
    pub created: String,
    /// Annotations of the bundle.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The spec was made a system container's (`system`); the bundle's own file is as it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adapted: bool,
    /// Hooks for after the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// Hooks for after the end: the bundle may be gone by then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// The answer of the `state` verb, as the runtime specification defines it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the specification.
    pub oci_version: String,
    /// Name of the container.
    pub id: String,
    /// Where it is in its life.
    pub status: Status,
    /// Host pid of init while there is one, else 0.
    #[serde(default)]
    pub pid: i32,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the rootfs on the host.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339.
    pub created: String,
    /// Annotations of the bundle.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made, waiting for `start`.
    Created,
    /// Running the user's program.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// Init is gone.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

impl Saved {
    /// What a hook of this container reads.
    pub(crate) fn hook_state(&self, status: Status, pid: i32) -> HookState<'_> {
        HookState {
            oci_version: &self.oci_version,
            id: &self.id,
            status,
            pid,
            bundle: &self.bundle,
            annotations: &self.annotations,
            root: &self.rootfs,
        }
    }

    /// The answer of the `state` verb at this status.
    pub(crate) fn state(&self, status: Status) -> State {
        let pid = match status {
            Status::Stopped => 0,
            _ => self.pid.unwrap_or_default(),
        };
        State {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            status,
            pid,
            bundle: self.bundle.clone(),
            rootfs: self.rootfs.clone(),
            created: self.created.clone(),
            annotations: self.annotations.clone(),
        }
    }

    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let text = serde_json::to_vec(self).map_err(|error| Error::File {
            act: format!("write {}", path.display()),
            reason: error.to_string(),
        })?;
        linux::file::write_atomic(path, text, 0o600)?;
        Ok(())
    }
}

impl Runtime {
    /// Where a container is in its life, and what it was made of.
    ///
    /// # Errors
    /// It does not exist, or its state file cannot be read.
    pub fn state(&self, id: &str) -> Result<State> {
        if let Some(driver) = self.driver(id)? {
            return driver.state();
        }
        let saved = self.load(id)?;
        let status = self.status(&saved)?;
        Ok(saved.state(status))
    }

    /// Every container below the state root, by id. One whose state cannot be read is left out
    /// with a warning: it must not hide the others.
    ///
    /// # Errors
    /// The state root cannot be listed.
    pub fn list(&self) -> Result<Vec<State>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.during(|| format!("list {}", self.root.display()))?,
        };
        let mut states = Vec::new();
        for entry in entries {
            let entry = entry.during(|| format!("list {}", self.root.display()))?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            match self.state(&id) {
                Ok(state) => states.push(state),
                // Removed since we listed it, or no container.
                Err(Error::NotFound { .. } | Error::Usage(_)) => {}
                Err(error) => {
                    warn!(container = %id, error = %error.flatten(), "container not read");
                }
            }
        }
        states.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(states)
    }

    /// The state directory of a container, whether or not it exists.
    pub(crate) fn directory(&self, id: &str) -> Result<PathBuf> {
        check_id(id)?;
        Ok(self.root.join(id))
    }

    /// The state file of a container.
    pub(crate) fn load(&self, id: &str) -> Result<Saved> {
        let path = self.directory(id)?.join(FILE);
        let text = match linux::file::read(&path) {
            Err(error) if error.is(Errno::NOENT) => {
                return Err(Error::NotFound { id: id.to_owned() });
            }
            text => text?,
        };
        let act = || format!("read {}", path.display());
        let saved: Saved = serde_json::from_slice(&text)
            .map_err(|error| Error::File { act: act(), reason: error.to_string() })?;
        if saved.version != VERSION {
            let reason =
                format!("it is of version {}, this runtime knows {VERSION}", saved.version);
            return Err(Error::File { act: act(), reason });
        }
        Ok(saved)
    }

    /// Init, if it is still there and has not ended.
    pub(crate) fn init(&self, saved: &Saved) -> Result<Option<PidFd>> {
        let (Some(pid), Some(start_time)) = (saved.pid.and_then(Pid::new), saved.start_time) else {
            return Ok(None);
        };
        Ok(PidFd::open_alive(pid, start_time)?)
    }

    /// Init, which must not have ended.
    pub(crate) fn living(&self, saved: &Saved) -> Result<PidFd> {
        self.init(saved)?.ok_or_else(|| Error::NotRunning {
            id: saved.id.clone(),
            status: if saved.pid.is_some() { Status::Stopped } else { Status::Creating },
        })
    }

    /// Init of a container that runs, held fast.
    ///
    /// # Errors
    /// The container does not exist, or its init is gone.
    pub(crate) fn hold_init(&self, id: &str) -> Result<PidFd> {
        self.living(&self.load(id)?)
    }

    /// Its cgroup, if there is one left.
    ///
    /// # Errors
    /// The container does not exist.
    pub(crate) fn cgroup(&self, id: &str) -> Result<Option<Cgroup>> {
        cgroup_of(&self.load(id)?)
    }

    /// Where the container is in its life, asked of the kernel.
    pub(crate) fn status(&self, saved: &Saved) -> Result<Status> {
        if saved.pid.is_none() {
            let half_made = self.is_being_created(saved)?;
            return Ok(if half_made { Status::Creating } else { Status::Stopped });
        }
        if self.init(saved)?.is_none() {
            return Ok(Status::Stopped);
        }
        if start::is_waiting(&self.directory(&saved.id)?) {
            return Ok(Status::Created);
        }
        let cgroup = Cgroup::open(&Layout::detect()?, &CgroupPath::parse(&saved.cgroup)?)?;
        Ok(if cgroup.is_frozen()? { Status::Paused } else { Status::Running })
    }

    /// Somebody holds the lock of a container that has no init yet.
    fn is_being_created(&self, saved: &Saved) -> Result<bool> {
        let lock = self.directory(&saved.id)?.join(LOCK);
        match Lock::try_exclusive(lock) {
            // It was removed since it was found.
            Err(error) if error.is(Errno::NOENT) => Ok(false),
            lock => Ok(lock?.is_none()),
        }
    }

    /// A directory without a state, and nobody at it: a killed create or delete has left it.
    pub(crate) fn is_abandoned(&self, id: &str) -> Result<bool> {
        match Lock::try_exclusive(self.directory(id)?.join(LOCK)) {
            Err(error) if error.is(Errno::NOENT) => Ok(false),
            lock => Ok(lock?.is_some()),
        }
    }

    /// One verb that changes a container at a time.
    pub(crate) fn lock(&self, id: &str) -> Result<Lock> {
        match Lock::with_deadline(self.directory(id)?.join(LOCK), LOCK_DEADLINE) {
            // It was removed since it was found.
            Err(error) if error.is(Errno::NOENT) => Err(Error::NotFound { id: id.to_owned() }),
            lock => Ok(lock?),
        }
    }
}

/// Ids are file names: those that engines use, and nothing that leads elsewhere.
fn check_id(id: &str) -> Result<()> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    if id.is_empty() || id.len() > 255 || id.starts_with('.') || !id.bytes().all(sound) {
        return Err(Error::Usage(format!(
            "container id {id:?}: use letters, digits and _+.-, not starting with a dot"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
