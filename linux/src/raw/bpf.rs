//! bpf(2), as far as a program that guards devices needs it.
//!
//! JUSTIFICATION for the whole file: neither rustix nor nix wraps bpf(2), and the crates that do
//! load object files or bring a library. The attribute structures are the leading parts of
//! `union bpf_attr` (<linux/bpf.h>); the kernel takes any size and reads the rest as zero.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::last_errno;
use crate::cgroup::program::Instruction;
use crate::error::Errno;

// <linux/bpf.h>, enum bpf_cmd
const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const PROG_QUERY: u32 = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 1 << 1;
const F_REPLACE: u32 = 1 << 2;

const NAME_LEN: usize = 16;
/// The kernel allows 64 programs at one cgroup (BPF_CGROUP_MAX_PROGS).
const PROGRAMS_MAX: usize = 64;

/// What tells one loaded program from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProgramInfo {
    /// Number in the kernel.
    pub id: u32,
    /// Hash of the instructions.
    pub tag: [u8; 8],
    /// Given when it was loaded, filled up with NUL.
    pub name: [u8; NAME_LEN],
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_LEN],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: RawFd,
    attach_bpf_fd: RawFd,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: RawFd,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: RawFd,
    info_len: u32,
    info: u64,
}

/// Leading part of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    prog_type: u32,
    id: u32,
    tag: [u8; 8],
    /// Lengths and addresses of instructions, load time, owner, maps: zero asks for none of them.
    between: [u64; 6],
    name: [u8; NAME_LEN],
}

/// Loads a device program. The name is what `bpftool prog` shows; at most 15 bytes count.
pub fn load_device_program(program: &[Instruction], name: &CStr) -> rustix::io::Result<OwnedFd> {
    // No kernel function is called, so the license is of no consequence.
    let license = c"Apache-2.0";
    let mut attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        insns: program.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        expected_attach_type: ATTACH_CGROUP_DEVICE,
        ..LoadAttr::default()
    };
    let bytes = name.to_bytes();
    let length = bytes.len().min(NAME_LEN - 1);
    attr.prog_name[..length].copy_from_slice(&bytes[..length]);
    match bpf_fd(PROG_LOAD, &mut attr) {
        Err(Errno::PERM) => with_locked_memory(|| bpf_fd(PROG_LOAD, &mut attr)),
        result => result,
    }
}

/// Attaches `program` beside what others have attached, in place of `replace` if given.
pub fn attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> rustix::io::Result<()> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: F_ALLOW_MULTI | if replace.is_some() { F_REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, |fd| fd.as_raw_fd()),
    };
    bpf(PROG_ATTACH, &mut attr).map(drop)
}

/// Takes `program` away from the cgroup.
pub fn detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        ..AttachAttr::default()
    };
    bpf(PROG_DETACH, &mut attr).map(drop)
}

/// Numbers of the device programs attached to this very cgroup, in the order they run.
pub fn attached(cgroup: BorrowedFd<'_>) -> rustix::io::Result<Vec<u32>> {
    let mut ids = vec![0u32; PROGRAMS_MAX];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: 64,
        ..QueryAttr::default()
    };
    bpf(PROG_QUERY, &mut attr)?;
    ids.truncate(usize::try_from(attr.prog_cnt).unwrap_or(PROGRAMS_MAX));
    Ok(ids)
}

/// Opens a loaded program by its number.
pub fn open(id: u32) -> rustix::io::Result<OwnedFd> {
    let mut attr = [id, 0, 0];
    bpf_fd(PROG_GET_FD_BY_ID, &mut attr)
}

/// What is known of a loaded program.
pub fn info(program: BorrowedFd<'_>) -> rustix::io::Result<ProgramInfo> {
    let mut info = Info::default();
    let mut attr = InfoAttr {
        bpf_fd: program.as_raw_fd(),
        info_len: u32::try_from(size_of::<Info>()).map_err(|_| Errno::INVAL)?,
        info: (&raw mut info).expose_provenance() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(ProgramInfo { id: info.id, tag: info.tag, name: info.name })
}

fn bpf_fd<T>(command: u32, attr: &mut T) -> rustix::io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the command just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: u32, attr: &mut T) -> rustix::io::Result<RawFd> {
    // SAFETY: `attr` is a live structure of the size passed, laid out as the leading part of
    // `union bpf_attr` for this command. Every address in it points to memory of the length in it
    // that outlives the call: program and license are borrowed by the callers, the id array and
    // the info structure are theirs and exclusively so.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    match RawFd::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(last_errno()),
    }
}

/// Before Linux 5.11 programs count as locked memory. The limit is put back, as what we start
/// would inherit it.
fn with_locked_memory<T>(act: impl FnOnce() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    let before = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
    let result = act();
    setrlimit(Resource::Memlock, before)?;
    result
}
