//! SO_PEERCRED of unix(7).

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Three ints.
const SIZE: libc::socklen_t = 12;
const _: () = assert!(size_of::<libc::ucred>() == 12, "struct ucred of unix(7)");

/// The pid is 0 when the peer is out of sight in our pid namespace.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> rustix::io::Result<libc::ucred> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut size = SIZE;
    // SAFETY: getsockopt(2) writes at most `size` bytes to the value and the new size to `size`:
    // both are locals of that size, and every bit pattern is a ucred.
    // JUSTIFICATION: rustix reads the pid into a type that must not be 0; nix's function costs a
    // feature with a dependency of its own.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut size,
        )
    };
    if answer == 0 { Ok(peer) } else { Err(super::last_errno()) }
}
