//! The terminal of a container that a foreign runtime makes: its master comes through a socket.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::error::Context as _;
use linux::poll::{Interest, Poll};
use linux::socket::{self, Kind};
use rustix::fs::{Mode, OFlags};

use super::remove_file;
use crate::error::During as _;
use crate::{Console, Result};

/// A runtime that has ended well has sent the terminal before.
const CONSOLE_PATIENCE: Duration = Duration::from_secs(5);

const CONSOLE: &str = "console.sock";

/// Where the master of a terminal arrives, when it is ours to receive.
pub(super) struct Listener(Option<(OwnedFd, OwnedFd)>);

impl Listener {
    pub(super) fn for_terminal(
        directory: &Path,
        terminal: bool,
        console: Console<'_>,
    ) -> Result<Self> {
        if !terminal || matches!(console, Console::Socket(_)) {
            return Ok(Self(None));
        }
        let act = || format!("open {}", directory.display());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(directory, flags, Mode::empty()).during(act)?;
        let path = directory.join(CONSOLE);
        remove_file(&path);
        Ok(Self(Some((socket::listen(path, Kind::Stream)?, opened))))
    }

    /// Through our descriptor of the directory: a socket's path has 108 bytes (unix(7)).
    pub(super) fn path(&self, console: Console<'_>) -> Option<PathBuf> {
        match (&self.0, console) {
            (Some((_, directory)), _) => {
                let (pid, fd) = (std::process::id(), directory.as_raw_fd());
                Some(PathBuf::from(format!("/proc/{pid}/fd/{fd}/{CONSOLE}")))
            }
            (None, Console::Socket(path)) => Some(path.to_owned()),
            (None, Console::Return) => None,
        }
    }

    pub(super) fn receive(self) -> Result<Option<OwnedFd>> {
        let Some((listener, _)) = self.0 else { return Ok(None) };
        let act = || "receive the terminal from the runtime".to_owned();
        let poll = Poll::new()?;
        poll.add(&listener, 0, Interest::READ)?;
        if poll.wait(Some(CONSOLE_PATIENCE))?.is_empty() {
            return Err(linux::Error::new(act(), linux::Errno::TIMEDOUT).into());
        }
        let connection = socket::accept(&listener).step(act)?;
        let mut name = [0; 4096];
        let (_, mut fds) = socket::recv_fds(&connection, &mut name, 1).step(act)?;
        match fds.pop() {
            Some(master) => Ok(Some(master)),
            None => Err(linux::Error::new(act(), linux::Errno::PROTO).into()),
        }
    }
}
