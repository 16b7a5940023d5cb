//! A pseudoterminal out of a given devpts instance, and a terminal's size and mode.
//!
//! The peer is opened through the master (`TIOCGPTPEER`, ioctl_tty(2)): by its name it could be
//! the pty of another devpts instance.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};

use crate::{Context, Errno, Error, Result};

/// Both ends, close-on-exec, neither anyone's controlling terminal.
#[derive(Debug)]
pub struct Pty {
    /// Our end.
    pub master: OwnedFd,
    /// The program's end.
    pub peer: OwnedFd,
}

/// A pair of the devpts instance whose root directory is `devpts`.
pub fn open_in(devpts: BorrowedFd<'_>) -> Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = rustix::fs::openat(devpts, "ptmx", flags, Mode::empty()).map_err(explain_open)?;
    // Before any ioctl: a device node of this name could be another driver's.
    if crate::mount::fstype(&master)? != u64::from(linux_raw_sys::general::DEVPTS_SUPER_MAGIC) {
        return Err(Error::new("open ptmx", Errno::NOTTY)
            .with_hint("it is not on devpts; mount one at /dev/pts"));
    }
    rustix::pty::unlockpt(&master).during(|| "unlock a pty")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let peer =
        rustix::pty::ioctl_tiocgptpeer(&master, flags).during(|| "open the peer of a pty")?;
    Ok(Pty { master, peer })
}

fn explain_open(errno: Errno) -> Error {
    let error = Error::new("open ptmx", errno);
    match errno {
        Errno::ACCESS => error.with_hint("mount devpts with ptmxmode=0666"),
        Errno::NOSPC => {
            error.with_hint("raise max= of the devpts mount or /proc/sys/kernel/pty/max")
        }
        _ => error,
    }
}

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The size of a terminal, either end.
pub fn size(terminal: impl AsFd) -> Result<Size> {
    let size = rustix::termios::tcgetwinsize(terminal).during(|| "read the terminal's size")?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the size; the foreground process group gets SIGWINCH when it changed.
pub fn set_size(terminal: impl AsFd, size: Size) -> Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).during(|| "set the terminal's size")
}

/// Makes `terminal` the controlling terminal of the caller, who leads a session that has none.
pub fn make_controlling(terminal: impl AsFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal).during(|| "make it the controlling terminal")
}

/// Raw mode as long as this lives: every byte passes as it is.
#[derive(Debug)]
pub struct RawMode<Fd: AsFd> {
    terminal: Fd,
    before: Termios,
}

impl<Fd: AsFd> RawMode<Fd> {
    /// `ENOTTY` when it is no terminal.
    pub fn enter(terminal: Fd) -> Result<Self> {
        let before = rustix::termios::tcgetattr(&terminal).during(|| "read the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal, OptionalActions::Flush, &raw)
            .during(|| "set the terminal's mode")?;
        Ok(Self { terminal, before })
    }
}

impl<Fd: AsFd> Drop for RawMode<Fd> {
    fn drop(&mut self) {
        // The terminal may have gone away: then there is nothing to put right.
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_ptmx_elsewhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ptmx"), "").unwrap();
        let dir = std::fs::File::open(dir.path()).unwrap();
        expect!["open ptmx: inappropriate ioctl for device (ENOTTY); it is not on devpts; mount one at /dev/pts"]
            .assert_eq(&open_in(dir.as_fd()).unwrap_err().to_string());
        expect!["read the terminal's mode: inappropriate ioctl for device (ENOTTY)"]
            .assert_eq(&RawMode::enter(&dir).unwrap_err().to_string());
    }
}
