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

/// Asks a pid namespace for the number that one of its pids has in ours.
struct PidFrom {
    pid: i32,
}

// SAFETY: the argument is an int passed by value, not a pointer; nothing is read or written through
// it, and the answer is the return value.
// JUSTIFICATION: rustix's pattern for an int argument drops the return value.
unsafe impl Ioctl for PidFrom {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        // NS_GET_PID_FROM_PIDNS of linux/nsfs.h, which linux-raw-sys does not have yet.
        rustix::ioctl::opcode::read::<std::ffi::c_int>(0xb7, 6)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::without_provenance_mut(usize::try_from(self.pid).unwrap_or(0))
    }

    unsafe fn output_from_ptr(
        answer: IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<IoctlOutput> {
        Ok(answer)
    }
}

/// The process that is `pid` in the pid namespace `fd`, as the caller's namespace numbers it. The
/// caller knows that `fd` is on nsfs. Linux 6.11; ENOTTY before.
pub(crate) fn pid_from_namespace(fd: BorrowedFd<'_>, pid: i32) -> rustix::io::Result<i32> {
    // SAFETY: NS_GET_PID_FROM_PIDNS takes an int by value and answers an int.
    // JUSTIFICATION: rustix has no ioctl of nsfs.
    unsafe { rustix::ioctl::ioctl(fd, PidFrom { pid }) }
}
