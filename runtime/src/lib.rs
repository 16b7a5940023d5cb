//! An OCI runtime as a library: from a bundle to a running container.
//!
//! [`Runtime`] owns one state root; each verb of the OCI life cycle is a method in the file of its
//! name. Everything happens in the caller's process, which must be single-threaded for the verbs
//! that make a process: the child is a plain copy of it, and cgroups are joined without the
//! kernel's grace period only by a thread group of one.

mod bundle;
mod cgroup;
mod child;
pub mod cli;
mod console;
mod create;
mod delete;
mod error;
pub mod exe;
mod exec;
mod external;
mod handshake;
mod hooks;
mod idmap;
mod kill;
mod loopback;
mod namespaces;
mod net_devices;
mod pause;
pub mod policy;
mod program;
pub mod relay;
mod rootfs;
pub mod security;
mod start;
mod state;
mod stdio;
pub mod stop_signal;
pub mod system;
mod systemd;
mod update;
mod validate;

use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

pub use bundle::Bundle;
pub use create::Created;
pub use error::{Error, Result};
pub use exec::{Exec, ExecRequest};
pub use state::{Saved, State, Status};
pub use system::SystemContainer;

use external::Driver;
pub use external::Foreign;
use oci_spec::runtime::Spec;
use policy::Policy;

/// The containers below one state root, and what may be done with them.
#[derive(Debug, Clone)]
pub struct Runtime {
    root: PathBuf,
    seccomp_cache: Option<PathBuf>,
    foreign: Option<Foreign>,
}

impl Runtime {
    /// The containers whose state is kept in `<state_root>/<id>/`.
    #[must_use]
    pub fn new(state_root: impl Into<PathBuf>) -> Self {
        Self { root: state_root.into(), seccomp_cache: None, foreign: None }
    }

    /// Keeps compiled seccomp filters in `directory`, named by the hash of their profile.
    #[must_use]
    pub fn with_seccomp_cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.seccomp_cache = Some(directory.into());
        self
    }

    /// Has another runtime do everything, where one is given.
    #[must_use]
    pub fn with_foreign(mut self, foreign: Option<Foreign>) -> Self {
        self.foreign = foreign;
        self
    }

    /// The other runtime on a container, where there is one.
    fn driver<'a>(&'a self, id: &'a str) -> Result<Option<Driver<'a>>> {
        self.foreign.as_ref().map(|foreign| Driver::new(foreign, self, id)).transpose()
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where compiled seccomp filters are kept, if anywhere.
    #[must_use]
    pub fn seccomp_cache(&self) -> Option<&Path> {
        self.seccomp_cache.as_deref()
    }
}

/// What `create` is asked for.
#[derive(Debug, Clone)]
pub struct CreateRequest<'a> {
    /// Name of the container below the state root.
    pub id: &'a str,
    /// Directory that holds `config.json`.
    pub bundle: &'a Path,
    /// What `config.json` says, from one who has just written it; else it is read.
    pub spec: Option<Spec>,
    /// The container's standard streams when its process has no terminal.
    pub stdio: Stdio<'a>,
    /// Who gets the master of the terminal, when the process has one.
    pub console: Console<'a>,
    /// Where the host pid of init is written, by rename.
    pub pid_file: Option<&'a Path>,
    /// Descriptors 3 to 3+n-1 are passed on to the container's process.
    pub preserve_fds: u32,
    /// Moves the rootfs over `/` instead of `pivot_root`, for hosts that boot from a ramdisk.
    pub no_pivot: bool,
    /// Leaves init in the caller's session keyring.
    pub no_new_keyring: bool,
    /// Whether the bundle is to be made a system container's first.
    pub system_container: SystemContainer,
    /// What the host forbids bundles to ask for.
    pub policy: Policy,
    /// Has systemd make the cgroup: `linux.cgroupsPath` is `SLICE:PREFIX:NAME`.
    pub systemd_cgroup: bool,
}

impl<'a> CreateRequest<'a> {
    /// The bundle, with the document that came along or the one that is read.
    fn take_bundle(&mut self) -> Result<Bundle> {
        match self.spec.take() {
            Some(spec) => Bundle::of(self.bundle, spec),
            None => Bundle::load(self.bundle),
        }
    }

    /// A request with the defaults of the OCI command line.
    #[must_use]
    pub fn new(id: &'a str, bundle: &'a Path) -> Self {
        Self {
            id,
            bundle,
            spec: None,
            stdio: Stdio::Inherit,
            console: Console::Return,
            pid_file: None,
            preserve_fds: 0,
            no_pivot: false,
            no_new_keyring: false,
            system_container: SystemContainer::AsWritten,
            policy: Policy::default(),
            systemd_cgroup: false,
        }
    }
}

/// The standard streams a container's process starts with.
#[derive(Debug, Clone, Copy)]
pub enum Stdio<'a> {
    /// Those of the caller.
    Inherit,
    /// These three.
    Use {
        /// Becomes descriptor 0.
        stdin: BorrowedFd<'a>,
        /// Becomes descriptor 1.
        stdout: BorrowedFd<'a>,
        /// Becomes descriptor 2.
        stderr: BorrowedFd<'a>,
    },
}

/// What happens with the master of a terminal.
#[derive(Debug, Clone, Copy)]
pub enum Console<'a> {
    /// It is returned to the caller.
    Return,
    /// It is sent over the unix socket at this path.
    Socket(&'a Path),
}
