//! `state.json`, and the supervisor's own few words.
//!
//! The shim is the one writer of `state.json`. How a container ended must survive a crash of the
//! host and is synced, unless the container is removed at its end; what it is while it lives is
//! true for this boot only and is not, or each start would wait for the disk twice.

use std::path::{Path, PathBuf};

use container::state::{Exit, State, Status};
use linux::process::{ExitStatus, Pid};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::restart::{Counters, Reason};

const MODE: u32 = 0o640;
/// The notes stop growing here: they are on a tmpfs.
const NOTES_MAX: u64 = 64 * 1024;

/// The file and what it says.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    state: State,
    /// The container is there after its end.
    stays: bool,
}

impl Record {
    /// A new run of the container begins; what earlier runs left is over.
    pub(super) fn begin(path: PathBuf, auto_remove: bool) -> Self {
        let state = State { status: Status::Starting, ..State::created() };
        Self { path, state, stays: !auto_remove }
    }

    /// Whether the container is removed at its end has been changed.
    pub(super) fn set_auto_remove(&mut self, auto_remove: bool) {
        self.stays = !auto_remove;
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Notes that a start is under way.
    pub(super) fn starting(&mut self) -> linux::Result<()> {
        self.write()
    }

    /// Remembers something for the next time it is written.
    pub(super) fn remember(&mut self, change: impl FnOnce(&mut State)) {
        change(&mut self.state);
    }

    /// Notes that init runs.
    pub(super) fn running(&mut self, pid: Pid, start_time: Option<u64>) -> linux::Result<()> {
        self.state.status = Status::Running;
        self.state.pid = Some(pid.get());
        self.state.start_time = start_time;
        self.state.boot = container::state::boot();
        self.state.started_at = now();
        self.state.error = String::new();
        self.state.oom_killed = false;
        self.state.ready = false;
        self.write()
    }

    /// Notes how init ended and what comes next.
    pub(super) fn ended(
        &mut self,
        status: Status,
        exit: ExitStatus,
        reason: Option<Reason>,
        counters: &Counters,
    ) -> linux::Result<()> {
        self.state.pid = None;
        self.state.start_time = None;
        self.state.status = status;
        self.state.finished_at = now();
        self.state.exit_code = exit.code();
        self.state.exit = Some(match exit {
            ExitStatus::Exited(code) => Exit::Exited(code),
            ExitStatus::Killed { signal, .. } => Exit::Killed(signal),
        });
        self.state.reason = reason.map(|reason| reason.as_str().to_owned());
        self.state.restart_count = counters.restarts;
        self.state.reboot_count = counters.reboots;
        self.state.ready = false;
        self.write()
    }

    /// Notes that a start went wrong.
    pub(super) fn failed(&mut self, error: String, exit_code: u8) -> linux::Result<()> {
        self.state.status = Status::Stopped;
        self.state.pid = None;
        self.state.start_time = None;
        self.state.finished_at = now();
        self.state.exit_code = i32::from(exit_code);
        self.state.exit = None;
        self.state.error = error;
        self.write()
    }

    /// Changes a word or two.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut State)) -> linux::Result<()> {
        let before = self.state.clone();
        change(&mut self.state);
        if self.state == before {
            return Ok(());
        }
        self.write()
    }

    fn write(&self) -> linux::Result<()> {
        match self.state.status {
            Status::Stopped if self.stays => {
                linux::file::write_lasting(&self.path, self.text(), MODE)
            }
            _ => linux::file::write_atomic(&self.path, self.text(), MODE),
        }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(&self.state).expect("a plain struct serializes");
        text.push(b'\n');
        text
    }
}

/// What the supervisor has to say once nobody listens: `shim.log` in the state directory.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
}

impl Notes {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("shim.log") }
    }

    /// Adds a line, unless there are too many.
    pub(super) fn add(&self, text: impl std::fmt::Display) {
        let length = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        if length < NOTES_MAX {
            let line = format!("{} {text}\n", now());
            // Nobody is left to be told that there is no room for this either.
            let _ = linux::file::append(&self.path, line, 0o600);
        }
    }

    /// Adds a line when something went wrong.
    pub(super) fn check(&self, result: Result<(), impl Into<anyhow::Error>>) {
        if let Err(error) = result {
            let error: anyhow::Error = error.into();
            self.add(format_args!("{error:#}"));
        }
    }
}

pub(super) fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests;
