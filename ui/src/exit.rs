//! Exit codes, by name.

use std::process::ExitCode;

/// How a program of ours ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const DONE: Self = Self(0);
    /// What was asked did not happen, or not all of it.
    pub const FAILED: Self = Self(1);
    /// The command line is wrong.
    pub const USAGE: Self = Self(2);
    /// `run`, `create`, `exec`: wrong usage, or no process came to be.
    pub const NOT_STARTED: Self = Self(125);
    /// The command was found and could not be executed.
    pub const NOT_EXECUTABLE: Self = Self(126);
    /// The command was not found.
    pub const NOT_FOUND: Self = Self(127);

    /// The exit code of a process of ours; codes are eight bits (wait(2)).
    #[must_use]
    pub fn of_process(code: i32) -> Self {
        Self(u8::try_from(code & 0xff).expect("masked to eight bits"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
