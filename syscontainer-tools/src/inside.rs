//! Files and mounts inside, as devices and paths both need them: whose they are, and what is
//! mounted there.

use std::os::fd::OwnedFd;

use container::Running;
use linux::error::Context as _;
use linux::fsids::FsIds;
use linux::{Errno, mount, ns};
use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};

use crate::error::Result;

/// The mount that a file is on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountOf {
    /// The file is the mount's own root.
    pub(crate) is_root: bool,
    id: u64,
}

/// Asks the kernel about a file's mount.
pub(crate) fn mount_of(file: &OwnedFd) -> Result<MountOf> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .during(|| "ask for the mount of a file")?;
    let is_root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    Ok(MountOf { is_root, id: stat.stx_mnt_id })
}

/// The id by which mountinfo knows it.
pub(crate) fn mount_id(file: &OwnedFd) -> Result<u64> {
    Ok(mount_of(file)?.id)
}

/// Whether looking for a file failed as nobody can have it: it is not there, or on a filesystem whose
/// server is gone (FUSE, NFS).
pub(crate) fn is_out_of_reach(error: &linux::Error) -> bool {
    [Errno::NOENT, Errno::NOTDIR, Errno::NOTCONN, Errno::STALE].contains(&error.errno())
}

/// Whether a file is on a filesystem whose files are the kernel's.
pub(crate) fn is_of_the_kernel(file: &OwnedFd) -> Result<bool> {
    // linux/magic.h: proc, sysfs, cgroup, cgroup2.
    const MAGIC: [u64; 4] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270];
    Ok(MAGIC.contains(&mount::fstype(file)?))
}

/// Takes that mount, and no other, out of the container.
pub(crate) fn detach(live: &Running, mount: &OwnedFd) -> linux::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptors =
        rustix::fs::open("/proc/self/fd", flags, Mode::empty()).during(|| "open /proc/self/fd")?;
    ns::in_mount_ns(&live.mounts, || mount::detach_exactly(&descriptors, mount))
}

/// Runs `act` with the file ids of the container's root: what it makes is that root's, also where
/// the host's root has no id.
pub(crate) fn as_its_root<T>(live: &Running, act: impl FnOnce() -> linux::Result<T>) -> Result<T> {
    let (uid, gid) = live.root_ids()?;
    let _ids = if live.user.is_some() { Some(FsIds::assume(uid, gid)?) } else { None };
    Ok(act()?)
}
