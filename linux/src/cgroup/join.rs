//! Entering a cgroup without waiting for the kernel.
//!
//! Moving a process by number, or by `cgroup.procs`, takes a lock that waits for an RCU grace
//! period: milliseconds. A thread that moves itself takes none of it (cgroup_procs_write_start():
//! no lock for pid 0 of one thread), and a child can be born in a v2 cgroup (clone3(2),
//! CLONE_INTO_CGROUP). So the parent opens, and the child, while it has one thread, writes `0`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use super::{Cgroup, Version};
use crate::error::{Context, Error, Result};

/// Open files through which a child joins every hierarchy.
#[derive(Debug)]
pub struct JoinFds {
    tasks: Vec<(PathBuf, OwnedFd)>,
    unified: Option<OwnedFd>,
}

impl Cgroup {
    /// Opens what a child needs. A cgroup that was delegated is joined where it is the guest's.
    pub fn join_fds(&self) -> Result<JoinFds> {
        let mut fds = JoinFds { tasks: Vec::new(), unified: None };
        for place in &self.places {
            let (path, flags) = match place.hierarchy.version {
                Version::V1 => (place.dir.join("tasks"), OFlags::WRONLY),
                Version::V2 => (
                    self.payload.clone().unwrap_or_else(|| place.dir.clone()),
                    OFlags::PATH | OFlags::DIRECTORY,
                ),
            };
            let fd = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty())
                .during(|| format!("open {}", path.display()))?;
            match place.hierarchy.version {
                Version::V1 => fds.tasks.push((path, fd)),
                Version::V2 => fds.unified = Some(fd),
            }
        }
        Ok(fds)
    }
}

impl JoinFds {
    /// The v2 cgroup for clone3(2).
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// Moves the calling thread, the only one of its process, into every v1 cgroup.
    pub fn join_v1(&self) -> Result<()> {
        for (path, fd) in &self.tasks {
            rustix::io::retry_on_intr(|| rustix::io::write(fd, b"0")).map_err(|errno| {
                Error::new(format!("join cgroup: write \"0\" to {}", path.display()), errno)
            })?;
        }
        Ok(())
    }
}
