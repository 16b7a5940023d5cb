//! Mounts as objects: made detached, given their attributes, then attached, all by descriptor.
//!
//! A detached mount is in nobody's tree, so nothing can see it half made, nothing propagates, and
//! closing the descriptor undoes it. `open_tree`, `move_mount`, `fsopen` are of Linux 5.2 (see
//! their pages in section 2), `mount_setattr` of 5.12.

mod attributes;
mod filesystem;
mod pivot;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

pub use self::attributes::{Atime, Attributes, Flags, Propagation, set_attributes};
pub use self::filesystem::{new_filesystem, reconfigure};
pub use self::pivot::{move_over_root, pivot};
use crate::{Context, Errno, Error, Result, fault};

/// A detached copy of the mount at an open directory or file (`O_PATH` will do), showing what is
/// below it; with all mounts below when `recursive`.
pub fn clone_tree(at: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    open_tree(at.as_fd(), Path::new(""), recursive).during(|| "clone a mount")
}

/// [`clone_tree`] of a host path, links followed.
pub fn clone_tree_at(path: impl AsRef<Path>, recursive: bool) -> Result<OwnedFd> {
    let path = path.as_ref();
    open_tree(CWD, path, recursive).during(|| format!("clone the mount at {}", path.display()))
}

fn open_tree(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.as_os_str().is_empty());
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    fault::check("open_tree")?;
    rustix::mount::open_tree(dir, path, flags)
}

/// Puts a detached mount (or moves an attached one) onto an open file or directory.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let (mount, target) = (mount.as_fd(), target.as_fd());
    fault::check("move_mount")
        .and_then(|()| rustix::mount::move_mount(mount, c"", target, c"", flags))
        .map_err(|errno| {
            let error = Error::new("attach a mount", errno);
            let is_dir = |fd| {
                let stat = rustix::fs::fstat(fd).ok()?;
                Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
            };
            match errno {
                Errno::INVAL if is_dir(mount) != is_dir(target) => {
                    error.with_hint("a directory goes onto a directory, a file onto a file")
                }
                Errno::INVAL => {
                    error.with_hint("the target must be in the caller's mount namespace")
                }
                _ => error,
            }
        })
}

/// Puts a detached mount under the one that is at `target`, which must be that mount's root: when
/// the upper one goes, the lower one is seen, with no moment in between. Linux 6.5; `EINVAL` before.
pub fn attach_beneath(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
        | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH
        | MoveMountFlags::MOVE_MOUNT_BENEATH;
    fault::check("move_mount(MOVE_MOUNT_BENEATH)")
        .and_then(|()| rustix::mount::move_mount(mount, c"", target, c"", flags))
        .during(|| "attach a mount beneath another")
}

/// Sets the propagation of the mount at `path`, which must be a mount point.
pub fn set_propagation(
    path: impl AsRef<Path>,
    propagation: Propagation,
    recursive: bool,
) -> Result<()> {
    let path = path.as_ref();
    let mut flags = propagation.flags();
    flags.set(MountPropagationFlags::REC, recursive);
    fault::check("mount").and_then(|()| rustix::mount::mount_change(path, flags)).during(|| {
        format!("make {} {}", path.display(), format!("{propagation:?}").to_ascii_lowercase())
    })
}

/// Takes the mount at `path` and all below it out of the tree; it ends when nobody uses it.
pub fn detach(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    fault::check("umount2")
        .and_then(|()| rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW))
        .during(|| format!("detach the mount at {}", path.display()))
}

/// [`detach`] of the mount whose root is open as `mount`. Needs a mounted /proc: umount2(2) takes
/// no descriptor.
pub fn detach_fd(mount: impl AsFd) -> Result<()> {
    let path = crate::root::fd_path(mount.as_fd());
    fault::check("umount2")
        .and_then(|()| rustix::mount::unmount(&path, UnmountFlags::DETACH))
        .during(|| "detach a mount")
}

/// [`detach_fd`] where /proc belongs to somebody else: `descriptors` is `/proc/self/fd`, opened
/// before the caller went there. That mount goes, and no other that may lie on it by now.
/// The calling thread's working directory must be its own; it is left in /proc.
pub fn detach_exactly(descriptors: impl AsFd, mount: impl AsFd) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    let name = mount.as_fd().as_raw_fd().to_string();
    rustix::process::fchdir(descriptors).during(|| "enter /proc/self/fd")?;
    fault::check("umount2")
        .and_then(|()| rustix::mount::unmount(&name, UnmountFlags::DETACH))
        .during(|| "detach a mount")
}

/// The magic number of the filesystem (`linux_raw_sys::general::*_MAGIC`, statfs(2)).
pub fn fstype(fd: impl AsFd) -> Result<u64> {
    let stat = rustix::fs::fstatfs(fd).during(|| "ask for the type of a filesystem")?;
    Ok(stat.f_type.cast_unsigned())
}

/// Does the kernel have this filesystem, as far as /proc/filesystems tells (a module that is not
/// loaded is not in it)?
pub fn is_known(fstype: impl AsRef<OsStr>) -> Result<bool> {
    let text = crate::file::read("/proc/filesystems")?;
    let wanted = fstype.as_ref().as_encoded_bytes();
    Ok(text
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.rsplit(|&byte| byte == b'\t').next())
        .any(|known| known == wanted))
}
