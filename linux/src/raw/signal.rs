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
    // SAFETY: SIG_DFL runs no code of ours; what was there before was a handler that nobody expects
    // to run any more, as the caller is about to exec.
    // JUSTIFICATION: unsafe in nix as well, and its enum has no real-time signal.
    match unsafe { libc::signal(signal.get(), libc::SIG_DFL) } {
        libc::SIG_ERR => Err(super::last_errno()),
        _ => Ok(()),
    }
}
