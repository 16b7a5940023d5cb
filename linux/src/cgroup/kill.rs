//! Ending every process of a cgroup.
//!
//! `cgroup.kill` (Linux 5.14) ends a v2 tree at once and outruns forks. What it does not reach, on
//! a v1 host or by an older kernel, is frozen, signalled one by one through pidfds, and thawed. A
//! pid read from the cgroup may belong to somebody else a moment later, so a process is signalled
//! only after its pidfd is held and it is still in the cgroup.

use std::fmt;
use std::time::{Duration, Instant};

use super::kernfs::{read_text, set};
use super::{Cgroup, Membership, Pid};
use crate::error::{Errno, Error, Result};
use crate::process::{PidFd, Signal};

/// Pidfds held at a time; a guest may have more processes than we may have files.
const HELD: usize = 256;

/// A process that has not ended although it was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Its number on the host.
    pub pid: Pid,
    /// `D`: it waits for the kernel, usually for a disk or a file server.
    pub state: char,
    /// What it calls itself.
    pub command: String,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, state {})", self.pid, self.command, self.state)
    }
}

impl Cgroup {
    /// Kills every process in the cgroup and below, thaws it, and waits up to `patience` for them
    /// to be gone. Returns those that are not.
    pub fn kill_all(&self, patience: Duration) -> Result<Vec<Stuck>> {
        let deadline = Instant::now() + patience;
        loop {
            let pids = self.procs()?;
            if pids.is_empty() {
                return Ok(Vec::new());
            }
            if pids.contains(&Pid::current()) {
                return Err(Error::new("kill cgroup: the caller itself is in it", Errno::DEADLK)
                    .with_hint("run it from outside the container"));
            }
            let reached = self.kill_unified()?;
            if !reached {
                // Without it a fork may get away, to be met in the next round.
                let _ = self.freeze();
            }
            let held = pids.iter().filter_map(|&pid| self.kill(pid)).take(HELD);
            let held: Vec<PidFd> = held.collect();
            self.thaw()?;
            if Instant::now() >= deadline {
                return Ok(self.procs()?.into_iter().filter_map(stuck).collect());
            }
            let round = Instant::now() + Duration::from_millis(100);
            for process in held {
                let left = deadline.min(round).saturating_duration_since(Instant::now());
                process.exits_within(Some(left))?;
            }
            super::freeze::pause(Duration::from_micros(100));
        }
    }

    /// Whether the kernel took it upon itself.
    fn kill_unified(&self) -> Result<bool> {
        let Some(dir) = self.unified_dir() else { return Ok(false) };
        match set(&dir.join("cgroup.kill"), "1") {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn kill(&self, pid: Pid) -> Option<PidFd> {
        let process = PidFd::open(pid).ok()?;
        if !self.has(pid) {
            return None;
        }
        // It may have ended by itself.
        process.signal(Signal::KILL).ok()?;
        Some(process)
    }

    fn has(&self, pid: Pid) -> bool {
        let Ok(membership) = Membership::of(pid) else { return false };
        self.places.iter().any(|place| {
            let path = membership.path_in(&place.hierarchy);
            let dir = path.and_then(|path| place.hierarchy.dir_of(path));
            dir.is_some_and(|dir| dir.starts_with(&place.dir))
        })
    }
}

fn stuck(pid: Pid) -> Option<Stuck> {
    let text = read_text(format!("/proc/{pid}/stat").as_ref()).ok()?;
    parse_stat(pid, &text)
}

/// `PID (COMMAND) STATE ...`; the command may hold parentheses and blanks.
fn parse_stat(pid: Pid, text: &str) -> Option<Stuck> {
    let (before, after) = text.rsplit_once(") ")?;
    let (_, command) = before.split_once('(')?;
    Some(Stuck { pid, state: after.chars().next()?, command: command.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_process_is_told_by_name() {
        let pid = Pid::new(77).unwrap();
        let stuck = parse_stat(pid, "77 (a) (b) D 1 77 77 0").unwrap();
        assert_eq!(stuck.to_string(), "77 (a) (b, state D)");
        assert_eq!(parse_stat(pid, "77"), None);
    }
}
