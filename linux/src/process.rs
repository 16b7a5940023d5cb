//! A process as something to hold: a pid names it, a pidfd *is* it.
//!
//! Pids are reused, so a pid that was written down is worth nothing without the start time
//! (proc_pid_stat(5), field 22) that was written down with it: [`PidFd::open_checked`].
//! Waiting is by pidfd only (waitid(2) `P_PIDFD`): it never steals another child's status.

use std::fmt;
use std::num::NonZeroI32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions};

pub use crate::signal::Signal;
use crate::{Context, Errno, Error, Result, fault, file, ns, raw};

/// A process id: positive, and good for nothing but a lookup or a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// `None` when `pid` is not positive.
    pub fn new(pid: i32) -> Option<Self> {
        NonZeroI32::new(pid).filter(|pid| pid.get() > 0).map(Self)
    }

    /// The caller's own.
    pub fn current() -> Self {
        Self::from(rustix::process::getpid())
    }

    /// As the number that system calls take.
    pub fn get(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Pid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| Error::new(format!("parse pid {text:?}"), Errno::INVAL))
    }
}

impl From<rustix::process::Pid> for Pid {
    fn from(pid: rustix::process::Pid) -> Self {
        Self(pid.as_raw_nonzero())
    }
}

impl From<Pid> for rustix::process::Pid {
    fn from(pid: Pid) -> Self {
        Self::from_raw(pid.get()).expect("a Pid is never 0")
    }
}

/// A process held fast: the number may be reused, this descriptor never means another one.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Whoever has `pid` at this moment.
    pub fn open(pid: Pid) -> Result<Self> {
        rustix::process::pidfd_open(pid.into(), PidfdFlags::empty())
            .map(Self)
            .during(|| format!("open pidfd of {pid}"))
    }

    /// The calling thread; Linux 6.9, `EINVAL` before.
    pub fn of_thread() -> Result<Self> {
        // PIDFD_THREAD of linux/pidfd.h, which rustix does not know yet.
        let flags = PidfdFlags::from_bits_retain(rustix::fs::OFlags::EXCL.bits());
        rustix::process::pidfd_open(rustix::thread::gettid(), flags)
            .map(Self)
            .during(|| "open pidfd of the thread")
    }

    /// The process that had `pid` and began at `start_time`; `None` when it is gone, whether or
    /// not another one has its pid.
    pub fn open_checked(pid: Pid, start_time: u64) -> Result<Option<Self>> {
        // Whoever still shows the recorded start time after the pidfd was opened had the pid
        // all along, so the pidfd is its. ENOENT and EINVAL: the pid is a thread's now.
        let pidfd = match Self::open(pid) {
            Err(e) if [Errno::SRCH, Errno::NOENT, Errno::INVAL].contains(&e.errno()) => {
                return Ok(None);
            }
            answer => answer?,
        };
        match self::start_time(pid) {
            Ok(found) if found == start_time => Ok(Some(pidfd)),
            Ok(_) => Ok(None),
            Err(e) if e.is(Errno::NOENT) || e.is(Errno::SRCH) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// [`open_checked`](Self::open_checked), and it has not exited.
    pub fn open_alive(pid: Pid, start_time: u64) -> Result<Option<Self>> {
        match Self::open_checked(pid, start_time)? {
            Some(process) if process.is_alive()? => Ok(Some(process)),
            _ => Ok(None),
        }
    }

    /// Takes over a descriptor that clone3(2), pidfd_open(2) or a socket gave.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The process's pid in the pid namespace of the mounted /proc, `None` once it was waited for.
    pub fn pid(&self) -> Result<Option<Pid>> {
        use std::os::fd::AsRawFd;
        // proc_pid_fdinfo(5): "Pid:" is -1 for a reaped process and 0 for one out of our sight.
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let text = file::read_to_string(&path)?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("Pid:"))
            .and_then(|value| value.trim().parse().ok())
            .ok_or_else(|| Error::new(format!("find Pid: in {path}"), Errno::BADF))?;
        Ok(Pid::new(value))
    }

    /// Has it not exited yet? A zombie is not alive.
    pub fn is_alive(&self) -> Result<bool> {
        self.exits_within(Some(Duration::ZERO)).map(|exited| !exited)
    }

    /// Waits at most `limit` (`None`: for ever) for the exit of this process, child or not.
    /// Answers whether it has exited; a child is not reaped.
    pub fn exits_within(&self, limit: Option<Duration>) -> Result<bool> {
        let deadline = limit.map(|limit| std::time::Instant::now() + limit);
        loop {
            let left = deadline
                .map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()))
                .map(|left| {
                    Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
                });
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            match rustix::event::poll(&mut fds, left.as_ref()) {
                Err(Errno::INTR) => {}
                answer => return answer.map(|count| count > 0).during(|| "poll a pidfd"),
            }
        }
    }

    /// Sends `signal`; `ESRCH` once the process was waited for.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        fault::check("pidfd_send_signal")
            .and_then(|()| rustix::process::pidfd_send_signal(&self.0, raw::signal::rustix(signal)))
            .during(|| format!("send {signal}"))
    }

    /// Waits for the exit of this child of ours and reaps it.
    pub fn wait(&self) -> Result<ExitStatus> {
        self.wait_with(WaitIdOptions::EXITED)?
            .ok_or_else(|| Error::new("wait for a child", Errno::AGAIN))
    }

    /// Reaps this child of ours if it has exited, `None` if it has not.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.wait_with(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn wait_with(&self, options: WaitIdOptions) -> Result<Option<ExitStatus>> {
        let status = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.0.as_fd()), options)
        })
        .during(|| "wait for a child")?;
        Ok(status.and_then(|status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(ExitStatus::Exited(code)),
            (_, Some(signal)) => Some(ExitStatus::Killed { signal, core: status.dumped() }),
            _ => None,
        }))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> Self {
        pidfd.0
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// By exit(2), with this status.
    Exited(i32),
    /// By a signal.
    Killed {
        /// Its number.
        signal: i32,
        /// Whether a core was dumped.
        core: bool,
    },
}

impl ExitStatus {
    /// As a shell says it: the status, or 128 and the signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Killed { signal, .. } => 128 + signal,
        }
    }

    /// Did it end well?
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(f, "exited with status {code}"),
            Self::Killed { signal, core } => {
                match Signal::new(signal) {
                    Some(signal) => write!(f, "killed by {signal}")?,
                    None => write!(f, "killed by signal {signal}")?,
                }
                if core { f.write_str(" (core dumped)") } else { Ok(()) }
            }
        }
    }
}

/// Ends the calling process at once: no exit handler, no buffer flushed. For a forked copy, whose
/// handlers and buffers are its parent's.
pub fn exit_now(code: i32) -> ! {
    raw::process::exit_now(code)
}

/// When `pid` began, in clock ticks since boot: with the pid, the name of one process for ever.
pub fn start_time(pid: Pid) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = file::read(&path)?;
    parse_start_time(&stat).ok_or_else(|| Error::new(format!("parse {path}"), Errno::INVAL))
}

fn parse_start_time(stat: &[u8]) -> Option<u64> {
    // Field 2 is the name in parentheses and may hold anything, a ")" as well; field 3 follows
    // the last one.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// The path of a namespace of `pid`: `/proc/PID/ns/KIND`.
pub fn namespace_path(pid: Pid, kind: ns::Kind) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/{}", kind.proc_name()))
}

/// What the namespace link of `pid` says: `net:[4026531840]`.
pub fn namespace_link(pid: Pid, kind: ns::Kind) -> Result<String> {
    let path = namespace_path(pid, kind);
    let text = rustix::fs::readlink(&path, Vec::new())
        .during(|| format!("read link {}", path.display()))?;
    Ok(text.to_string_lossy().into_owned())
}

/// The children of all threads of `pid` at this moment (needs `CONFIG_PROC_CHILDREN`).
pub fn children(pid: Pid) -> Result<Vec<Pid>> {
    let path = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&path).during(|| format!("list {path}"))?;
    let mut children = Vec::new();
    for thread in threads {
        let thread = thread.during(|| format!("list {path}"))?;
        match file::read_to_string(thread.path().join("children")) {
            // A thread may end while we look.
            Err(e) if e.is(Errno::NOENT) || e.is(Errno::SRCH) => {}
            text => children
                .extend(text?.split_ascii_whitespace().filter_map(|pid| pid.parse::<Pid>().ok())),
        }
    }
    Ok(children)
}

#[cfg(test)]
mod tests;
