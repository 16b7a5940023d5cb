//! An end to waiting. What is asked of a container's files can be answered by the container (a FUSE
//! filesystem in it), or never.
//!
//! A blocked system call cannot be taken back, so the whole process goes, the blocked call with it.
//! What it was about to do is written down: the next command takes back what was done of it. Where
//! the filesystem has taken a question and keeps it, the kernel lets nobody go before it answers or
//! ends (request_wait_answer() of fs/fuse/dev.c): that is told, and so is what ends it.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use crate::error::Error;

/// A thread that waits, and what ends its waiting.
struct Watch {
    until: Instant,
    text: String,
    stop: std::sync::Arc<OwnedFd>,
    thread: JoinHandle<()>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// How long a command waits for a container's files.
#[derive(Debug, Clone)]
pub struct Limit {
    /// The time from the first look at them on.
    pub time: Duration,
    /// What the program is called.
    pub program: String,
}

impl Limit {
    /// Ends the process when the time is over, unless it has ended by then. The first call counts.
    pub(crate) fn begin(&self, container: &str) {
        if WATCH.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return;
        }
        let Self { time, program } = self;
        let text = format!(
            "{program}: container {container} does not answer for {} s; what was begun is taken \
             back by the next command or by {program} recover; if this one does not end now, it \
             does with the container",
            time.as_secs()
        );
        run(Instant::now() + *time, text);
    }
}

fn run(until: Instant, text: String) {
    let watch = || -> std::io::Result<Watch> {
        let stop = std::sync::Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?);
        let (heard, said) = (std::sync::Arc::clone(&stop), text.clone());
        let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).ok();
            let mut fds = [PollFd::new(&*heard, PollFlags::IN)];
            if matches!(rustix::event::poll(&mut fds, left.as_ref()), Ok(1..)) {
                return;
            }
            ui::report::note(&said);
            linux::process::exit_now(i32::from(Error::Busy(String::new()).code()));
        })?;
        Ok(Watch { until, text: text.clone(), stop, thread })
    };
    match watch() {
        Ok(watch) => *WATCH.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch),
        // Without it a command may wait for ever, and still be killed.
        Err(error) => tracing::warn!(%error, "could not start a watch over the time"),
    }
}

/// Runs `act` while the caller is the only thread, as a fork needs it, and watches again. `act` has
/// an end of its own.
pub(crate) fn alone<T>(act: impl FnOnce() -> T) -> T {
    let watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Watch { until, text, stop, thread }) = watch else { return act() };
    // It ends by this, or ends the process.
    let _ = rustix::io::write(&stop, &1_u64.to_ne_bytes());
    let _ = thread.join();
    let done = act();
    run(until, text);
    done
}
