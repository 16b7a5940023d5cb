//! The caller's terminal in raw mode, and back.
//!
//! It is given back when the guard is dropped and when the process panics (a panic may abort, and
//! then nothing is dropped). Signals are the session's business: it catches them and ends.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

use linux::Context as _;
use rustix::termios::{
    OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::shim::protocol::Size;

/// A terminal that passes every key as it is.
#[derive(Debug)]
pub(super) struct RawTerminal {
    fd: OwnedFd,
    raw: Termios,
}

/// What the terminal was like, for the guard and for a panic.
static BEFORE: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

impl RawTerminal {
    /// Takes over the terminal behind `fd`; `None` when it is not a terminal.
    pub(super) fn enter(fd: impl AsFd) -> linux::Result<Option<Self>> {
        if !isatty(&fd) {
            return Ok(None);
        }
        let act = || "set the terminal to raw mode";
        let duplicate = || rustix::io::fcntl_dupfd_cloexec(&fd, 3);
        let before = tcgetattr(&fd).during(act)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((duplicate().during(act)?, before));
        restore_on_panic();
        let terminal = Self { fd: duplicate().during(act)?, raw };
        terminal.reapply()?;
        Ok(Some(terminal))
    }

    /// Raw mode again: a shell that stopped and continued us has set its own.
    pub(super) fn reapply(&self) -> linux::Result<()> {
        tcsetattr(&self.fd, OptionalActions::Drain, &self.raw)
            .during(|| "set the terminal to raw mode")
    }

    /// How large it is now.
    pub(super) fn size(&self) -> Option<Size> {
        let Winsize { ws_row: rows, ws_col: cols, .. } = tcgetwinsize(&self.fd).ok()?;
        Some(Size { rows, cols })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // A panic may have happened under the lock; the value is whole all the same.
    if let Some((fd, before)) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // The terminal may have hung up; there is nobody to tell.
        let _ = tcsetattr(fd, OptionalActions::Drain, &before);
    }
}

fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // The lock is never held across code that can panic, so this does not wait.
            restore();
            next(panic);
        }));
    });
}

#[cfg(test)]
mod tests;
