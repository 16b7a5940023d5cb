//! The terminal of a process: a pty of its own devpts, its master on the host's side.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use linux::error::Context as _;
use linux::pty::{self, Pty, Size};
use linux::root::Root;
use linux::socket::{self, Kind};
use linux::{Errno, mount};
use oci_spec::runtime::Process;
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};

use crate::error::During as _;
use crate::stdio::Streams;
use crate::{Error, Result};

/// Where in the tree it shows.
const CONSOLE: &str = "dev/console";

/// A pty of a process.
#[derive(Debug)]
pub(crate) struct Terminal(Pty);

impl Terminal {
    /// Opens one in the devpts of the tree `root`, for the user and with the size of `process`.
    pub(crate) fn open(root: &Root, process: &Process) -> Result<Self> {
        Self::try_open(root, process).step(|| "make the terminal".into())
    }

    /// Shows it as /dev/console of the tree `root`.
    pub(crate) fn bind(&self, root: &Root) -> Result<()> {
        // By the peer's own descriptor: its name could lead to another (CVE-2025-52565).
        let bind = || {
            let target = root.create_file(CONSOLE, 0o600)?;
            mount::attach(mount::clone_tree(&self.0.peer, false)?, target)
        };
        bind().step(|| "make the container's console".into())
    }

    fn try_open(root: &Root, process: &Process) -> Result<Self> {
        let devpts = root.resolve("dev/pts").map_err(|error| match error.errno() {
            Errno::NOENT => error.with_hint("a terminal needs a devpts mount at /dev/pts"),
            _ => error,
        })?;
        let pty = pty::open_in(devpts.as_fd())?;
        if let Some(size) = process.console_size() {
            let size = Size { rows: cells(size.height()), columns: cells(size.width()) };
            pty::set_size(&pty.master, size)?;
        }
        let uid = process.user().uid();
        if uid != 0 {
            fchown(&pty.peer, Some(Uid::from_raw(uid)), None::<Gid>)
                .during(|| format!("give the terminal to user {uid}"))?;
        }
        fchmod(&pty.peer, Mode::from_raw_mode(0o620)).during(|| "set the terminal's mode")?;
        Ok(Self(pty))
    }

    /// Makes it the controlling terminal and the standard streams of the calling process, which
    /// leads a session. The master is what is left.
    pub(crate) fn become_stdio(self) -> Result<OwnedFd> {
        let Pty { master, peer } = self.0;
        pty::make_controlling(&peer)?;
        Streams::new(peer.as_fd(), peer.as_fd(), peer.as_fd()).become_stdio()?;
        Ok(master)
    }
}

fn cells(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Sends the master to whoever listens at `path`, with the name of the console as payload.
pub(crate) fn send(path: &Path, master: &OwnedFd) -> Result<()> {
    let socket = socket::connect(path, Kind::Stream)
        .step(|| format!("send the terminal to {}", path.display()))?;
    socket::send_fds(&socket, b"/dev/console", &[master.as_fd()])
        .step(|| format!("send the terminal to {}", path.display()))?;
    Ok(())
}

/// A console socket that could never be used.
pub(crate) fn check_socket(path: &Path, terminal: bool) -> Result<()> {
    if terminal {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "console socket {}: the process has no terminal; set process.terminal, or leave it out",
        path.display()
    )))
}
