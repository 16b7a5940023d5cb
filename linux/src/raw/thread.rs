//! unshare(2): namespaces, the working directory, and asking whether we are alone.

use rustix::thread::UnshareFlags;

use crate::ns::CloneFlags;

fn call(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: the one requirement concerns CLONE_FILES, which no caller in this file passes.
    // JUSTIFICATION: rustix has deprecated its safe form, and nix's knows no CLONE_NEWTIME.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// New namespaces for the calling thread.
pub(crate) fn unshare(flags: CloneFlags) -> rustix::io::Result<()> {
    let bits = u32::try_from((flags - CloneFlags::PARENT).bits()).unwrap_or_default();
    call(UnshareFlags::from_bits_retain(bits))
}

/// Root, working directory and umask of its own for the calling thread.
pub(crate) fn unshare_fs() -> rustix::io::Result<()> {
    call(UnshareFlags::FS)
}

/// unshare(2) takes CLONE_THREAD from the only thread of a process, and refuses it otherwise.
pub(crate) fn is_only_thread() -> bool {
    call(UnshareFlags::from_bits_retain(linux_raw_sys::general::CLONE_THREAD)).is_ok()
}
