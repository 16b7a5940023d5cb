//! How whoever started us learns what came of it, and how the guest says that it is up.
//!
//! The guest's side is systemd's protocol (sd_notify(3)): datagrams of `KEY=VALUE` lines. They
//! come from inside, where anyone may send, so of all they may say only `READY=1` is heard.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::socket::{Kind, listen};
use linux::{Context as _, Errno, Result};
use rustix::fs::Mode;
use rustix::net::{RecvFlags, recv};

use super::protocol::Ready;

const DATAGRAM_MAX: usize = 4096;
/// Datagrams looked at before everything else gets its turn.
const TURNS: usize = 16;

/// The write end of the ready pipe.
#[derive(Debug)]
pub(super) struct ReadyPipe(Option<File>);

impl ReadyPipe {
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self(Some(File::from(pipe)))
    }

    /// For whom nobody waits.
    pub(super) fn closed() -> Self {
        Self(None)
    }

    /// Writes one line. Whether anyone still reads it is not our concern.
    pub(super) fn tell(&mut self, line: &Ready) {
        if let Some(pipe) = &mut self.0 {
            let mut text = serde_json::to_vec(line).expect("plain structs serialize into a Vec");
            text.push(b'\n');
            let _ = pipe.write_all(&text);
        }
    }

    /// Nothing more will be said.
    pub(super) fn close(&mut self) {
        self.0 = None;
    }
}

/// The socket that the guest's NOTIFY_SOCKET names.
#[derive(Debug)]
pub(super) struct NotifySocket(OwnedFd);

impl NotifySocket {
    /// Makes the socket, in the place of one that a dead shim left. Everyone may write to it: the
    /// guest's root may be any host user, and on the host the directory is closed to all but root.
    pub(super) fn bind(path: &Path) -> Result<Self> {
        super::transport::remove(path)?;
        let socket = listen(path, Kind::Datagram)?;
        rustix::fs::chmod(path, Mode::from_raw_mode(0o666))
            .during(|| format!("open {} to everyone", path.display()))?;
        Ok(Self(socket))
    }

    /// Reads what has come; whether `READY=1` was among it.
    pub(super) fn receive(&self) -> bool {
        let mut ready = false;
        let mut datagram = [0; DATAGRAM_MAX];
        for _ in 0..TURNS {
            // Without room for control data, descriptors sent along are closed by the kernel.
            match recv(&self.0, &mut datagram[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => ready |= says_ready(&datagram[..length]),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        ready
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn says_ready(datagram: &[u8]) -> bool {
    datagram.split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests;
