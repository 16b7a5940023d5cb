//! systemd as the keeper of a container's cgroup: a transient scope, delegated.
//!
//! A scope has to have a process when it begins. The container's is made in the cgroup, which has
//! to be there before: so a process that does nothing holds the place until then.
//!
//! On v1 systemd makes the cgroup in the hierarchies of the controllers that it knows; in the
//! others (freezer, cpuset, ...) it is made here, and taken away with the rest.

mod manager;
mod message;
mod properties;

use std::collections::BTreeMap;

use linux::cgroup::{Cgroup, CgroupPath, DeviceRules};
use linux::process::{Pid, PidFd};
use linux::{CloneFlags, Forked};
use serde::{Deserialize, Serialize};

use self::manager::Manager;
use crate::{Error, Result};

/// A scope and the slice that it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) slice: String,
    pub(crate) name: String,
}

impl Scope {
    /// What `linux.cgroupsPath` names: `SLICE:PREFIX:NAME`, or nothing.
    pub(crate) fn parse(path: Option<&str>, id: &str) -> Result<Self> {
        let refuse = |reason: String| Err(Error::config("linux.cgroupsPath", reason));
        let (slice, prefix, name) = match path.filter(|path| !path.is_empty()) {
            None => ("", "isula", id),
            Some(path) => match path.split(':').collect::<Vec<_>>()[..] {
                [slice, prefix, name] => (slice, prefix, name),
                _ => {
                    return refuse(format!(
                        "is {path:?}; the systemd cgroup driver takes SLICE:PREFIX:NAME"
                    ));
                }
            },
        };
        let slice = if slice.is_empty() { "system.slice" } else { slice };
        let word = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-:@\\".contains(&byte))
        };
        if name.is_empty() || !word(name) || !word(prefix) || name.len() + prefix.len() > 240 {
            return refuse(format!("{prefix:?} and {name:?} make no name of a unit"));
        }
        let stem = slice.strip_suffix(".slice").unwrap_or_default();
        if !word(slice) || stem.is_empty() || stem.split('-').any(str::is_empty) && stem != "-" {
            return refuse(format!("{slice:?} is not the name of a slice, like machine.slice"));
        }
        let name = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        Ok(Self { slice: slice.to_owned(), name })
    }

    /// Its cgroup: `a-b.slice` is below `a.slice` (systemd.slice(5)).
    pub(crate) fn path(&self) -> Result<CgroupPath> {
        let mut path = String::new();
        let stem = self.slice.strip_suffix(".slice").unwrap_or(&self.slice);
        if stem != "-" {
            let mut so_far = String::new();
            for part in stem.split('-') {
                so_far =
                    if so_far.is_empty() { part.to_owned() } else { format!("{so_far}-{part}") };
                path += &format!("/{so_far}.slice");
            }
        }
        Ok(CgroupPath::parse(&format!("{path}/{}", self.name))?)
    }

    /// Begins it, with a process that does nothing.
    pub(crate) fn begin(
        &self,
        id: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Placeholder> {
        let annotated = properties::annotated(annotations)?;
        let mut manager = Manager::connect()?;
        let placeholder = Placeholder::new()?;
        let pids = vec![placeholder.pid.get().unsigned_abs()];
        let mut all = vec![
            ("Description".to_owned(), format!("container {id}").into()),
            ("Slice".into(), self.slice.clone().into()),
            ("Delegate".into(), true.into()),
            ("DefaultDependencies".into(), false.into()),
            // Gone when it has ended, however that was.
            ("CollectMode".into(), "inactive-or-failed".into()),
            ("CPUAccounting".into(), true.into()),
            ("IOAccounting".into(), true.into()),
            ("MemoryAccounting".into(), true.into()),
            ("TasksAccounting".into(), true.into()),
            // Not the bound that systemd gives every unit: what the container may is said later.
            ("TasksMax".into(), u64::MAX.into()),
            ("PIDs".into(), pids.into()),
        ];
        all.extend(annotated);
        manager.start(&self.name, &all)?;
        Ok(placeholder)
    }

    /// Tells systemd what limits its cgroup has, and which device rules if they are new.
    pub(crate) fn tell(&self, cgroup: &Cgroup, devices: Option<&DeviceRules>) -> Result<()> {
        let mut all = properties::limits(cgroup)?;
        if let (Some(rules), Some(_)) = (devices, cgroup.controller_dir("devices")) {
            all.extend(properties::devices(rules)?);
        }
        Manager::connect()?.set(&self.name, &all)
    }

    /// Ends it, if systemd has not seen by itself that it is empty.
    pub(crate) fn end(&self) -> Result<()> {
        Manager::connect()?.stop(&self.name)
    }
}

/// A process that waits to be killed, which it is with this value.
#[derive(Debug)]
pub(crate) struct Placeholder {
    pid: Pid,
    pidfd: PidFd,
}

impl Placeholder {
    fn new() -> Result<Self> {
        match linux::fork(CloneFlags::empty(), None)? {
            Forked::Child => {
                // Not the caller's streams, which somebody may read to their end.
                let _ = linux::fd::close_all_but(0, &[]);
                let _ = rustix::process::set_parent_process_death_signal(Some(
                    rustix::process::Signal::KILL,
                ));
                loop {
                    let _ = rustix::event::poll(&mut [], None);
                }
            }
            Forked::Parent { pid, pidfd } => Ok(Self { pid, pidfd }),
        }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        let _ = self.pidfd.signal(linux::signal::Signal::KILL);
        let _ = self.pidfd.wait();
    }
}

#[cfg(test)]
mod tests;
