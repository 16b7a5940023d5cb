//! ioctl(2) numbers that rustix has no function for: namespaces, terminals, loop devices.

use std::ffi::c_void;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

/// An ioctl without argument whose answer is the return value.
struct Answer(Opcode);

// SAFETY: nothing is read or written through the argument, which is null; the return value is an
// int whatever the ioctl.
// JUSTIFICATION: rustix's own pattern without argument drops the return value.
unsafe impl Ioctl for Answer {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.0
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
    let flag = unsafe { rustix::ioctl::ioctl(fd, Answer(linux_raw_sys::ioctl::NS_GET_NSTYPE)) }?;
    u64::try_from(flag).map_err(|_| crate::Errno::INVAL)
}

/// The namespace of a process or thread, close-on-exec. `number`: that of PIDFD_GET_*_NAMESPACE in
/// linux/pidfd.h. Linux 6.11; ENOTTY before.
pub(crate) fn namespace_of(pidfd: BorrowedFd<'_>, number: u8) -> rustix::io::Result<OwnedFd> {
    let opcode = rustix::ioctl::opcode::none(0xff, number);
    // SAFETY: these take no argument and answer a descriptor; another file than a pidfd does not
    // know the number (ENOTTY).
    // JUSTIFICATION: rustix has no ioctl of pidfds.
    let fd = unsafe { rustix::ioctl::ioctl(pidfd, Answer(opcode)) }?;
    // SAFETY: the kernel has just made it for us, and nobody else knows the number.
    // JUSTIFICATION: the answer of an ioctl is a number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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

/// The index of a loop device that is free at this moment. `control` is /dev/loop-control.
pub(crate) fn loop_get_free(control: BorrowedFd<'_>) -> rustix::io::Result<i32> {
    use linux_raw_sys::loop_device::LOOP_CTL_GET_FREE;
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and answers an int.
    // JUSTIFICATION: rustix has no ioctl of loop devices.
    unsafe { rustix::ioctl::ioctl(control, Answer(LOOP_CTL_GET_FREE)) }
}

/// Unbinds a loop device.
pub(crate) fn loop_clear(device: BorrowedFd<'_>) -> rustix::io::Result<()> {
    use linux_raw_sys::loop_device::LOOP_CLR_FD;
    // SAFETY: LOOP_CLR_FD takes no argument and answers an int.
    // JUSTIFICATION: rustix has no ioctl of loop devices.
    unsafe { rustix::ioctl::ioctl(device, Answer(LOOP_CLR_FD)) }.map(drop)
}

/// Binds a loop device to a file.
pub(crate) fn loop_configure(
    device: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    settings: crate::loop_device::Settings,
) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;

    use linux_raw_sys::loop_device as sys;

    let mut flags = 0;
    for (wanted, flag) in [
        (settings.read_only, sys::LO_FLAGS_READ_ONLY),
        (settings.autoclear, sys::LO_FLAGS_AUTOCLEAR),
        (settings.partitions, sys::LO_FLAGS_PARTSCAN),
    ] {
        flags |= if wanted { flag as u32 } else { 0 };
    }
    let config = sys::loop_config {
        fd: file.as_raw_fd().unsigned_abs(),
        block_size: 0,
        info: sys::loop_info64 {
            lo_device: 0,
            lo_inode: 0,
            lo_rdevice: 0,
            lo_offset: 0,
            lo_sizelimit: 0,
            lo_number: 0,
            lo_encrypt_type: 0,
            lo_encrypt_key_size: 0,
            lo_flags: flags,
            lo_file_name: [0; 64],
            lo_crypt_name: [0; 64],
            lo_encrypt_key: [0; 32],
            lo_init: [0; 2],
        },
        __reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one loop_config, the type given.
    // JUSTIFICATION: rustix has no ioctl of loop devices.
    let request =
        unsafe { rustix::ioctl::Setter::<{ sys::LOOP_CONFIGURE }, sys::loop_config>::new(config) };
    // SAFETY: as above; another driver than loop does not know the number (ENOTTY).
    // JUSTIFICATION: as above.
    unsafe { rustix::ioctl::ioctl(device, request) }
}
