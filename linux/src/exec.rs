//! Becoming another program. These return on failure only.
//!
//! Descriptors without close-on-exec, the signal mask and ignored signals pass on
//! ([`crate::signal::restore_defaults`]).

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use nix::fcntl::AtFlags;

use crate::{Errno, Error, fault};

/// execve(2) of a path, resolved in the caller's root; no search in `PATH`.
pub fn exec(path: &CStr, args: &[CString], env: &[CString]) -> Error {
    let describe = |errno| Error::new(format!("exec {}", path.to_string_lossy()), errno);
    if let Err(errno) = fault::check("execve") {
        return describe(errno);
    }
    let Err(errno) = nix::unistd::execve(path, args, env);
    describe(Errno::from_raw_os_error(errno as i32))
}

/// execveat(2) of an open file (`O_PATH` will do): what was looked at is what runs.
///
/// A script whose descriptor is close-on-exec cannot be run so (`ENOENT`): its interpreter would
/// have to open it by /dev/fd.
pub fn exec_fd(program: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Error {
    let describe = |errno| {
        let name = args.first().map(|name| name.to_string_lossy().into_owned());
        Error::new(format!("exec {}", name.unwrap_or_default()), errno)
    };
    if let Err(errno) = fault::check("execveat") {
        return describe(errno);
    }
    let Err(errno) = nix::unistd::execveat(program, c"", args, env, AtFlags::AT_EMPTY_PATH);
    describe(Errno::from_raw_os_error(errno as i32))
}
