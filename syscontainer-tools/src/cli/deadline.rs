//! An end to waiting. What is asked of a container's files can be answered by the container (a FUSE
//! filesystem in it), or never.
//!
//! A blocked system call cannot be taken back, so the whole process goes, the blocked call with it.
//! What it was about to do is written down: the next command takes back what was done of it.

use std::time::Duration;

use crate::error::Error;

/// Ends the process after `limit`, unless it has ended by then.
pub(super) fn start(limit: Duration, program: &str, container: &str) {
    let text = format!(
        "{program}: container {container} does not answer for {} s; what was begun is taken back \
         by the next command or by {program} recover",
        limit.as_secs()
    );
    let watch = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        let span = rustix::event::Timespec::try_from(limit).ok();
        let _ = rustix::event::poll(&mut [], span.as_ref());
        ui::report::note(&text);
        linux::process::exit_now(i32::from(Error::Busy(String::new()).code()));
    });
    // Without it a command may wait for ever, and still be killed.
    if let Err(error) = watch {
        tracing::warn!(%error, "could not start a watch over the time");
    }
}
