//! Walking a cgroup and what a guest made below it.
//!
//! By descriptors, one at a time: a guest may nest deeper than a path can be long, or a process can
//! have files open. The way back is `..`, which must lead to the directory we came from. Cgroups
//! that vanish under our feet are no error.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags};

use super::kernfs::read_open;
use crate::error::{Errno, Error, Result};
use crate::process::Pid;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Largest `cgroup.procs` we read: two million processes.
const PROCS_MAX: usize = 16 * 1024 * 1024;

/// A directory on the way down: which one, and the children still to go to.
#[derive(Debug)]
struct Level {
    name: CString,
    id: (u64, u64),
    pending: Vec<CString>,
}

/// A position in the tree. The top has depth 1.
#[derive(Debug)]
pub(super) struct Walk {
    current: OwnedFd,
    levels: Vec<Level>,
}

impl Walk {
    pub(super) fn start(top: &Path) -> rustix::io::Result<Self> {
        let current = rustix::fs::open(top, DIRECTORY, Mode::empty())?;
        let name = CString::default();
        let levels = vec![Level { name, id: id(&current)?, pending: Vec::new() }];
        Ok(Self { current, levels })
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.current.as_fd()
    }

    pub(super) fn is_top(&self) -> bool {
        self.levels.len() == 1
    }

    /// What to visit next from here.
    pub(super) fn set_pending(&mut self, names: Vec<CString>) {
        if let Some(level) = self.levels.last_mut() {
            level.pending = names;
        }
    }

    /// Goes to the next pending child; false if there is none.
    pub(super) fn descend(&mut self) -> rustix::io::Result<bool> {
        while let Some(name) = self.levels.last_mut().and_then(|level| level.pending.pop()) {
            match rustix::fs::openat(&self.current, &name, DIRECTORY, Mode::empty()) {
                Ok(child) => {
                    self.levels.push(Level { name, id: id(&child)?, pending: Vec::new() });
                    self.current = child;
                    return Ok(true);
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(false)
    }

    /// Goes back up and says where from; `None` at the top.
    pub(super) fn ascend(&mut self) -> rustix::io::Result<Option<CString>> {
        if self.is_top() {
            return Ok(None);
        }
        let Some(Level { name, .. }) = self.levels.pop() else { return Ok(None) };
        let parent = rustix::fs::openat(&self.current, c"..", DIRECTORY, Mode::empty())?;
        if self.levels.last().map(|level| level.id) != Some(id(&parent)?) {
            return Err(Errno::STALE);
        }
        self.current = parent;
        Ok(Some(name))
    }
}

fn id(dir: &OwnedFd) -> rustix::io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Names of the cgroups directly below.
pub(super) fn children(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    // kernfs counts subdirectories in the link count, and this directory has dozens of files.
    if rustix::fs::fstat(dir)?.st_nlink == 2 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Calls `act` for the cgroup and each below it, parents first.
pub(super) fn visit(
    top: &Path,
    act: &mut dyn FnMut(BorrowedFd<'_>) -> rustix::io::Result<()>,
) -> Result<()> {
    let mut step = || -> rustix::io::Result<()> {
        let mut walk = Walk::start(top)?;
        loop {
            match act(walk.dir()).and_then(|()| children(walk.dir())) {
                Ok(names) => walk.set_pending(names),
                Err(Errno::NODEV | Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            while !walk.descend()? {
                if walk.ascend()?.is_none() {
                    return Ok(());
                }
            }
        }
    };
    match step() {
        Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(errno) => Err(Error::new(format!("walk cgroup {}", top.display()), errno)),
    }
}

/// Adds the processes of one cgroup to `pids`.
pub(super) fn read_procs(dir: BorrowedFd<'_>, pids: &mut Vec<Pid>) -> rustix::io::Result<()> {
    let file = open_file(dir, c"cgroup.procs", OFlags::RDONLY)?;
    let text = match read_open(&file, PROCS_MAX) {
        Ok(text) => text,
        // In a threaded cgroup; the processes are listed in its domain, further up.
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let lines = text.split(|&byte| byte == b'\n');
    let numbers = lines.filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok());
    // 0 is a process outside our pid namespace: none of ours, and not to be signalled by number.
    pids.extend(numbers.filter_map(Pid::new));
    Ok(())
}

/// Opens a control file of the cgroup.
pub(super) fn open_file(
    dir: BorrowedFd<'_>,
    name: &CStr,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}
