//! Waiting for a worker's words.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Result, bail};

use super::START;
use crate::orders::{self, Answer};

/// Whether the worker says something within `limit`.
pub(super) fn is_readable(link: &OwnedFd, limit: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let span = Timespec::try_from(limit).ok();
    let mut fds = [PollFd::new(link, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, span.as_ref())).is_ok_and(|ready| ready > 0)
}

/// Waits for the one answer that may come now.
pub(super) fn expect(link: &OwnedFd, wanted: Answer) -> Result<()> {
    if !is_readable(link, START) {
        bail!("the worker was not {wanted:?} within {} s", START.as_secs());
    }
    match orders::receive::<Answer>(link, 0)? {
        Some((answer, _)) if answer == wanted => Ok(()),
        Some((answer, _)) => bail!("the worker was {answer:?}, not {wanted:?}"),
        None => bail!("the worker ended before it was {wanted:?}"),
    }
}
