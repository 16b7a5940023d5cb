//! Facts of the host that a specification depends on, gathered once and passed in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::spec::DeviceFact;
use crate::spec::seccomp::Machine;

/// The facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Where the container's own files are.
    pub paths: Paths,
    /// Who its init is, by the files of its rootfs.
    pub identity: Identity,
    /// The inits of containers whose namespaces are joined, by the word that names them.
    pub joined: BTreeMap<String, i32>,
    /// Devices it may use.
    pub devices: Vec<DeviceFact>,
    /// Major and minor of the block devices that limits name.
    pub block_devices: BTreeMap<PathBuf, (u32, u32)>,
    /// The size of a huge page, as its cgroup files are named.
    pub huge_page: String,
    /// The hook that gives it the files of lxcfs, if it is to have them.
    pub lxcfs_hook: Option<PathBuf>,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// The clocks that a time namespace can shift, as they are at the start.
    pub clocks: Clocks,
}

/// Whole seconds: what is cut off would make a clock negative, which the kernel refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clocks {
    pub monotonic_s: i64,
    pub boottime_s: i64,
}

/// Where a container's own files are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    pub bundle: PathBuf,
    pub state: PathBuf,
    /// The tree it runs in.
    pub rootfs: PathBuf,
}

/// A user as the kernel knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// Its home directory, if the rootfs names one.
    pub home: Option<String>,
}

impl Host {
    /// The pid of the init that `word` (`container:NAME`) means.
    pub fn joined(&self, word: &str) -> Result<i32> {
        self.joined.get(word).copied().with_context(|| format!("{word} was not looked up"))
    }

    /// What seccomp profiles are flattened for.
    pub fn machine(&self) -> Machine<'static> {
        Machine { architecture: std::env::consts::ARCH, kernel: self.kernel }
    }
}
