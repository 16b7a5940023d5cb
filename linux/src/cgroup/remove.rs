//! Taking a cgroup away, with whatever the guest made below it.
//!
//! Children first, as rmdir(2) demands, by descriptors from the container's own directory down, so
//! that nothing above or beside it can be met. A cgroup stays busy for a moment after its last
//! process was seen to end; the removal is repeated until a deadline.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD};

use super::{Cgroup, tree};
use crate::error::{Errno, Error, Result};

impl Cgroup {
    /// Removes the cgroup from every hierarchy if nobody lives in it or below it any more and it
    /// has no children but the one that [`Cgroup::delegate`] made: says whether it is gone. Nothing
    /// is looked at for that, as rmdir(2) knows.
    pub fn remove_if_empty(&self) -> Result<bool> {
        let mut gone = true;
        // Children first.
        for dir in self.payload.iter().chain(self.places.iter().map(|place| &place.dir)) {
            match rustix::fs::unlinkat(CWD, dir, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
                Err(Errno::BUSY) => gone = false,
                Err(errno) => return Err(explain(dir, errno)),
            }
        }
        Ok(gone)
    }

    /// Removes the cgroup from every hierarchy, waiting up to `patience` for processes that are
    /// ending. Parents stay. What is gone already is no error.
    pub fn remove(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        // All hierarchies are tried even if one is stuck; the first error is as good as any.
        let results = self.places.iter().map(|place| remove(&place.dir, deadline));
        results.fold(Ok(()), Result::and)
    }
}

/// Removes everything below `dir`, not `dir` itself.
pub(super) fn remove_below(dir: &Path, patience: Duration) -> Result<()> {
    repeat(dir, Instant::now() + patience, &|| pass(dir))
}

fn remove(dir: &Path, deadline: Instant) -> Result<()> {
    repeat(dir, deadline, &|| match rustix::fs::unlinkat(CWD, dir, AtFlags::REMOVEDIR) {
        Err(Errno::BUSY) => {
            pass(dir)?;
            rustix::fs::unlinkat(CWD, dir, AtFlags::REMOVEDIR)
        }
        result => result,
    })
}

fn repeat(
    dir: &Path,
    deadline: Instant,
    attempt: &dyn Fn() -> rustix::io::Result<()>,
) -> Result<()> {
    let mut pause = Duration::from_micros(200);
    loop {
        match attempt() {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < deadline => {}
            Err(errno) => return Err(explain(dir, errno)),
        }
        // v1 has nothing to wait on; an empty poll is the pause between two looks.
        super::freeze::pause(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn explain(dir: &Path, errno: Errno) -> Error {
    let mut pids = Vec::new();
    // What cannot be read is simply not told.
    let _ = tree::visit(dir, &mut |dir| tree::read_procs(dir, &mut pids));
    let mut call = format!("remove cgroup {}", dir.display());
    if let [first, rest @ ..] = pids.as_slice() {
        call += &format!(": process {first}");
        if !rest.is_empty() {
            call += &format!(" and {} more", rest.len());
        }
        call += " in it";
    }
    Error::new(call, errno)
}

/// Removes what can be removed below `top`; busy if something stays.
fn pass(top: &Path) -> rustix::io::Result<()> {
    let mut walk = tree::Walk::start(top)?;
    let mut busy = false;
    'down: loop {
        let mut stubborn = Vec::new();
        let children = match tree::children(walk.dir()) {
            // Gone since we entered it.
            Err(Errno::NOENT | Errno::NODEV) => Vec::new(),
            children => children?,
        };
        for name in children {
            match rustix::fs::unlinkat(walk.dir(), &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                // It has children or processes.
                Err(Errno::BUSY) => stubborn.push(name),
                Err(errno) => return Err(errno),
            }
        }
        walk.set_pending(stubborn);
        loop {
            if walk.descend()? {
                continue 'down;
            }
            let Some(name) = walk.ascend()? else {
                return if busy { Err(Errno::BUSY) } else { Ok(()) };
            };
            match rustix::fs::unlinkat(walk.dir(), name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::BUSY) => busy = true,
                Err(errno) => return Err(errno),
            }
        }
    }
}
