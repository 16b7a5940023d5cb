//! The three standard streams of a process about to be executed.

use std::os::fd::{AsFd as _, BorrowedFd, RawFd};

use linux::error::Context as _;

use crate::{Error, Result, Stdio};

/// Makes sure that the descriptors to be passed on, 3 to 3+n-1, are there and are the caller's: a
/// number that is free would become one of ours.
pub(crate) fn check_preserved(count: u32) -> Result<()> {
    for fd in 3..count.saturating_add(3) {
        if !RawFd::try_from(fd).is_ok_and(linux::fd::is_inheritable) {
            return Err(Error::Usage(format!(
                "pass on {count} descriptors from 3: descriptor {fd} is not open, or not to be \
                 passed on"
            )));
        }
    }
    Ok(())
}

/// Three descriptors, wherever they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams<'a>([BorrowedFd<'a>; 3]);

impl<'a> From<Stdio<'a>> for Streams<'a> {
    fn from(stdio: Stdio<'a>) -> Self {
        match stdio {
            Stdio::Inherit => {
                Self([rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()])
            }
            Stdio::Use { stdin, stdout, stderr } => Self([stdin, stdout, stderr]),
        }
    }
}

impl<'a> Streams<'a> {
    pub(crate) fn new(
        stdin: BorrowedFd<'a>,
        stdout: BorrowedFd<'a>,
        stderr: BorrowedFd<'a>,
    ) -> Self {
        Self([stdin, stdout, stderr])
    }

    pub(crate) fn all(&self) -> [BorrowedFd<'a>; 3] {
        self.0
    }

    /// Makes them descriptors 0, 1 and 2 of the calling process.
    pub(crate) fn become_stdio(&self) -> Result<()> {
        use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
        let act = || "set the standard streams".to_owned();
        let [stdin, stdout, stderr] = self.0;
        let copy = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
        // Copied out of the way first: one of them may be another's number.
        let copies =
            [copy(stdin).during(act)?, copy(stdout).during(act)?, copy(stderr).during(act)?];
        dup2_stdin(copies[0].as_fd()).during(act)?;
        dup2_stdout(copies[1].as_fd()).during(act)?;
        dup2_stderr(copies[2].as_fd()).during(act)?;
        Ok(())
    }
}
