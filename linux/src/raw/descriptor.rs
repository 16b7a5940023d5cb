//! dup3(2) onto a number that is in use: another file under a descriptor somebody else owns.

use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Makes the number of `target` stand for the file of `with`.
pub(crate) fn replace(target: BorrowedFd<'_>, with: BorrowedFd<'_>) -> rustix::io::Result<()> {
    // SAFETY: the number is open for as long as `target` is borrowed; ManuallyDrop keeps this second
    // owner from closing it, and dup3 leaves it open whether it succeeds or not.
    // JUSTIFICATION: rustix asks for the target's owner, which is inside somebody else's type.
    let mut owner = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(target.as_raw_fd()) });
    rustix::io::dup3(with, &mut owner, rustix::io::DupFlags::CLOEXEC)
}
