//! `shim.sock`: where it is, how packets go in and out.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use container::layout::running::SHIM_SOCKET;
use linux::socket::{self, Kind};
use linux::{Context as _, Errno, Result};
use rustix::net::{RecvFlags, SendFlags, recv, send as send_to};

/// The listening socket, usable by its owner only. Replaces one that a dead shim left.
pub fn listen(state_dir: &Path) -> Result<OwnedFd> {
    let path = state_dir.join(SHIM_SOCKET);
    remove(&path)?;
    let listener = socket::listen(&path, Kind::SeqPacket)?;
    rustix::io::ioctl_fionbio(&listener, true)
        .during(|| format!("listen at {}", path.display()))?;
    Ok(listener)
}

/// Removes a socket that nobody listens at.
pub fn remove(path: &Path) -> Result<()> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).during(|| format!("remove {}", path.display())),
    }
}

/// A connection to the shim, or `None` when there is none.
pub fn connect(state_dir: &Path) -> Result<Option<OwnedFd>> {
    match socket::connect(state_dir.join(SHIM_SOCKET), Kind::SeqPacket) {
        Ok(connection) => Ok(Some(connection)),
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends one packet; `false` when the other side has gone.
pub fn send(socket: BorrowedFd<'_>, packet: &[u8]) -> Result<bool> {
    loop {
        match send_to(socket, packet, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(false),
            Err(errno) => return Err(errno).during(|| "send to the shim"),
        }
    }
}

/// Receives one packet; `None` when the other side has gone.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<usize>> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(None),
            Ok((length, _)) => return Ok(Some(length)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(|| "receive from the shim"),
        }
    }
}

/// Two connected ends.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socket::pair(Kind::SeqPacket)
}
