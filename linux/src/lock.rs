//! One holder at a time, by flock(2) on a file that stays: the kernel lets go when the holder dies.
//!
//! The file is never removed. Unlinking a lock file lets two processes hold two files of one name.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::device::DeviceNumber;
use crate::process::Pid;
use crate::{Context, Errno, Error, Result, file};

/// Held until dropped, or until the process and every child that inherited it are gone.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
}

impl Drop for Lock {
    /// A child that was forked meanwhile shares the open file, and with it the lock: closing our
    /// descriptor alone would leave it locked (flock(2)).
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl Lock {
    /// Waits as long as it takes.
    pub fn exclusive(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = open(path)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
            .during(|| format!("lock {}", path.display()))?;
        Ok(Self { file })
    }

    /// Does not wait: `None` when somebody has it.
    pub fn try_exclusive(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        Self::attempt(path, &open(path)?)
    }

    /// Waits at most `limit`; then `EWOULDBLOCK`, with the pid of the holder in the text.
    pub fn with_deadline(path: impl AsRef<Path>, limit: Duration) -> Result<Self> {
        let path = path.as_ref();
        let file = open(path)?;
        let deadline = Instant::now() + limit;
        // No descriptor tells of a released flock, and a signal that interrupts a blocking one
        // belongs to the whole process: so ask again, at growing intervals.
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = Self::attempt(path, &file)? {
                return Ok(lock);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let holder =
                    holder(path).map_or_else(String::new, |pid| format!(" held by pid {pid}"));
                return Err(Error::new(
                    format!("lock {}{holder}", path.display()),
                    Errno::WOULDBLOCK,
                )
                .with_hint("wait for that process, or end it"));
            }
            let span = Timespec::try_from(pause.min(left)).ok();
            let _ = rustix::event::poll(&mut [], span.as_ref());
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// The lock again, to be a stream of a child: should we be killed, it is held until the child
    /// has ended.
    pub fn for_child(&self) -> Result<OwnedFd> {
        self.file.try_clone().during(|| "duplicate a lock".to_owned())
    }

    fn attempt(path: &Path, file: &OwnedFd) -> Result<Option<Self>> {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let file = file.try_clone().during(|| format!("lock {}", path.display()))?;
                Ok(Some(Self { file }))
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno).during(|| format!("lock {}", path.display())),
        }
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .during(|| format!("open {}", path.display()))
}

/// Who holds the lock on `path`, by /proc/locks (proc_locks(5)); a message's worth, not a fact.
pub fn holder(path: impl AsRef<Path>) -> Option<Pid> {
    let metadata = std::fs::metadata(path).ok()?;
    parse_holder(&file::read_to_string("/proc/locks").ok()?, metadata.dev(), metadata.ino())
}

fn parse_holder(locks: &str, dev: u64, inode: u64) -> Option<Pid> {
    // "1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"; waiters have "->" after the number.
    let DeviceNumber { major, minor } = DeviceNumber::from_raw(dev);
    let id = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let flock = words.next()? == "FLOCK";
        let pid = words.nth(2)?.parse().ok()?;
        (flock && words.next()? == id).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::exclusive(&path).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        let error = Lock::with_deadline(&path, Duration::from_millis(5)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "lock {} held by pid {}: resource temporarily unavailable (EAGAIN); \
                 wait for that process, or end it",
                path.display(),
                Pid::current()
            )
        );
        drop(held);
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
        assert!(path.exists());
    }

    #[test]
    fn a_deadline_is_enough_when_the_holder_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::exclusive(&path).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::with_deadline(&path, Duration::from_secs(20)));
            drop(held);
            waiter.join().unwrap().unwrap();
        });
    }

    #[test]
    fn holder_is_the_writer_not_the_waiter() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 08:10:7 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 22 08:10:7 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 33 08:10:7 0 EOF\n";
        let dev = DeviceNumber { major: 8, minor: 16 }.to_raw();
        assert_eq!(parse_holder(locks, dev, 7), Pid::new(22));
        assert_eq!(parse_holder(locks, dev, 8), None);
    }
}
