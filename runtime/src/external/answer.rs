//! What a foreign runtime tells: its log, in the kinds that callers tell apart, and its pid files.

use std::io::ErrorKind;
use std::path::Path;

use linux::process::{Pid, PidFd};
use oci_spec::runtime::Process;
use serde_json::Value;

use crate::{Error, Result};

/// The message of the last record of an error.
pub(super) fn last_error(log: &str) -> Option<String> {
    log.lines().rev().find_map(|line| {
        let record: Value = serde_json::from_str(line).ok()?;
        let is_error = matches!(record["level"].as_str(), Some("error" | "fatal"));
        record["msg"].as_str().filter(|_| is_error).map(str::to_owned)
    })
}

/// A program of the container that is not there, or may not be executed: by the words that runc,
/// crun and our own have for it.
pub(super) fn kind_of(text: &str) -> ErrorKind {
    let lower = text.to_ascii_lowercase();
    let is_program = ["executable file", "open executable", "exec: ", "run \""]
        .iter()
        .any(|words| lower.contains(words));
    match () {
        () if !is_program => ErrorKind::Other,
        () if lower.contains("not found") || lower.contains("no such file") => ErrorKind::NotFound,
        () if lower.contains("permission denied") => ErrorKind::PermissionDenied,
        () => ErrorKind::Other,
    }
}

/// Names the program that could not be executed, where the runtime does not: crun 1.8 says `open
/// executable: Permission denied`.
pub(super) fn naming(error: Error, process: &Process) -> Error {
    let program = process.args().as_ref().and_then(|args| args.first());
    match (error, program) {
        (Error::Child { kind, text }, Some(program))
            if kind != ErrorKind::Other && !text.contains(program.as_str()) =>
        {
            Error::Child { kind, text: format!("execute {program:?}: {text}") }
        }
        (error, _) => error,
    }
}

/// The process a runtime has written down.
pub(super) fn process_of(pid_file: &Path) -> Result<(Pid, PidFd)> {
    let text = linux::file::read_to_string(pid_file)?;
    let pid = text.trim().parse().ok().and_then(Pid::new).ok_or_else(|| Error::File {
        act: format!("read {}", pid_file.display()),
        reason: format!("{:?} is no pid", text.trim()),
    })?;
    // Our child by now: its pid is not given to another before we have waited for it.
    Ok((pid, PidFd::open(pid)?))
}

#[cfg(test)]
mod tests;
