//! What holder and worker say to each other, over the socket that is the worker's stdin.
//!
//! ```text
//! holder   Prepare{options}  ->   reads its configuration, finds the cgroups
//!          <-  Prepared
//! holder   Serve + fds       ->   takes the connection and the state over
//!          <-  Serving
//! holder   Ping              ->
//!          <-  Pong
//! ```
//! The two steps keep the moment without a worker short: the old one ends between them.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use linux::{Errno, Error, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The mount of files that the kernel may keep, in the runtime directory.
pub const KEPT: &str = "kept";
/// Longest message.
const MESSAGE: usize = 64 * 1024;

/// What the daemon was started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Sockets, attachments.
    pub runtime_dir: PathBuf,
    /// The configuration file; it need not be there unless it was named.
    pub config: Option<PathBuf>,
    /// Containers' load averages (`-l`).
    pub load_average: bool,
    /// No swap (`-u`).
    pub disable_swap: bool,
    /// No zswap.
    pub disable_zswap: bool,
    /// Limits read at each request, nothing kept.
    pub exact: bool,
    /// Threads of the session.
    pub threads: usize,
    /// Pass requests on to the worker even where the kernel could hand them out again.
    pub relay: bool,
    /// How long a reader may have to wait, milliseconds.
    pub deadline_ms: u64,
    /// Metrics socket.
    pub metrics: PathBuf,
    /// Log level, as on the command line.
    pub log_level: Option<String>,
    /// Log file.
    pub log: Option<PathBuf>,
}

impl Options {
    /// How long a reader may have to wait.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// Where the files are mounted that the kernel may keep.
    pub fn kept(&self) -> PathBuf {
        self.runtime_dir.join(KEPT)
    }

    /// The control socket.
    pub fn control(&self) -> PathBuf {
        self.runtime_dir.join("control.sock")
    }

    /// Files of attached containers.
    pub fn containers(&self) -> PathBuf {
        self.runtime_dir.join("containers")
    }
}

/// From the holder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Read the configuration and find the cgroups.
    Prepare {
        /// What the daemon was started with.
        options: Box<Options>,
        /// Counts workers.
        generation: u16,
        /// Show host values from the start.
        passthrough: bool,
    },
    /// Take over. Along come both devices, what requests are to be read from (they, or sockets of a
    /// relay), state, control and metrics listener.
    Serve,
    /// Say that you live.
    Ping,
    /// Show host values, or stop doing so.
    Passthrough(bool),
}

/// From the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Ready to take over.
    Prepared,
    /// Taken over.
    Serving,
    /// Alive.
    Pong,
}

/// Sends one message.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let text =
        serde_json::to_vec(message).map_err(|_| Error::new("write a message", Errno::INVAL))?;
    linux::socket::send_fds(socket, &text, fds).map(drop)
}

/// Receives one message; `None` when the other end is gone.
pub fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
    fds: usize,
) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; MESSAGE];
    let (length, fds) = match linux::socket::recv_fds(socket, &mut buffer, fds) {
        Ok((0, _)) => return Ok(None),
        Ok(received) => received,
        Err(error) if error.is(Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error),
    };
    let message = serde_json::from_slice(&buffer[..length])
        .map_err(|_| Error::new("read a message", Errno::BADMSG))?;
    Ok(Some((message, fds)))
}
