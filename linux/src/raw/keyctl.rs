//! keyctl(2): a session keyring of one's own.

use std::ffi::CStr;

use crate::{Context, Result, fault};

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Leaves the session keyring shared with the caller's session for a new or, when one of that name
/// may be joined, an existing one (`None`: a new nameless one). Answers its serial number.
pub fn join_session_keyring(name: Option<&CStr>) -> Result<i32> {
    fault::check("keyctl")
        .and_then(|()| {
            let name = name.map_or(std::ptr::null(), CStr::as_ptr);
            // SAFETY: this operation of keyctl(2) reads one argument, a NUL-terminated string that
            // outlives the call, or null.
            // JUSTIFICATION: neither rustix nor nix has keyctl.
            match unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) } {
                -1 => Err(super::last_errno()),
                serial => i32::try_from(serial).map_err(|_| crate::Errno::RANGE),
            }
        })
        .during(|| "join a session keyring")
}
