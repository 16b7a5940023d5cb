//! ioctl(2) numbers that rustix has no function for: namespaces, terminals, loop devices.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

/// An ioctl without argument whose answer is the return value.
struct Answer<const OPCODE: Opcode>;

// SAFETY: nothing is read or written through the argument, which is null; the return value is an
// int whatever the ioctl.
// JUSTIFICATION: rustix's own pattern without argument drops the return value.
unsafe impl<const OPCODE: Opcode> Ioctl for Answer<OPCODE> {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        answer: IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<IoctlOutput> {
        Ok(answer)
    }
}

/// The CLONE_NEW* flag of a namespace descriptor (ioctl_nsfs(2)). The caller knows that `fd` is on
/// nsfs: another driver may give the number another meaning.
pub(crate) fn namespace_type(fd: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    // SAFETY: NS_GET_NSTYPE takes no argument and answers an int.
    // JUSTIFICATION: rustix has no ioctl of nsfs.
    let flag =
        unsafe { rustix::ioctl::ioctl(fd, Answer::<{ linux_raw_sys::ioctl::NS_GET_NSTYPE }>) }?;
    u64::try_from(flag).map_err(|_| crate::Errno::INVAL)
}
