//! Who has ended among our children: init, health checks, and the orphans that came to us as their
//! subreaper.

use linux::process::{ExitStatus, Pid};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};

/// Reaps every child that has ended.
pub(super) fn reap() -> Vec<(Pid, ExitStatus)> {
    let mut ended = vec![];
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                ended.extend(exit_status(status).map(|status| (Pid::from(pid), status)));
            }
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return ended,
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
