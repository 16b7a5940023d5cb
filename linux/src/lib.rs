//! What we say to the kernel: one name for each thing we ask of it, and an error that says what
//! was asked, of which object, and why it was refused.
//!
//! This crate does not know the word *container*. It works on file descriptors, process ids and
//! kernel files; what they belong to is the caller's business. It never prints, never exits (but
//! where [`ns::in_mount_ns`] cannot come back), and every path out of somebody else's tree goes through [`root::Root`]. Almost every function is
//! one call or a few; what one of them makes, another takes back, and [`undo::Undo`] remembers.
//!
//! # The kernel we need
//!
//! 5.10 is the floor. What is newer is asked for when it is needed, and said when it is missing.
//!
//! | call | since | for | without it |
//! | --- | --- | --- | --- |
//! | clone3 with CLONE_INTO_CGROUP | 5.7 | [`fork`] straight into a v2 cgroup | - |
//! | waitid with P_PIDFD, pidfd_open | 5.4, 5.3 | [`process::PidFd`] | - |
//! | statx with STATX_MNT_ID | 5.8 | [`cgroup`]: which of its mounts are in sight | - |
//! | setns on a pidfd | 5.8 | [`ns::enter`], all kinds at once | - |
//! | open_tree, move_mount, fsopen, fsmount | 5.2 | [`mount`] | - |
//! | openat2 with RESOLVE_IN_ROOT | 5.6 | [`root::Root`] | - |
//! | LOOP_CONFIGURE | 5.8 | [`loop_device::Loop`] | - |
//! | mount_setattr | 5.12 | [`mount::set_attributes`]: read-only trees, id mappings | refused: `needs Linux 5.12` |
//! | id-mapped mounts of more filesystems | 5.12 ext4, 6.3 tmpfs | [`mount::Attributes::idmap`] | refused, with the cause |
//! | cgroup.kill | 5.14 | [`cgroup`]: end all processes of one | freeze, signal each, thaw |
//! | MOUNT_ATTR_NOSYMFOLLOW | 5.14 | [`mount::Flags::NOSYMFOLLOW`] | refused |
//! | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | 5.19 | [`raw::seccomp`] | refused |
//! | MOVE_MOUNT_BENEATH | 6.5 | [`mount::attach_beneath`] | refused; attach on top |
//! | attaching to, or cloning from, a tree that is detached | 6.15 | [`mount::attach`], [`mount::clone_tree`] | refused (`EINVAL`); attach it first |
//! | pid_max of each pid namespace | 6.14 | [`sysctl::pid_max_is_namespaced`] | refused |
//! | PIDFD_THREAD, PIDFD_GET_MNT_NAMESPACE and the like | 6.9, 6.11 | [`ns::Namespace`] | /proc/PID/ns |
//! | listmount, statmount with STATMOUNT_SB_SOURCE | 6.8, 6.13 | [`mountinfo::cgroups_of_self`] | mountinfo |
//! | NS_GET_PID_FROM_PIDNS | 6.11 | [`pidns::init_of`] | a scan of /proc |
//!
//! # Where to look
//!
//! - errors and order: [`error`], [`undo`], [`fault`]
//! - files: [`mod@file`], [`lock`], [`root`], [`fsids`], [`fd`], [`descriptor`], [`sysctl`], [`kernel`]
//! - processes: [`process`], [`signal`], [`fork`], [`exec`], [`attributes`], [`memory`], [`raw`]
//! - namespaces and mounts: [`ns`], [`pidns`], [`mount`], [`mountinfo`]
//! - cgroups: [`cgroup`]
//! - devices: [`device`], [`block`], [`loop_device`]
//! - network: [`netlink`], [`ethtool`], [`uevent`]
//! - talking: [`poll`], [`pty`], [`socket`]
#![warn(missing_docs)]

pub mod attributes;
pub mod block;
pub mod cgroup;
pub mod descriptor;
pub mod device;
pub mod error;
pub mod ethtool;
pub mod exec;
pub mod fault;
pub mod fd;
pub mod file;
pub mod fsids;
pub mod kernel;
pub mod lock;
pub mod loop_device;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod netlink;
pub mod ns;
pub mod pidns;
pub mod poll;
pub mod process;
pub mod pty;
pub mod raw;
pub mod root;
pub mod signal;
pub mod socket;
pub mod sysctl;
pub mod uevent;
pub mod undo;

pub use error::{Change, Context, Errno, Error, Result};
pub use ns::CloneFlags;
pub use raw::clone3::{Forked, fork};
pub use undo::Undo;
