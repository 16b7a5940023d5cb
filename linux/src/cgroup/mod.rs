//! A container's cgroup: one directory in each hierarchy of the host, taken together.
//!
//! Every hierarchy is used, `name=systemd` and the v2 tree also where neither carries a controller:
//! a process that were left in the host's root there could make cgroups beside everybody else's.
//! What a guest makes below its own directory is the guest's: its names are never resolved by path,
//! its depth is never recursed into.
//!
//! Documentation/admin-guide/cgroup-v1/, Documentation/admin-guide/cgroup-v2.rst, cgroups(7).

use std::path::{Path, PathBuf};

mod apply;
mod blkio_stat;
mod cpu;
mod cpuset;
mod create;
mod delegate;
mod device_access;
pub mod devices;
mod exceptions;
mod freeze;
mod io;
mod join;
mod kernfs;
mod kill;
pub mod layout;
mod limits;
pub mod membership;
mod memory;
mod path;
mod plan;
mod pressure;
pub mod program;
mod remove;
pub mod resources;
mod shares;
mod tree;

pub use blkio_stat::{BlockUsage, BlockUsages};
pub use cpu::{CpuLimit, CpuUsage};
pub use cpuset::CpuList;
pub use delegate::Lid;
pub use device_access::Devices;
pub use devices::{Access, DeviceRule, DeviceRules};
pub use join::JoinFds;
pub use kill::Stuck;
pub use layout::{Hierarchy, Kind, Layout, Version};
pub use limits::PidsUsage;
pub use membership::Membership;
pub use memory::{MemoryEvents, MemoryStat, SwapUsage};
pub use path::CgroupPath;
pub use pressure::Pressure;
pub use resources::{Bound, Resources};
pub use shares::Shares;

use self::kernfs::read_bounded;
use crate::error::{Context as _, Errno, Error, Result};
use crate::process::Pid;

/// The directories of one cgroup.
#[derive(Debug, Clone)]
pub struct Cgroup {
    places: Vec<Place>,
    /// What [`Cgroup::create`] made, parents before children.
    made: Vec<PathBuf>,
    /// Processes go one level below the limits; see [`Cgroup::delegate`].
    payload: Option<PathBuf>,
}

/// The cgroup in one hierarchy.
#[derive(Debug, Clone)]
struct Place {
    hierarchy: Hierarchy,
    dir: PathBuf,
}

impl Cgroup {
    /// The cgroup at `path`, where it exists.
    pub fn open(layout: &Layout, path: &CgroupPath) -> Result<Self> {
        let there = layout.hierarchies().iter().map(|hierarchy| Place {
            dir: hierarchy.mount_point.join(path),
            hierarchy: hierarchy.clone(),
        });
        let places: Vec<_> = there.filter(|place| place.dir.is_dir()).collect();
        if places.is_empty() {
            return Err(Error::new(format!("open cgroup {path}"), Errno::NOENT));
        }
        let payload = delegate::payload_of(&places);
        Ok(Self { places, made: Vec::new(), payload })
    }

    /// The cgroup at `path`, if `pid` is in it or below it in every hierarchy; `None` when it is not.
    pub fn with_process(layout: &Layout, path: &CgroupPath, pid: Pid) -> Result<Option<Self>> {
        let inner = Self::of(layout, pid)?;
        // There while a process is in it or below it.
        let places = inner.places.iter().map(|place| Place {
            dir: place.hierarchy.mount_point.join(path),
            hierarchy: place.hierarchy.clone(),
        });
        let places: Vec<_> = places.collect();
        let payload = delegate::payload_of(&places);
        let outer = Self { places, made: Vec::new(), payload };
        Ok(outer.contains(&inner).then_some(outer))
    }

    /// The cgroups a process is in, which differ in path where its own systemd has moved it.
    pub fn of(layout: &Layout, pid: Pid) -> Result<Self> {
        let membership = Membership::of(pid)?;
        let place = |hierarchy: &Hierarchy| {
            let dir = hierarchy.dir_of(membership.path_in(hierarchy)?)?;
            Some(Place { dir, hierarchy: hierarchy.clone() })
        };
        let places: Vec<_> = layout.hierarchies().iter().filter_map(place).collect();
        if places.is_empty() {
            return Err(Error::new(format!("find the cgroups of process {pid}"), Errno::NOENT)
                .with_hint("it is outside our cgroup namespace; run it on the host"));
        }
        Ok(Self { places, made: Vec::new(), payload: None })
    }

    /// Of the cgroups that a process is in, the one around it that `trim` picks out of each path.
    pub fn around(layout: &Layout, pid: Pid, trim: &dyn Fn(&Path) -> PathBuf) -> Result<Self> {
        let membership = Membership::of(pid)?;
        let place = |hierarchy: &Hierarchy| {
            let dir = hierarchy.dir_of(&trim(membership.path_in(hierarchy)?))?;
            dir.is_dir().then(|| Place { dir, hierarchy: hierarchy.clone() })
        };
        let places: Vec<_> = layout.hierarchies().iter().filter_map(place).collect();
        if places.is_empty() {
            return Err(Error::new(format!("find the cgroups of process {pid}"), Errno::NOENT)
                .with_hint("it is outside our cgroup namespace; run it on the host"));
        }
        let payload = delegate::payload_of(&places);
        Ok(Self { places, made: Vec::new(), payload })
    }

    /// The cgroup called `path` below this one, in the hierarchies where there is one, and that of
    /// `elsewhere` in the others.
    pub fn below(&self, path: &CgroupPath, elsewhere: Self) -> Result<Self> {
        let mut found = false;
        let mut places = elsewhere.places;
        for place in &mut places {
            let same = |outer: &&Place| outer.hierarchy == place.hierarchy;
            let Some(outer) = self.places.iter().find(same) else { continue };
            let top = match place.hierarchy.version {
                Version::V1 => &outer.dir,
                Version::V2 => self.payload.as_ref().unwrap_or(&outer.dir),
            };
            let dir = top.join(path);
            if dir.is_dir() {
                place.dir = dir;
                found = true;
            }
        }
        match found {
            true => Ok(Self { places, made: Vec::new(), payload: None }),
            false => Err(Error::new(format!("open cgroup {path} in the cgroup"), Errno::NOENT)),
        }
    }

    /// The directory in the hierarchy that carries `controller` (`name=systemd` for that one).
    pub fn controller_dir(&self, controller: &str) -> Option<&Path> {
        self.place_with(controller).map(|place| place.dir.as_path())
    }

    /// The directory in the v2 tree.
    pub fn unified_dir(&self) -> Option<&Path> {
        self.unified().map(|place| place.dir.as_path())
    }

    /// The directory in the v2 tree that is the guest's: the inner one of a cgroup that was
    /// delegated without `nsdelegate`.
    pub fn payload_dir(&self) -> Option<&Path> {
        self.payload.as_deref().or_else(|| self.unified_dir())
    }

    /// Every directory.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|place| place.dir.as_path())
    }

    /// Directories that [`Cgroup::create`] made, parents before children.
    pub fn made(&self) -> &[PathBuf] {
        &self.made
    }

    /// Whether every directory of `other` is this cgroup's or below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.places.iter().all(|inner| {
            let same = |place: &&Place| place.hierarchy == inner.hierarchy;
            self.places.iter().find(same).is_some_and(|outer| inner.dir.starts_with(&outer.dir))
        })
    }

    /// The processes in the cgroup and below it, in order, each once.
    pub fn procs(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        for place in &self.places {
            tree::visit(&place.dir, &mut |dir| tree::read_procs(dir, &mut pids))?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    fn place_with(&self, controller: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.hierarchy.has(controller))
    }

    fn unified(&self) -> Option<&Place> {
        self.places.iter().find(|place| place.hierarchy.version == Version::V2)
    }
}

impl Place {
    /// The cgroup's directory and those above it, up to the top of the mount.
    fn up_the_tree(&self) -> impl Iterator<Item = &Path> {
        let top = &self.hierarchy.mount_point;
        self.dir.ancestors().take_while(move |dir| dir.starts_with(top))
    }

    /// A file's text, empty where the kernel has no such file or the cgroup is gone. Not every
    /// kernel has each file, and the top of the v2 tree has some since 5.15 only.
    fn read_if_there(&self, file: &str) -> Result<String> {
        let path = self.dir.join(file);
        match kernfs::read_text(&path) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(String::new()),
            read => read.during(|| format!("read {}", path.display())),
        }
    }
}
