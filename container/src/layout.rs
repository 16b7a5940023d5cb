//! Every path we use on disk.
//!
//! ```text
//! <root>/                     survives a reboot
//!   .lock                     held while the set of containers or names changes
//!   engines/isula/<id>/       the bundle
//!     config.json             the OCI spec                 written by create
//!     container.json          what was asked for           written by create, rename, update
//!     state.json              what came of it              written by the shim
//!     console.log             hostname hosts resolv.conf host/
//!     device_hook.json        what was hot-added           written by its lock's holder
//!   names/<name>              holds the id of its container
//!   volumes/<name>/           volume.json  _data/ (what containers see)
//! <state>/                    gone after a reboot
//!   <id>/                     shim.sock  shim.lock  notify  rootfs/ images/ (of images, mounted)
//!   networks/<bridge>/<addr>  the id of the container that has it, and its published ports
//!   events.log                what happened to containers
//!   runtime/                  state root of the runtime
//!   rootfs/<dev>-<inode>      locked while a container lives on that rootfs
//! ```

use std::path::{Path, PathBuf};

use crate::id::{ContainerId, ContainerName};

/// Where containers are kept unless told otherwise.
pub const DEFAULT_ROOT: &str = "/var/lib/isulad";
/// Where running containers are kept track of unless told otherwise.
pub const DEFAULT_STATE: &str = "/run/isulad";

/// The two directories everything is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    state: PathBuf,
}

impl Default for Layout {
    fn default() -> Self {
        Self::new(DEFAULT_ROOT, DEFAULT_STATE)
    }
}

impl Layout {
    /// A layout below `root` (lasting) and `state` (until reboot).
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), state: state.into() }
    }

    /// The lasting directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of this boot.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Held while the set of containers or names changes.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }

    /// The directory of all bundles.
    #[must_use]
    pub fn bundles(&self) -> PathBuf {
        self.root.join("engines/isula")
    }

    /// A container's bundle.
    #[must_use]
    pub fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.bundles().join(id.as_str())
    }

    /// The directory of all reserved names.
    #[must_use]
    pub fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// The file that reserves a name; it holds the id.
    #[must_use]
    pub fn name(&self, name: &ContainerName) -> PathBuf {
        self.names().join(name.as_str())
    }

    /// The directory of all volumes.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Where a container's shim is met.
    #[must_use]
    pub fn container_state(&self, id: &ContainerId) -> PathBuf {
        self.state.join(id.as_str())
    }

    /// The state root that the runtime is given.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.state.join("runtime")
    }

    /// The directory of the addresses that containers have on bridges.
    #[must_use]
    pub fn networks(&self) -> PathBuf {
        self.state.join("networks")
    }

    /// The directory of the locks on rootfs trees.
    #[must_use]
    pub fn rootfs_locks(&self) -> PathBuf {
        self.state.join("rootfs")
    }
}

/// File names inside a bundle.
pub mod bundle {
    /// The OCI spec.
    pub const SPEC: &str = "config.json";
    /// What was asked for.
    pub const CONFIG: &str = "container.json";
    /// What came of it.
    pub const STATE: &str = "state.json";
    /// The console's log, unless told otherwise.
    pub const CONSOLE_LOG: &str = "console.log";
    /// Bound on `/etc/hostname` of an ordinary container.
    pub const HOSTNAME: &str = "hostname";
    /// Bound on `/etc/hosts` of an ordinary container.
    pub const HOSTS: &str = "hosts";
    /// Bound on `/etc/resolv.conf` of an ordinary container.
    pub const RESOLV_CONF: &str = "resolv.conf";
    /// Files that a system container finds below `/run/host`.
    pub const HOST: &str = "host";
    /// The record of hot-added things.
    pub const RECORD: &str = "device_hook.json";
    /// Its lock.
    pub const RECORD_LOCK: &str = ".device_hook.lock";
}

/// File names inside a container's state directory.
pub mod running {
    /// The shim listens here.
    pub const SHIM_SOCKET: &str = "shim.sock";
    /// The living shim holds it exclusively.
    pub const SHIM_LOCK: &str = "shim.lock";
    /// The rootfs of a container that has it in an image.
    pub const ROOTFS: &str = "rootfs";

    /// The image that it has attached as its mount with this index.
    #[must_use]
    pub fn image(index: usize) -> String {
        format!("images/{index}")
    }

    /// Bound on `/run/host/notify`; the shim listens here for `READY=1`.
    pub const NOTIFY: &str = "notify";
}
