//! Mounts as objects: made detached, given their attributes, then attached, all by descriptor.
//!
//! A detached mount is in nobody's tree, so nothing can see it half made, nothing propagates, and
//! closing the descriptor undoes it. `open_tree`, `move_mount`, `fsopen` are of Linux 5.2 (see
//! their pages in section 2), `mount_setattr` of 5.12.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux_raw_sys::general as raw_sys;
use rustix::fs::{CWD, FileType};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use crate::{Context, Errno, Error, Result, fault, raw};

bitflags::bitflags! {
    /// Properties of one mount, independent of the filesystem and of its other mounts.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Flags: u32 {
        /// No writing through this mount.
        const READ_ONLY = raw_sys::MOUNT_ATTR_RDONLY;
        /// Set-user-id bits and file capabilities have no effect.
        const NOSUID = raw_sys::MOUNT_ATTR_NOSUID;
        /// Device nodes cannot be opened.
        const NODEV = raw_sys::MOUNT_ATTR_NODEV;
        /// Nothing can be executed.
        const NOEXEC = raw_sys::MOUNT_ATTR_NOEXEC;
        /// Directories' access times do not change.
        const NODIRATIME = raw_sys::MOUNT_ATTR_NODIRATIME;
        /// Symbolic links are not followed (5.14).
        const NOSYMFOLLOW = raw_sys::MOUNT_ATTR_NOSYMFOLLOW;
    }
}

/// When access times change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Atime {
    /// When older than the modification time or a day: the kernel's default.
    Relative,
    /// Never.
    Never,
    /// At every access.
    Strict,
}

/// Where mount events below a mount go: mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Nowhere, and none come.
    Private,
    /// They come from the master, none go back.
    Slave,
    /// Both ways within the peer group.
    Shared,
    /// As private, and it cannot be bind mounted.
    Unbindable,
}

/// What to change on a mount; the default changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'fd> {
    /// Switch on.
    pub set: Flags,
    /// Switch off.
    pub clear: Flags,
    /// `None`: as it is.
    pub atime: Option<Atime>,
    /// `None`: as it is.
    pub propagation: Option<Propagation>,
    /// Show owners through this user namespace. Once only, on a detached mount, and only where the
    /// filesystem allows it.
    pub idmap: Option<BorrowedFd<'fd>>,
}

impl<'fd> Attributes<'fd> {
    /// Switches `set` on and leaves the rest.
    pub fn set(set: Flags) -> Self {
        Self { set, ..Self::default() }
    }

    /// Makes it read-only and leaves the rest.
    pub fn read_only() -> Self {
        Self::set(Flags::READ_ONLY)
    }

    /// Shows owners through the user namespace and leaves the rest.
    pub fn idmapped(user_namespace: BorrowedFd<'fd>) -> Self {
        Self { idmap: Some(user_namespace), ..Self::default() }
    }

    fn changes_nothing(&self) -> bool {
        self.set.is_empty()
            && self.clear.is_empty()
            && self.atime.is_none()
            && self.propagation.is_none()
            && self.idmap.is_none()
    }
}

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

/// Changes a mount, and all mounts below it when `recursive`: all of them or none.
pub fn set_attributes(
    mount: impl AsFd,
    attributes: &Attributes<'_>,
    recursive: bool,
) -> Result<()> {
    if attributes.changes_nothing() {
        return Ok(());
    }
    let (set_atime, clear_atime) = match attributes.atime {
        None => (0, 0),
        Some(atime) => (atime_bits(atime), raw_sys::MOUNT_ATTR__ATIME),
    };
    let idmap = attributes.idmap.map_or(0, |_| raw_sys::MOUNT_ATTR_IDMAP);
    let request = raw_sys::mount_attr {
        attr_set: u64::from(attributes.set.bits() | set_atime | idmap),
        attr_clr: u64::from(attributes.clear.bits() | clear_atime),
        propagation: attributes.propagation.map_or(0, |value| u64::from(value.flags().bits())),
        userns_fd: attributes.idmap.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
    };
    fault::check("mount_setattr")
        .and_then(|()| raw::mount_setattr::mount_setattr(mount.as_fd(), recursive, &request))
        .map_err(|errno| {
            let error = Error::new(describe(attributes), errno);
            match errno {
                Errno::NOSYS => error.with_hint("mount_setattr needs Linux 5.12"),
                Errno::INVAL if attributes.idmap.is_some() => error
                    .with_hint("its filesystem does not take an id mapping, or has one already"),
                Errno::PERM if !attributes.clear.is_empty() => {
                    error.with_hint("a flag that came with a user namespace is locked")
                }
                _ => error,
            }
        })
}

fn describe(attributes: &Attributes<'_>) -> String {
    let mut text = String::from("change a mount:");
    for (name, _) in attributes.set.iter_names() {
        text.push_str(&format!(" +{}", name.to_ascii_lowercase()));
    }
    for (name, _) in attributes.clear.iter_names() {
        text.push_str(&format!(" -{}", name.to_ascii_lowercase()));
    }
    if let Some(atime) = attributes.atime {
        text.push_str(&format!(" atime={atime:?}").to_ascii_lowercase());
    }
    if let Some(propagation) = attributes.propagation {
        text.push_str(&format!(" {propagation:?}").to_ascii_lowercase());
    }
    if attributes.idmap.is_some() {
        text.push_str(" idmap");
    }
    text
}

fn atime_bits(atime: Atime) -> u32 {
    match atime {
        Atime::Relative => raw_sys::MOUNT_ATTR_RELATIME,
        Atime::Never => raw_sys::MOUNT_ATTR_NOATIME,
        Atime::Strict => raw_sys::MOUNT_ATTR_STRICTATIME,
    }
}

impl Propagation {
    fn flags(self) -> MountPropagationFlags {
        match self {
            Self::Private => MountPropagationFlags::PRIVATE,
            Self::Slave => MountPropagationFlags::DOWNSTREAM,
            Self::Shared => MountPropagationFlags::SHARED,
            Self::Unbindable => MountPropagationFlags::UNBINDABLE,
        }
    }
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
    /// MOVE_MOUNT_BENEATH of linux/mount.h, which rustix does not name.
    const BENEATH: MoveMountFlags = MoveMountFlags::from_bits_retain(0x200);
    let flags =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH | BENEATH;
    fault::check("move_mount(MOVE_MOUNT_BENEATH)")
        .and_then(|()| rustix::mount::move_mount(mount, c"", target, c"", flags))
        .during(|| "attach a mount beneath another")
}

/// A new detached mount of a filesystem. `options` are those of the filesystem (`size=64k`); what
/// belongs to the mount is in `attributes`.
///
/// When the kernel refuses, the error carries what it wrote to the context's log.
pub fn new_filesystem(
    fstype: &str,
    source: Option<&str>,
    options: &[(&str, Option<&str>)],
    attributes: &Attributes<'_>,
) -> Result<OwnedFd> {
    let context = fault::check("fsopen")
        .and_then(|()| rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC))
        .map_err(|errno| {
            let error = Error::new(format!("open filesystem {fstype}"), errno);
            match errno {
                Errno::NODEV => {
                    error.with_hint("the kernel has no such filesystem; load its module")
                }
                _ => error,
            }
        })?;
    let refused = |call: String| {
        let context = &context;
        move |errno| {
            let log = read_log(context);
            Error::new(if log.is_empty() { call } else { format!("{call}: {log}") }, errno)
        }
    };
    let source = source.map(|source| ("source", Some(source)));
    for &(key, value) in source.iter().chain(options) {
        let (answer, text) = match value {
            Some(value) => (
                rustix::mount::fsconfig_set_string(&context, key, value),
                format!("set {key}={value} of {fstype}"),
            ),
            None => {
                (rustix::mount::fsconfig_set_flag(&context, key), format!("set {key} of {fstype}"))
            }
        };
        answer.map_err(refused(text))?;
    }
    fault::check("fsconfig")
        .and_then(|()| rustix::mount::fsconfig_create(&context))
        .map_err(refused(format!("create {fstype}")))?;
    let mut bits = attributes.set.bits();
    bits |= attributes.atime.map_or(0, atime_bits);
    let mount = fault::check("fsmount")
        .and_then(|()| {
            rustix::mount::fsmount(
                &context,
                FsMountFlags::FSMOUNT_CLOEXEC,
                MountAttrFlags::from_bits_retain(bits),
            )
        })
        .map_err(refused(format!("mount {fstype}")))?;
    let rest = Attributes {
        propagation: attributes.propagation,
        idmap: attributes.idmap,
        ..Attributes::default()
    };
    set_attributes(&mount, &rest, false)?;
    Ok(mount)
}

/// What the kernel had to say: one message a read, `e `, `w ` or `i ` in front.
fn read_log(context: &OwnedFd) -> String {
    let mut messages = Vec::new();
    let mut line = [0; 1024];
    while let Ok(count @ 1..) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..count]);
        if let Some(text) = text.strip_prefix("e ").or_else(|| text.strip_prefix("w ")) {
            messages.push(text.trim().to_owned());
        }
    }
    messages.join("; ")
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

/// Makes `new_root`, a mount point, the root of the caller's mount namespace, detaches the old one
/// and goes to `/`. The namespace must be the caller's own and nothing in it shared.
pub fn pivot(new_root: impl AsFd) -> Result<()> {
    let new_root = new_root.as_fd();
    rustix::process::fchdir(new_root).during(|| "enter the new root")?;
    // pivot_root(2), "pivot_root(".", ".")": the old root comes to lie on the new one, where it
    // needs no directory, and "." is then the old root.
    fault::check("pivot_root")
        .and_then(|()| rustix::process::pivot_root(c".", c"."))
        .map_err(|errno| {
            let error = Error::new("pivot to the new root", errno);
            match errno {
                Errno::INVAL => error.with_hint(
                    "the new root must be a mount point, and neither it nor the old root shared or the initramfs",
                ),
                _ => error,
            }
        })?;
    detach(Path::new("."))?;
    rustix::process::chdir(c"/").during(|| "enter /")
}

/// For a root that cannot be pivoted away from (the initramfs): moves `new_root`, a mount point,
/// over `/` and changes root to it. The old root stays below, out of reach by any path.
pub fn move_over_root(new_root: impl AsFd) -> Result<()> {
    rustix::process::fchdir(new_root).during(|| "enter the new root")?;
    fault::check("mount")
        .and_then(|()| rustix::mount::mount_move(c".", c"/"))
        .during(|| "move the new root over /")?;
    rustix::process::chroot(c".").during(|| "change root")?;
    rustix::process::chdir(c"/").during(|| "enter /")
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
