//! The same by statmount(2): the kernel writes down what is asked for of the mounts that are asked
//! for, where the text holds all of all of them, at some 7 us a mount.

use std::ffi::OsStr;
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use linux_raw_sys::general as sys;
use rustix::fs::{AtFlags, CWD, StatxFlags};
use sys::statmount;

use super::{MountInfo, Tags, text};
use crate::Errno;
use crate::device::DeviceNumber;
use crate::raw::statmount::{list_mounts, stat_mount};

type Result<T> = std::result::Result<T, Errno>;

/// What a [`MountInfo`] says, and every mount has. A kernel that knows the source (6.13) knows the
/// options (6.11).
const ALWAYS: u32 = sys::STATMOUNT_SB_BASIC
    | sys::STATMOUNT_MNT_BASIC
    | sys::STATMOUNT_MNT_ROOT
    | sys::STATMOUNT_MNT_POINT
    | sys::STATMOUNT_FS_TYPE
    | sys::STATMOUNT_SB_SOURCE;
/// What it says besides, and not every mount has.
const SOMETIMES: u32 = sys::STATMOUNT_PROPAGATE_FROM | sys::STATMOUNT_MNT_OPTS;

/// Of the mount on which `top` is, and those below it, the ones whose filesystem's number
/// (linux/magic.h) is one that is wanted. Without `top`, of those below our root.
///
/// # Errors
/// The kernel does not answer all that is asked (before Linux 6.13), or texts are too long.
pub(super) fn of_self_with(
    top: Option<&Path>,
    is_wanted: impl Fn(u64) -> bool,
) -> Result<Vec<MountInfo>> {
    let top = top.map(unique_id).transpose()?;
    let mut answer = Answer(vec![0; 8192]);
    let mut found = Vec::new();
    let mut ids = [0; 512];
    // A list has not the mount that it is of.
    ids[0] = top.unwrap_or_default();
    let mut listed = usize::from(top.is_some());
    let mut last = 0;
    loop {
        for &id in &ids[..listed] {
            match answer.ask(id, sys::STATMOUNT_SB_BASIC, 0) {
                // Unmounted since.
                Err(Errno::NOENT) => continue,
                asked => asked?,
            }
            if !is_wanted(answer.u64(offset_of!(statmount, sb_magic))) {
                continue;
            }
            match answer.ask(id, ALWAYS, SOMETIMES) {
                Err(Errno::NOENT) => {}
                asked => found.push(asked.map(|()| answer.mount())?),
            }
        }
        listed = list_mounts(top, last, &mut ids)?;
        match ids[..listed].last() {
            Some(&id) => last = id,
            None => return Ok(found),
        }
    }
}

/// The number of a mount that is no other's later (6.8); mountinfo has the other one.
fn unique_id(path: &Path) -> Result<u64> {
    let wanted = StatxFlags::from_bits_retain(sys::STATX_MNT_ID_UNIQUE);
    let stat = rustix::fs::statx(CWD, path, AtFlags::NO_AUTOMOUNT, wanted)?;
    if stat.stx_mask & sys::STATX_MNT_ID_UNIQUE == 0 {
        return Err(Errno::NOSYS);
    }
    Ok(stat.stx_mnt_id)
}

/// A `struct statmount` and its texts.
struct Answer(Vec<u8>);

impl Answer {
    fn ask(&mut self, id: u64, always: u32, sometimes: u32) -> Result<()> {
        stat_mount(id, (always | sometimes).into(), &mut self.0)?;
        if self.has(always) { Ok(()) } else { Err(Errno::NOSYS) }
    }

    fn has(&self, what: u32) -> bool {
        self.u64(offset_of!(statmount, mask)) & u64::from(what) == u64::from(what)
    }

    fn mount(&self) -> MountInfo {
        let read_only = |has: bool| if has { "ro" } else { "rw" };
        let attributes = self.u64(offset_of!(statmount, mnt_attr));
        let mut options = read_only(attributes & u64::from(sys::MOUNT_ATTR_RDONLY) != 0).to_owned();
        // In the order of show_mnt_opts().
        for (name, bits, value) in [
            ("nosuid", sys::MOUNT_ATTR_NOSUID, sys::MOUNT_ATTR_NOSUID),
            ("nodev", sys::MOUNT_ATTR_NODEV, sys::MOUNT_ATTR_NODEV),
            ("noexec", sys::MOUNT_ATTR_NOEXEC, sys::MOUNT_ATTR_NOEXEC),
            ("noatime", sys::MOUNT_ATTR__ATIME, sys::MOUNT_ATTR_NOATIME),
            ("nodiratime", sys::MOUNT_ATTR_NODIRATIME, sys::MOUNT_ATTR_NODIRATIME),
            ("relatime", sys::MOUNT_ATTR__ATIME, sys::MOUNT_ATTR_RELATIME),
            ("nosymfollow", sys::MOUNT_ATTR_NOSYMFOLLOW, sys::MOUNT_ATTR_NOSYMFOLLOW),
            ("idmapped", sys::MOUNT_ATTR_IDMAP, sys::MOUNT_ATTR_IDMAP),
        ] {
            if attributes & u64::from(bits) == u64::from(value) {
                options = options + "," + name;
            }
        }
        let propagation = self.u64(offset_of!(statmount, mnt_propagation));
        let is = |flag: u32| propagation & u64::from(flag) != 0;
        let group = |at: usize| u32::try_from(self.u64(at)).ok().filter(|&group| group != 0);
        let master = group(offset_of!(statmount, mnt_master));
        let from = group(offset_of!(statmount, propagate_from));
        let super_flags = self.u32(offset_of!(statmount, sb_flags));
        let mut super_options = read_only(super_flags & sys::MS_RDONLY != 0).to_owned();
        if self.has(sys::STATMOUNT_MNT_OPTS) {
            super_options = super_options + "," + &text(self.text(offset_of!(statmount, mnt_opts)));
        }
        MountInfo {
            id: self.u32(offset_of!(statmount, mnt_id_old)),
            parent: self.u32(offset_of!(statmount, mnt_parent_id_old)),
            dev: DeviceNumber {
                major: self.u32(offset_of!(statmount, sb_dev_major)),
                minor: self.u32(offset_of!(statmount, sb_dev_minor)),
            },
            root: self.plain(offset_of!(statmount, mnt_root)).into(),
            mount_point: self.plain(offset_of!(statmount, mnt_point)).into(),
            options,
            propagation: Tags {
                shared: group(offset_of!(statmount, mnt_peer_group)).filter(|_| is(sys::MS_SHARED)),
                master,
                propagate_from: from.filter(|&from| master.is_some_and(|master| master != from)),
                unbindable: is(sys::MS_UNBINDABLE),
            },
            fstype: self.plain(offset_of!(statmount, fs_type)).to_string_lossy().into_owned(),
            source: self.plain(offset_of!(statmount, sb_source)).to_string_lossy().into_owned(),
            super_options,
        }
    }

    fn u64(&self, offset: usize) -> u64 {
        self.bytes(offset).map_or(0, u64::from_ne_bytes)
    }

    fn u32(&self, offset: usize) -> u32 {
        self.bytes(offset).map_or(0, u32::from_ne_bytes)
    }

    fn bytes<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..)?.first_chunk().copied()
    }

    /// A text that is not escaped; of these, the options alone are.
    fn plain(&self, offset: usize) -> &OsStr {
        OsStr::from_bytes(self.text(offset))
    }

    /// The text after the structure that the field at `offset` says the place of.
    fn text(&self, offset: usize) -> &[u8] {
        let start = usize::try_from(self.u32(offset)).unwrap_or(usize::MAX);
        let texts = self.0.get(offset_of!(statmount, str_)..).unwrap_or_default();
        let text = texts.get(start..).unwrap_or_default();
        text.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}
