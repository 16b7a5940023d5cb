//! The session keyring (session-keyring(7)): keys of the caller are not the container's.

use std::ffi::CString;

use linux::raw::keyctl::join_session_keyring;

/// Gives the calling process a new session keyring named after the container.
pub(crate) fn join_session(id: &str) -> linux::Result<()> {
    let name = CString::new(format!("_ses.{id}")).expect("an id has no NUL byte");
    match join_session_keyring(Some(&name)) {
        // A kernel without keys has none to leak.
        Err(error) if error.is(linux::Errno::NOSYS) => Ok(()),
        result => result.map(drop),
    }
}
