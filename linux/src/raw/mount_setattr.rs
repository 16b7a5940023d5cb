//! mount_setattr(2), Linux 5.12: attributes of a mount or a tree of mounts by descriptor.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general::{AT_EMPTY_PATH, AT_RECURSIVE, mount_attr};

pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    recursive: bool,
    attributes: &mount_attr,
) -> rustix::io::Result<()> {
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: mount_setattr(2) wants a NUL-terminated path (a literal) and a readable mount_attr of
    // the stated size (a borrow that outlives the call); it writes nothing to us.
    // JUSTIFICATION: neither rustix nor nix has it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<mount_attr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(super::last_errno()) }
}

const _: () = assert!(size_of::<mount_attr>() == 32, "MOUNT_ATTR_SIZE_VER0");
