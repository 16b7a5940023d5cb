//! `shim.sock`: where it is, how packets go in and out.
//!
//! The address is made through `/proc/self/fd`: `sun_path` holds 108 bytes (unix(7)), a state
//! directory may be anywhere.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, listen,
    recv, send as send_to, socket_with,
};

/// Name of the socket in a container's state directory.
pub const SOCKET: &str = "shim.sock";
const BACKLOG: i32 = 64;

/// The listening socket, usable by its owner only. Replaces one that a dead shim left.
pub fn bind_listener(state_dir: &Path) -> Result<OwnedFd> {
    let directory = open_directory(state_dir)?;
    let act = || format!("listen on {}", state_dir.join(SOCKET).display());
    match rustix::fs::unlinkat(&directory, SOCKET, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).with_context(act),
    }
    let listener = new_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    bind(&listener, &address(&directory)?).with_context(act)?;
    // The directory is the owner's alone, so nobody can come in between.
    rustix::fs::chmodat(
        &directory,
        SOCKET,
        Mode::from_raw_mode(0o600),
        rustix::fs::AtFlags::empty(),
    )
    .with_context(act)?;
    listen(&listener, BACKLOG).with_context(act)?;
    Ok(listener)
}

/// A connection to the shim, or `None` when there is none.
pub fn connect(state_dir: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(state_dir, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).with_context(|| format!("open {}", state_dir.display())),
    };
    let socket = new_socket(SocketFlags::CLOEXEC)?;
    let address = address(&directory)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(Some(socket)),
            Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(errno)
                    .with_context(|| format!("connect to {}", state_dir.join(SOCKET).display()));
            }
        }
    }
}

/// Sends one packet; `false` when the other side has gone.
pub fn send(socket: BorrowedFd<'_>, packet: &[u8]) -> Result<bool> {
    loop {
        match send_to(socket, packet, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(false),
            Err(errno) => return Err(errno).context("send to the shim"),
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
            Err(errno) => return Err(errno).context("receive from the shim"),
        }
    }
}

/// Two connected ends.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("make a socket pair")
}

fn new_socket(flags: SocketFlags) -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).context("make a socket")
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).with_context(|| format!("open {}", path.display()))
}

fn address(directory: &OwnedFd) -> Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_fd().as_raw_fd());
    SocketAddrUnix::new(path).context("make a socket address")
}
