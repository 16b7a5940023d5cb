//! What this host has: every cgroup hierarchy, found in mountinfo, never assumed.
//!
//! Knows mounts, not cgroups. Of several mounts of one hierarchy the most useful is taken; one that
//! another mount hides is not used, since its path would lead elsewhere. Relies on proc_pid_mountinfo(5),
//! cgroups(7) and cgroup1_show_options() for the options of a v1 mount.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::membership::{Entry, Membership};
use super::read_bounded;
use crate::error::{Errno, Error, Result};
use crate::mountinfo::{self, MountInfo};
use crate::process::Pid;

/// Below it hierarchies are as a rule: looked at first, as a host may have thousands of mounts.
const USUAL: &str = "/sys/fs/cgroup";

/// The two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy for each controller or group of controllers, or a named one.
    V1,
    /// The single unified hierarchy, cgroup2.
    V2,
}

/// Which of the two a host uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// v1 alone.
    Legacy,
    /// v1, and a v2 tree beside it, with or without controllers of its own.
    Hybrid,
    /// v2 alone.
    Unified,
}

/// One tree of cgroups and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Which interface its files have.
    pub version: Version,
    /// v1: the controllers of the mount, or `name=NAME`. v2: what `cgroup.controllers` of the top says.
    pub controllers: Vec<String>,
    /// Directory of the top as we see it.
    pub mount_point: PathBuf,
    /// The cgroup that is mounted there, `/` unless we are in a container ourselves.
    pub root: PathBuf,
    /// v2: the kernel treats cgroup namespaces as delegation borders (mount option `nsdelegate`).
    pub nsdelegate: bool,
}

impl Hierarchy {
    /// A hierarchy without mount options, for those that know it already.
    pub fn new(version: Version, controllers: &[&str], mount_point: &str, root: &str) -> Self {
        Self {
            version,
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            mount_point: mount_point.into(),
            root: root.into(),
            nsdelegate: false,
        }
    }

    /// Whether it carries `controller`; a named hierarchy is asked for as `name=systemd`.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    /// Directory of the cgroup that `/proc/PID/cgroup` calls `path`, if this mount shows it.
    pub fn dir_of(&self, path: &Path) -> Option<PathBuf> {
        // Path::join() of an empty path would add a slash.
        let below = path.strip_prefix(&self.root).ok()?;
        Some(match below.as_os_str().is_empty() {
            true => self.mount_point.clone(),
            false => self.mount_point.join(below),
        })
    }
}

/// Every hierarchy of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Looks at the calling process's mounts.
    pub fn detect() -> Result<Self> {
        if let Some(layout) = Self::below(Path::new(USUAL)) {
            return Ok(layout);
        }
        let mounts = mountinfo::cgroups_of_self()?;
        let layout = Self::from_mounts(&mounts, &is_in_sight, &controllers_at);
        if layout.hierarchies.is_empty() {
            return Err(Error::new("find cgroups in /proc/self/mountinfo", Errno::NOENT)
                .with_hint("mount them: mount -t cgroup2 none /sys/fs/cgroup"));
        }
        Ok(layout)
    }

    /// What there is below `top`, if nothing better can be elsewhere: every hierarchy that the
    /// kernel has is there whole and writable.
    fn below(top: &Path) -> Option<Self> {
        let mounts = mountinfo::cgroups_below(top)?;
        if mounts.iter().any(|mount| rank(mount) != BEST) {
            return None;
        }
        let layout = Self::from_mounts(&mounts, &is_in_sight, &controllers_at);
        let own = Membership::of(Pid::current()).ok()?;
        let is_there = |entry: &Entry| layout.hierarchies.iter().any(|one| entry.is_of(one));
        own.entries().iter().all(is_there).then_some(layout)
    }

    /// Pure part of [`Layout::detect`]; `is_in_sight` says whether a mount's path leads to it, and
    /// `controllers_at` answers for the top of the v2 tree.
    pub fn from_mounts(
        mounts: &[MountInfo],
        is_in_sight: &dyn Fn(&MountInfo) -> bool,
        controllers_at: &dyn Fn(&Path) -> Vec<String>,
    ) -> Self {
        let mut best: Vec<&MountInfo> = Vec::new();
        let usable = |mount: &&MountInfo| {
            matches!(mount.fstype.as_str(), "cgroup" | "cgroup2")
                // The mount's top lies outside our cgroup namespace: no path of ours can be mapped.
                && !mount.root.starts_with("/..")
                && is_in_sight(mount)
        };
        for mount in mounts.iter().filter(usable) {
            match best.iter_mut().find(|other| other.dev == mount.dev) {
                Some(other) if rank(mount) < rank(other) => *other = mount,
                Some(_) => {}
                None => best.push(mount),
            }
        }
        let hierarchies = best.into_iter().map(|mount| hierarchy(mount, controllers_at));
        Self { hierarchies: hierarchies.collect() }
    }

    /// A layout put together by hand: another root, or a captured tree.
    pub fn of(hierarchies: Vec<Hierarchy>) -> Self {
        Self { hierarchies }
    }

    /// Every hierarchy.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The v2 tree, wherever it is.
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2)
    }

    /// The hierarchy that carries `controller`.
    pub fn with(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.has(controller))
    }

    /// What the host is called in the documents.
    pub fn kind(&self) -> Kind {
        let v1 = self.hierarchies.iter().any(|hierarchy| hierarchy.version == Version::V1);
        match (v1, self.unified().is_some()) {
            (true, true) => Kind::Hybrid,
            (true, false) => Kind::Legacy,
            (false, _) => Kind::Unified,
        }
    }
}

type Rank = (bool, bool);

const BEST: Rank = (false, false);

/// The better of two mounts of one hierarchy has the smaller rank: whole tree, then writable.
fn rank(mount: &MountInfo) -> Rank {
    (mount.root != Path::new("/"), mount.is_read_only())
}

fn hierarchy(mount: &MountInfo, controllers_at: &dyn Fn(&Path) -> Vec<String>) -> Hierarchy {
    let (version, controllers) = match mount.fstype.as_str() {
        "cgroup2" => (Version::V2, controllers_at(&mount.mount_point)),
        _ => (Version::V1, v1_controllers(&mount.super_options)),
    };
    Hierarchy {
        version,
        controllers,
        mount_point: mount.mount_point.clone(),
        root: mount.root.clone(),
        nsdelegate: mount.has_super_option("nsdelegate"),
    }
}

/// A v1 mount lists its controllers among its options, without a mark of their own.
fn v1_controllers(options: &str) -> Vec<String> {
    const NOT_CONTROLLERS: [&str; 12] = [
        "rw",
        "ro",
        "noprefix",
        "xattr",
        "cpuset_v2_mode",
        "favordynmods",
        "clone_children",
        "none",
        "seclabel",
        "sync",
        "dirsync",
        "lazytime",
    ];
    let is_controller = |option: &&str| {
        option.starts_with("name=") || !(option.contains('=') || NOT_CONTROLLERS.contains(option))
    };
    options.split(',').filter(is_controller).map(str::to_owned).collect()
}

fn controllers_at(top: &Path) -> Vec<String> {
    // Unreadable and empty mean the same to us: no controller to be had there.
    let text = read_bounded(&top.join("cgroup.controllers"), 4096).unwrap_or_default();
    String::from_utf8_lossy(&text).split_whitespace().map(str::to_owned).collect()
}

/// Whether the mount's own path ends at that mount: nothing lies over it, or over what it is in.
fn is_in_sight(mount: &MountInfo) -> bool {
    // The id of statx(2) is that of mountinfo (5.8).
    let flags = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statx(CWD, &mount.mount_point, flags, StatxFlags::MNT_ID)
        .is_ok_and(|stat| stat.stx_mnt_id == u64::from(mount.id))
}

#[cfg(test)]
mod tests;
