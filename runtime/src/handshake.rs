//! What parent and child tell each other while a container is made: packets on a socket pair.
//!
//! ```text
//! child                         parent
//!                               writes the id maps, idmaps the mounts
//!             <--- Proceed ---  (with a user namespace)
//! Unreachable  --->             attaches the rootfs from outside, Proceed
//! Mounted      --->             runs prestart and createRuntime hooks, Proceed
//! Ready (+ pty) --->            writes the state file
//!             <--- Proceed ---
//! Failed(error) instead of any
//! ```
//!
//! The end of the stream stands for a dead partner: the child exits, the parent cleans up. So a
//! child whose parent is killed half-way never becomes a container.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use linux::Errno;
use linux::socket::{self, Kind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{Error, Result};

/// Longer texts are cut: no error needs more. Whoever receives has a page for it.
const MAX: usize = 4094;

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Proceed,
    Unreachable,
    Mounted,
    Ready,
    /// Init of a container in a user namespace given by path: its pid, with its pidfd.
    Born(i32),
    Failed {
        kind: io::ErrorKind,
        text: String,
    },
}

impl Channel {
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (one, other) = socket::pair(Kind::SeqPacket)?;
        Ok((Self(one), Self(other)))
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn send(&self, message: &Message) -> Result<()> {
        self.send_with(message, None)
    }

    /// Sends a message together with a descriptor.
    pub(crate) fn send_with(&self, message: &Message, fd: Option<&OwnedFd>) -> Result<()> {
        let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
        socket::send_fds(&self.0, &message.encode(), &fds)?;
        Ok(())
    }

    /// The error a partner that is gone has left unread, if it has.
    pub(crate) fn last_words(&self) -> Option<Error> {
        loop {
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if !matches!(poll(&mut fds, Some(&now)), Ok(1..)) {
                return None;
            }
            if let (Message::Failed { kind, text }, _) = self.receive().ok()?? {
                return Some(Error::Child { kind, text });
            }
        }
    }

    /// The next message; none at the end of the stream.
    pub(crate) fn receive(&self) -> Result<Option<(Message, Option<OwnedFd>)>> {
        let mut bytes = vec![0; MAX + 2];
        let (length, mut fds) = match socket::recv_fds(&self.0, &mut bytes, 1) {
            // The partner died before it read what we sent.
            Err(error) if error.is(Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
        Ok(Message::decode(&bytes[..length]).map(|message| (message, fds.pop())))
    }
}

impl Message {
    pub(crate) fn failed(error: &Error) -> Self {
        Self::Failed { kind: error.kind(), text: error.flatten() }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Proceed => vec![b'p'],
            Self::Unreachable => vec![b'u'],
            Self::Mounted => vec![b'm'],
            Self::Ready => vec![b'r'],
            Self::Born(pid) => [b"b".as_slice(), &pid.to_ne_bytes()].concat(),
            Self::Failed { kind, text } => {
                let mut end = text.len().min(MAX);
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                [b"f".as_slice(), &[code(*kind)], &text.as_bytes()[..end]].concat()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        Some(match tag {
            b'p' => Self::Proceed,
            b'u' => Self::Unreachable,
            b'm' => Self::Mounted,
            b'r' => Self::Ready,
            b'b' => Self::Born(i32::from_ne_bytes(rest.try_into().ok()?)),
            _ => {
                let (code, text) = rest.split_first()?;
                let text = String::from_utf8_lossy(text).into_owned();
                Self::Failed { kind: kind(*code), text }
            }
        })
    }
}

/// The kinds a caller acts on: 127 and 126 of a shell.
fn code(kind: io::ErrorKind) -> u8 {
    match kind {
        io::ErrorKind::NotFound => b'n',
        io::ErrorKind::PermissionDenied => b'd',
        _ => b'o',
    }
}

fn kind(code: u8) -> io::ErrorKind {
    match code {
        b'n' => io::ErrorKind::NotFound,
        b'd' => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests;
