//! The daemon as its tools meet it: whether it answers, and the part of its tree for a container.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

use linux::{Errno, Error, Result, process::Pid};

use crate::{
    control::{self, Request, Response},
    orders::KEPT,
};

/// The one directory that is mounted as a whole, below a container's root.
pub const SYS_CPU: &str = "sys/devices/system/cpu";

/// How long a container may wait while others are attached: the daemon takes one after the other.
const QUEUE: Duration = Duration::from_secs(10);

/// Where the daemon is to be found.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Its mount.
    pub mount: PathBuf,
    /// Its runtime directory.
    pub runtime_dir: PathBuf,
}

/// Where a container's files are.
#[derive(Debug, Clone)]
pub struct Source {
    /// All of them.
    pub live: PathBuf,
    /// Those the kernel may keep; there are none where it may not.
    pub kept: Option<PathBuf>,
}

impl Source {
    /// Where a file or directory is taken from: the kept one is cheaper to read.
    pub fn of(&self, target: &Path) -> PathBuf {
        // A directory is on both sides, whatever is in it.
        let is_directory = target == Path::new(SYS_CPU);
        let is_there = |path: &PathBuf| match is_directory {
            true => rustix::fs::stat(path.join("online")).is_ok(),
            false => rustix::fs::stat(path).is_ok(),
        };
        let kept = self.kept.as_ref().map(|kept| kept.join(target)).filter(is_there);
        kept.unwrap_or_else(|| self.live.join(target))
    }
}

impl Daemon {
    /// Waits until the tree can be listed, at most `limit`.
    ///
    /// A hung daemon hangs whoever looks at its mount, past the end of the process that looked. So
    /// its control socket is asked first, and the mount is looked at on a thread of its own.
    pub fn is_ready_within(&self, limit: Duration) -> bool {
        const PAUSE: Duration = Duration::from_millis(50);
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = left.max(Duration::from_millis(1));
            if self.answers(limit) && self.lists(limit) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            let span = rustix::event::Timespec::try_from(PAUSE.min(left)).ok();
            let _ = rustix::event::poll(&mut [], span.as_ref());
        }
    }

    /// Whether the worker answers; a daemon of another make has no control socket, and may.
    fn answers(&self, limit: Duration) -> bool {
        match control::ask_within(&self.control(), &Request::Status, limit) {
            Ok(_) => true,
            Err(error) => error.is(Errno::NOENT),
        }
    }

    fn lists(&self, limit: Duration) -> bool {
        let proc = self.mount.join("proc");
        let (answer, answered) = mpsc::channel();
        let look = move || {
            let listed = std::fs::read_dir(proc).is_ok_and(|mut entries| entries.next().is_some());
            let _ = answer.send(listed);
        };
        let started = std::thread::Builder::new().spawn(look);
        started.is_ok() && answered.recv_timeout(limit).unwrap_or(false)
    }

    /// The directories whose files are those of the container: its own part of the tree, which a
    /// daemon of another make does not have; its shared tree serves then.
    pub fn source(&self, id: &str, init: Pid) -> Result<Source> {
        let request = Request::Attach { id: id.into(), pid: init.get() };
        match control::ask_within(&self.control(), &request, QUEUE) {
            Ok((Response::Done, _)) => Ok(Source {
                live: self.mount.join("containers").join(id),
                kept: Some(self.runtime_dir.join(KEPT).join(id)),
            }),
            Ok((Response::Error(text), _)) => Err(Error::new(text, Errno::INVAL)),
            Ok(_) => Err(Error::new(format!("attach container {id}"), Errno::PROTO)),
            Err(error) if error.is(Errno::NOENT) => {
                Ok(Source { live: self.mount.clone(), kept: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Has the daemon forget the container. One that does not know it is as good.
    pub fn forget(&self, id: &str) {
        let _ = control::ask(&self.control(), &Request::Detach { id: id.into() });
    }

    /// What the daemon says of itself.
    pub fn status(&self) -> Result<control::Status> {
        match control::ask(&self.control(), &Request::Status)? {
            (Response::Status(status), _) => Ok(status),
            _ => Err(Error::new("ask for the status", Errno::PROTO)),
        }
    }

    fn control(&self) -> PathBuf {
        self.runtime_dir.join("control.sock")
    }

    /// The directory above the mount, which `prestart` makes shared.
    pub fn parent(&self) -> &Path {
        self.mount.parent().unwrap_or(Path::new("/"))
    }
}
