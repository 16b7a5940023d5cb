//! Every `unsafe` of the workspace, one call a block.
//!
//! `attributes`, `bpf`, `clone3`, `mount_setattr`, `seccomp`, `keyctl`, `statmount`: rustix and nix
//! have no wrapper.
//! `descriptor`: dup3 onto a number whose owner is out of reach.
//! `ethtool`: network devices have ioctls that rustix does not know.
//! `fd`, `process`: descriptors by number, and the end of a forked process without ceremony.
//! `ioctl`: numbers that rustix leaves to its callers, behind its unsafe `Ioctl` trait.
//! `signal`: numbers outside the enums of rustix and nix (real-time signals), and dispositions.
//! `memory`: madvise(2) of the program's own text.
//! `socket`: SO_PEERCRED, whose pid may be 0 where rustix's type must not be.
//! `thread`: unshare(2), which rustix marks unsafe for the one flag that we do not pass.
#![allow(unsafe_code, reason = "the only place where it is")]

pub(crate) mod attributes;
pub mod bpf;
pub mod clone3;
pub(crate) mod descriptor;
pub(crate) mod ethtool;
pub(crate) mod fd;
pub mod ioctl;
pub mod keyctl;
pub(crate) mod memory;
pub(crate) mod mount_setattr;
pub(crate) mod process;
pub mod seccomp;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod statmount;
pub(crate) mod thread;

/// The errno that the C library keeps of the last failed call.
fn last_errno() -> crate::Errno {
    crate::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(crate::Errno::IO)
}
