//! Who has ended among our children: init, and the orphans that came to us as their subreaper.

use linux::process::{ExitStatus, Pid};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};

/// Reaps every child that has ended and answers how `init` did, if it is among them.
pub(super) fn reap(init: Option<Pid>) -> Option<ExitStatus> {
    let mut end = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if Some(Pid::from(pid)) == init => end = exit_status(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return end,
        }
    }
}

fn exit_status(status: WaitStatus) -> Option<ExitStatus> {
    // WCOREDUMP, wait(2).
    const CORE: i32 = 0x80;
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(ExitStatus::Exited(code)),
        (_, Some(signal)) => Some(ExitStatus::Killed { signal, core: status.as_raw() & CORE != 0 }),
        _ => None,
    }
}
