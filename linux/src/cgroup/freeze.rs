//! Stopping a cgroup in its tracks, and letting it go on.
//!
//! The v2 freezer is used wherever there is a v2 tree: its processes can still be killed and
//! traced. The v1 freezer needs asking until all have stopped, as a process that forks meanwhile
//! gets away (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst, FREEZING).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use super::Cgroup;
use super::kernfs::{read_text, set};
use crate::error::{Context, Errno, Error, Result};

/// A process in an uninterruptible wait keeps its cgroup from being frozen.
const PATIENCE: Duration = Duration::from_secs(10);

/// The interface in use.
enum Freezer {
    V1(PathBuf),
    V2(PathBuf),
}

impl Cgroup {
    /// Stops every process in the cgroup; what cannot be stopped within ten seconds is let go.
    pub fn freeze(&self) -> Result<()> {
        let freezer = self.freezer()?;
        let frozen = match &freezer {
            Freezer::V2(dir) => freeze_v2(dir),
            Freezer::V1(dir) => freeze_v1(dir),
        };
        if frozen.is_err() {
            // The first error is the one to tell.
            let _ = self.thaw();
        }
        frozen
    }

    /// Lets every process go on, whichever freezer stopped it.
    pub fn thaw(&self) -> Result<()> {
        let v2 = self.unified_dir().map(|dir| (dir.join("cgroup.freeze"), "0"));
        let v1 = self.controller_dir("freezer").map(|dir| (dir.join("freezer.state"), "THAWED"));
        for (file, value) in v2.into_iter().chain(v1) {
            match set(&file, value) {
                // The cgroup is gone, or a top, which cannot be frozen.
                Err(error) if error.is(Errno::NOENT) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Whether it has been stopped as a whole.
    pub fn is_frozen(&self) -> Result<bool> {
        if let Some(dir) = self.unified_dir() {
            let file = dir.join("cgroup.events");
            if is_set(&file, "frozen").during(|| format!("read {}", file.display()))? {
                return Ok(true);
            }
        }
        let Some(dir) = self.controller_dir("freezer") else { return Ok(false) };
        let file = dir.join("freezer.state");
        let state = read_text(&file).during(|| format!("read {}", file.display()))?;
        Ok(state == "FROZEN")
    }

    fn freezer(&self) -> Result<Freezer> {
        let v2 = self.unified_dir().map(|dir| Freezer::V2(dir.to_owned()));
        let v1 = || self.controller_dir("freezer").map(|dir| Freezer::V1(dir.to_owned()));
        v2.or_else(v1).ok_or_else(|| {
            Error::new("freeze cgroup", Errno::OPNOTSUPP)
                .with_hint("mount the v1 freezer controller or cgroup2")
        })
    }
}

fn freeze_v2(dir: &Path) -> Result<()> {
    set(&dir.join("cgroup.freeze"), "1")?;
    let events = dir.join("cgroup.events");
    let file = rustix::fs::open(&events, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during(|| format!("open {}", events.display()))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Reading arms the poll that follows (kernfs_generic_poll).
        if is_set(&events, "frozen").during(|| format!("read {}", events.display()))? {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(timed_out(dir));
        }
        let left = left.min(Duration::from_millis(100));
        let mut fds = [PollFd::new(&file, PollFlags::PRI)];
        match rustix::event::poll(&mut fds, Some(&timespec(left))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(|| format!("poll {}", events.display())),
        }
    }
}

fn freeze_v1(dir: &Path) -> Result<()> {
    let file = dir.join("freezer.state");
    let deadline = Instant::now() + PATIENCE;
    let mut step = Duration::from_micros(100);
    loop {
        set(&file, "FROZEN")?;
        match read_text(&file).during(|| format!("read {}", file.display()))?.as_str() {
            "FROZEN" => return Ok(()),
            _ if Instant::now() >= deadline => return Err(timed_out(dir)),
            _ => pause(step),
        }
        step = (step * 2).min(Duration::from_millis(20));
    }
}

fn timed_out(dir: &Path) -> Error {
    Error::new(format!("freeze cgroup {}", dir.display()), Errno::TIMEDOUT)
        .with_hint("a process in it waits for the kernel and cannot be stopped")
}

/// A line `key 1` in a file of flags.
pub(super) fn is_set(file: &Path, key: &str) -> rustix::io::Result<bool> {
    let text = read_text(file)?;
    Ok(text.lines().any(|line| line.strip_prefix(key) == Some(" 1")))
}

/// Waits where the kernel offers nothing to wait on.
pub(super) fn pause(time: Duration) {
    // An interrupted pause is a shorter one.
    let _ = rustix::event::poll(&mut [], Some(&timespec(time)));
}

fn timespec(time: Duration) -> Timespec {
    Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}
