//! The container's file tree, from detached mounts to `pivot_root`, by descriptor only.
//!
//! ```text
//! parent, host privileges          child, in its namespaces
//! -----------------------          ------------------------
//! prepare: rootfs, bind sources,
//!   block filesystems, /dev with
//!   its nodes: detached mounts
//! clone3 ------------------------> has the same mounts by descriptor
//! idmap them                       attach rootfs on its own host path, the rest below it
//! runtime hooks see it there       sysctl, createContainer hooks, masks, read-only
//!                                  pivot_root
//! ```
//!
//! `/dev` and its nodes belong to the host's user namespace: only so can the host add nodes later.

pub(crate) mod attach;
mod cgroups;
mod copyup;
mod devices;
pub(crate) mod mask;
mod options;
pub(crate) mod pivot;
mod prepare;
pub(crate) mod sysctl;

pub(crate) use options::MOUNT_OPTIONS;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use linux::mount::Propagation;
use linux::ns::Namespace;

use self::cgroups::CgroupMount;
use self::options::{Named, Recursion};

pub(crate) use self::prepare::{Needs, is_hole, prepare};

/// What the parent hands to the child.
#[derive(Debug)]
pub(crate) struct Rootfs {
    /// Its path on the host.
    pub(crate) path: PathBuf,
    /// The tree, detached until the child attaches it.
    pub(crate) tree: OwnedFd,
    /// Shows files of the host's root as the container's.
    idmapped: bool,
    read_only: bool,
    propagation: Option<(Propagation, Recursion)>,
    mounts: Vec<Entry>,
    /// Nodes that are bound to their place one by one, in a filesystem of the host.
    nodes: Option<devices::Store>,
    masked: Vec<String>,
    read_only_paths: Vec<String>,
    /// Paths below /proc/sys that stay writable.
    holes: Vec<Hole>,
    sysctl: Vec<sysctl::Setting>,
}

/// One entry of `mounts`, in the order of the bundle.
#[derive(Debug)]
struct Entry {
    destination: PathBuf,
    source: Source,
    flags: Named,
}

#[derive(Debug)]
enum Source {
    /// A detached mount, made by the parent.
    Tree {
        mount: OwnedFd,
        directory: bool,
        idmap: Option<Idmap>,
    },
    /// A filesystem that takes the namespaces of the process that opens it.
    Fresh {
        fstype: String,
        source: Option<String>,
        parameters: Vec<(String, Option<String>)>,
        /// It begins with what it covers.
        copy_up: bool,
        propagation: Option<Propagation>,
    },
    /// Nothing new: what is mounted there is changed.
    Remount {
        all: Named,
        propagation: Option<(Propagation, Recursion)>,
        parameters: Vec<(String, Option<String>)>,
    },
    Cgroup(CgroupMount),
}

#[derive(Debug)]
struct Idmap {
    recursion: Recursion,
    /// Of its own; else the container's.
    namespace: Option<Namespace>,
}

#[derive(Debug)]
struct Hole {
    path: PathBuf,
    flags: Named,
}
