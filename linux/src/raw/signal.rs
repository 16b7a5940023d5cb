//! Signal numbers that the enums of rustix and nix do not have, and dispositions.

use nix::sys::signal::SigSet;

use crate::signal::Signal;

/// For sending.
pub(crate) fn rustix(signal: Signal) -> rustix::process::Signal {
    // SAFETY: the number must not be 0, and the type allows 1 to 64. The C library's own 32 and 33
    // must not be used to disturb it in this process; sending to others is what it is for.
    // JUSTIFICATION: rustix names no real-time signal.
    unsafe { rustix::process::Signal::from_raw_unchecked(signal.get()) }
}

/// A set, real-time signals included.
pub(crate) fn set(signals: &[Signal]) -> SigSet {
    let mut set: libc::sigset_t = *SigSet::empty().as_ref();
    for signal in signals {
        // SAFETY: sigaddset(3) wants an initialised set, which SigSet::empty gives; a number out of
        // range is refused.
        // JUSTIFICATION: nix's sets take members of its enum only, which has no real-time signal.
        unsafe { libc::sigaddset(&raw mut set, signal.get()) };
    }
    // SAFETY: the set was initialised by SigSet::empty and changed by sigaddset(3) alone.
    // JUSTIFICATION: as above.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

/// The default disposition.
pub(crate) fn set_default(signal: Signal) -> rustix::io::Result<()> {
    // struct sigaction of the kernel: handler, flags, restorer and mask, of which all are 0 in
    // SIG_DFL. A few more zeros are room for any architecture's order.
    let default = [0_u64; 8];
    // SAFETY: rt_sigaction(2) reads a struct sigaction from an array that is larger, and writes
    // none; SIG_DFL runs no code of ours, and what was there before was a handler that nobody
    // expects to run any more, as the caller is about to exec.
    // JUSTIFICATION: unsafe in nix as well, its enum has no real-time signal, and the C library
    // refuses its own two, which a program inherits as ignored all the same.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal.get(),
            default.as_ptr(),
            std::ptr::null_mut::<u64>(),
            8_usize,
        )
    };
    if answer == 0 { Ok(()) } else { Err(super::last_errno()) }
}
