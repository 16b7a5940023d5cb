//! What one mount is allowed and how it passes mount events on: mount_setattr(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use linux_raw_sys::general as raw_sys;
use rustix::mount::MountPropagationFlags;

use crate::{Errno, Error, Result, fault, raw};

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

pub(super) fn atime_bits(atime: Atime) -> u32 {
    match atime {
        Atime::Relative => raw_sys::MOUNT_ATTR_RELATIME,
        Atime::Never => raw_sys::MOUNT_ATTR_NOATIME,
        Atime::Strict => raw_sys::MOUNT_ATTR_STRICTATIME,
    }
}

impl Propagation {
    pub(super) fn flags(self) -> MountPropagationFlags {
        match self {
            Self::Private => MountPropagationFlags::PRIVATE,
            Self::Slave => MountPropagationFlags::DOWNSTREAM,
            Self::Shared => MountPropagationFlags::SHARED,
            Self::Unbindable => MountPropagationFlags::UNBINDABLE,
        }
    }
}
