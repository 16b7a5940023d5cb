//! _exit(2).

pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    // JUSTIFICATION: rustix has it behind an experimental feature, and std's exit runs handlers and
    // flushes buffers that a forked copy shares with its parent.
    unsafe { libc::_exit(code) }
}
