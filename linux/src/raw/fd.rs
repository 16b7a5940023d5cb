//! close_range(2), and close(2) of a descriptor that is known by its number alone.

use std::os::fd::RawFd;

use crate::Errno;

/// Needs Linux 5.9; with `on_exec` 5.11.
pub(crate) fn close_range(first: RawFd, last: RawFd, on_exec: bool) -> rustix::io::Result<()> {
    let flags = if on_exec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    let first = u32::try_from(first).map_err(|_| Errno::BADF)?;
    let last = u32::try_from(last).map_err(|_| Errno::BADF)?;
    // SAFETY: close_range(2) takes three numbers and touches no memory. That nobody uses what it
    // closes is the caller's promise: see `crate::fd`.
    // JUSTIFICATION: neither rustix nor nix has it.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if answer == 0 { Ok(()) } else { Err(super::last_errno()) }
}

/// Marks one descriptor close-on-exec, on older kernels.
pub(crate) fn set_close_on_exec(fd: RawFd) -> rustix::io::Result<()> {
    // SAFETY: fcntl(2) with F_SETFD takes numbers and touches no memory; an unknown descriptor is
    // answered with EBADF.
    // JUSTIFICATION: the descriptor was listed by number, nobody lends it to us as a value.
    let answer = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if answer == 0 { Ok(()) } else { Err(super::last_errno()) }
}

/// Whether a descriptor is marked close-on-exec; `EBADF` when it is not open.
pub(crate) fn close_on_exec(fd: RawFd) -> rustix::io::Result<bool> {
    // SAFETY: fcntl(2) with F_GETFD takes numbers and touches no memory; an unknown descriptor is
    // answered with EBADF.
    // JUSTIFICATION: whether it is open is the question, so nobody can lend it to us as a value.
    match unsafe { libc::fcntl(fd, libc::F_GETFD) } {
        -1 => Err(super::last_errno()),
        flags => Ok(flags & libc::FD_CLOEXEC != 0),
    }
}

/// Closes one descriptor, on older kernels.
pub(crate) fn close(fd: RawFd) -> rustix::io::Result<()> {
    // SAFETY: close(2) takes a number and touches no memory; that nobody uses the descriptor again
    // is the caller's promise, as above.
    // JUSTIFICATION: the descriptor was listed by number, there is no value to drop.
    let answer = unsafe { libc::close(fd) };
    if answer == 0 { Ok(()) } else { Err(super::last_errno()) }
}
