//! Unix sockets: at paths of any length, carrying descriptors, knowing who is at the other end.
//!
//! A socket address holds 108 bytes (unix(7)). A longer path is reached through its directory:
//! `/proc/self/fd/N/name`, which needs a mounted /proc.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::process::Pid;
use crate::{Context, Errno, Error, Result};

/// How bytes are kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A stream of bytes.
    Stream,
    /// A connection of messages: each arrives whole, an empty read is the end.
    SeqPacket,
    /// Messages without a connection.
    Datagram,
}

impl Kind {
    fn socket_type(self) -> SocketType {
        match self {
            Self::Stream => SocketType::STREAM,
            Self::SeqPacket => SocketType::SEQPACKET,
            Self::Datagram => SocketType::DGRAM,
        }
    }
}

/// The most descriptors that the kernel lets one message carry (SCM_MAX_FD).
const MAX_FDS: usize = 253;

/// A listening socket at `path`, which must not exist, with mode 0600 whatever the umask. A
/// datagram socket is bound only.
pub fn listen(path: impl AsRef<Path>, kind: Kind) -> Result<OwnedFd> {
    let path = path.as_ref();
    let call = || format!("listen at {}", path.display());
    let socket = new(kind).during(call)?;
    let (_dir, address) = address(path, call)?;
    // The mode of the file is the mode of the socket: set before it has an address, there is no
    // moment in which others can connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).during(call)?;
    rustix::net::bind(&socket, &address).map_err(|errno| {
        let error = Error::new(call(), errno);
        match errno {
            Errno::ADDRINUSE => error.with_hint("something is at this path; remove it first"),
            _ => error,
        }
    })?;
    if kind != Kind::Datagram {
        rustix::net::listen(&socket, 128).during(call)?;
    }
    Ok(socket)
}

/// A socket connected to the listener at `path`.
pub fn connect(path: impl AsRef<Path>, kind: Kind) -> Result<OwnedFd> {
    let path = path.as_ref();
    let call = || format!("connect to {}", path.display());
    let socket = new(kind).during(call)?;
    let (_dir, address) = address(path, call)?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address)).during(call)?;
    Ok(socket)
}

/// The next connection.
pub fn accept(listener: impl AsFd) -> Result<OwnedFd> {
    rustix::io::retry_on_intr(|| rustix::net::accept_with(listener.as_fd(), SocketFlags::CLOEXEC))
        .during(|| "accept a connection")
}

/// Two connected sockets.
pub fn pair(kind: Kind) -> Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, kind.socket_type(), flags, None)
        .during(|| "make a socket pair")
}

fn new(kind: Kind) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, kind.socket_type(), flags, None)
}

/// The address, and the directory that must stay open while it is used.
fn address(path: &Path, call: impl Fn() -> String) -> Result<(Option<OwnedFd>, SocketAddrUnix)> {
    match SocketAddrUnix::new(path) {
        Ok(address) => return Ok((None, address)),
        Err(Errno::NAMETOOLONG) => {}
        Err(errno) => return Err(Error::new(call(), errno)),
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(call(), Errno::INVAL));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir =
        rustix::fs::open(dir, flags, Mode::empty()).during(|| format!("open {}", dir.display()))?;
    let mut short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    short.push(name);
    let address = SocketAddrUnix::new(&short).during(call)?;
    Ok((Some(dir), address))
}

/// Sends `payload` (at least one byte) and descriptors along with its first byte. Answers how much
/// was sent: all of it unless it is a stream.
pub fn send_fds(socket: impl AsFd, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize> {
    let call = || "send descriptors";
    if payload.is_empty() || fds.len() > MAX_FDS {
        return Err(Error::new(call(), Errno::INVAL));
    }
    let mut space = vec![MaybeUninit::uninit(); control_space(fds.len())];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Error::new(call(), Errno::INVAL));
    }
    // Without NOSIGNAL a peer that has gone would kill us.
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            socket.as_fd(),
            &[IoSlice::new(payload)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })
    .during(call)
}

/// Receives a message and at most `max_fds` descriptors, close-on-exec. 0 bytes are the end.
///
/// A message with more descriptors, or longer than `payload`, is refused (`EMSGSIZE`); those that
/// came are closed.
pub fn recv_fds(
    socket: impl AsFd,
    payload: &mut [u8],
    max_fds: usize,
) -> Result<(usize, Vec<OwnedFd>)> {
    let call = || "receive descriptors";
    let mut space = vec![MaybeUninit::uninit(); control_space(max_fds.min(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            socket.as_fd(),
            &mut [IoSliceMut::new(payload)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })
    .during(call)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    // The control buffer is aligned up, so one more than asked for may fit into it.
    let cut = message.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC);
    if cut || fds.len() > max_fds {
        return Err(Error::new(call(), Errno::MSGSIZE));
    }
    Ok((message.bytes, fds))
}

fn control_space(fds: usize) -> usize {
    if fds == 0 { 0 } else { rustix::cmsg_space!(ScmRights(fds)) }
}

/// Who connected, listened, or made the pair: as it was at that moment (SO_PEERCRED).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// `None` when it is out of sight in our pid namespace.
    pub pid: Option<Pid>,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// The credentials of the other end.
pub fn peer_credentials(socket: impl AsFd) -> Result<Credentials> {
    let peer = crate::raw::socket::peer_credentials(socket.as_fd())
        .during(|| "ask who is at the other end of a socket")?;
    Ok(Credentials { pid: Pid::new(peer.pid), uid: peer.uid, gid: peer.gid })
}

#[cfg(test)]
mod tests;
