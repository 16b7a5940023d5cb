//! `container.json`: what was asked for (file format). `create` writes it, `rename` and `update`
//! rewrite it. The OCI spec beside it is made from the same request; whoever supervises or
//! reconfigures the container reads this one.

mod ports;
mod resources;
mod restart;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use oci_spec::runtime::Hooks;
use serde::{Deserialize, Serialize};

pub use ports::{InvalidPort, Port, PortMapping, Protocol, PublishedPort};
pub use resources::{DeviceValue, Hugetlb, Resources, Ulimit};
pub use restart::{InvalidPolicy, RestartPolicy};

use crate::id::{ContainerId, ContainerName};
use crate::volume::VolumeName;

/// The version of the file format.
pub const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Version of this format.
    pub version: u32,
    /// The full id.
    pub id: ContainerId,
    /// The name, or the id again.
    pub name: ContainerName,
    /// When it was made, RFC 3339.
    pub created: String,
    /// What stood in the image's place: `none`.
    pub image: String,
    /// The tree it runs in. Never ours: not moved, not removed.
    pub rootfs: PathBuf,
    /// That is a block device or a disk image that holds the tree.
    #[serde(default)]
    pub rootfs_image: bool,
    /// It boots an init system.
    pub system_container: bool,
    /// Everything is open to it.
    pub privileged: bool,
    /// Its rootfs cannot be written.
    pub read_only: bool,
    /// The program that becomes its init.
    pub process: Process,
    /// Its host name.
    pub hostname: String,
    /// `host`, `none`, `container:ID` for each; `None` is a namespace of its own.
    pub namespaces: Namespaces,
    /// Its link to a bridge of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgePort>,
    /// Ports that it is said to serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<Port>,
    /// Each of those has one of the host that leads to it.
    #[serde(default)]
    pub publish_all: bool,
    /// Host ids that the ids inside become.
    pub user_remap: Option<UserRemap>,
    /// The directory its cgroup is made in, from the root of each hierarchy.
    pub cgroup_parent: String,
    /// Limits.
    pub resources: Resources,
    /// Capabilities, seccomp and the rest.
    pub security: Security,
    /// Host paths it sees.
    pub mounts: Vec<Mount>,
    /// Host devices it may use, as they were written.
    pub devices: Vec<String>,
    /// A tmpfs it shares with the host.
    pub host_channel: Option<HostChannel>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Kernel settings of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Paths below `/proc/sys` that it may write.
    pub ns_change_files: Vec<String>,
    /// The words that chose them.
    pub ns_change_opt: Option<String>,
    /// Lines for `/etc/hosts` and `/etc/resolv.conf`.
    pub network_files: NetworkFiles,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// It is removed when it ends.
    pub auto_remove: bool,
    /// What `stop` sends; `None`: what its init understands.
    pub stop_signal: Option<String>,
    /// Where its output is kept.
    pub log: Log,
    /// The file its hooks were read from.
    pub hook_spec: Option<PathBuf>,
    /// The hooks, as they were when it was made.
    #[serde(default)]
    pub hooks: Hooks,
    /// Whether lxcfs shows it a machine of its own.
    #[serde(default)]
    pub lxcfs: Lxcfs,
    /// How its health is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// Words for people.
    pub labels: BTreeMap<String, String>,
    /// Words for programs.
    pub annotations: BTreeMap<String, String>,
    /// Who runs it; `None` is our own runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<OciRuntime>,
}

/// An OCI runtime that is not ours, as it was when the container was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciRuntime {
    /// What it was asked for by.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// What it is given before each verb.
    #[serde(default)]
    pub args: Vec<String>,
}

/// The `--health-*` options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// For `/bin/sh -c` inside.
    pub command: String,
    /// Milliseconds from the end of one check to the next.
    pub interval_ms: u64,
    /// Milliseconds that a check may take.
    pub timeout_ms: u64,
    /// Milliseconds before the first check.
    pub start_period_ms: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Unhealthy, it is killed.
    pub exit_on_unhealthy: bool,
}

/// `--lxcfs`, and where its daemon is to be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lxcfs {
    /// Whether its files are wanted.
    pub choice: LxcfsChoice,
    /// The daemon's runtime directory.
    pub directory: PathBuf,
}

impl Default for Lxcfs {
    fn default() -> Self {
        Self { choice: LxcfsChoice::default(), directory: "/run/lxcfs".into() }
    }
}

/// Whether a container gets the files of lxcfs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LxcfsChoice {
    /// If it is a system container and the daemon runs when it starts.
    #[default]
    Auto,
    /// It does not start without them.
    On,
    /// Never.
    Off,
}

/// The program that becomes init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments.
    pub args: Vec<String>,
    /// What `--entrypoint` said.
    pub entrypoint: Option<String>,
    /// `KEY=VALUE`, complete.
    pub env: Vec<String>,
    /// A file in the rootfs that holds the environment as well.
    pub env_target_file: Option<PathBuf>,
    /// Directory it starts in.
    pub cwd: PathBuf,
    /// `NAME|UID[:GROUP|GID]` as it was written; empty for root.
    pub user: String,
    /// Further groups, names or numbers.
    pub group_add: Vec<String>,
    /// It has a terminal.
    pub tty: bool,
    /// Its stdin stays open while nobody is attached.
    pub open_stdin: bool,
}

/// Namespaces that are not its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// `none` is an empty one of its own.
    pub net: Option<String>,
    /// Process ids.
    pub pid: Option<String>,
    /// System V and POSIX message queues.
    pub ipc: Option<String>,
    /// Host name.
    pub uts: Option<String>,
    /// User ids.
    pub user: Option<String>,
    /// cgroup paths.
    pub cgroup: Option<String>,
    /// Its clocks of uptime begin when it starts.
    #[serde(default)]
    pub time: bool,
}

/// `--net bridge=NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePort {
    /// The bridge.
    pub bridge: String,
    /// The address that it asks for.
    pub address: Option<Ipv4Addr>,
    /// The hardware address that it asks for.
    pub mac: Option<[u8; 6]>,
    /// What of the host leads to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<PortMapping>,
}

/// `--user-remap UID:GID:SIZE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRemap {
    /// Host id of the container's uid 0.
    pub uid: u32,
    /// Host id of the container's gid 0.
    pub gid: u32,
    /// How many ids are mapped.
    pub size: u32,
}

impl fmt::Display for UserRemap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.uid, self.gid, self.size)
    }
}

/// What it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// As they were written.
    pub cap_add: Vec<String>,
    /// As they were written.
    pub cap_drop: Vec<String>,
    /// The `--security-opt` words.
    pub options: Vec<String>,
    /// Nothing it executes gains privileges.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Which system calls it may make.
    #[serde(default)]
    pub seccomp: Seccomp,
    /// Its AppArmor profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// The SELinux label of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Those of the built-in profile.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// Those of this document, in docker's format, as it was when the container was made.
    Profile(serde_json::Value),
}

/// A host path, a volume or a tmpfs, inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Which of them.
    pub kind: MountKind,
    /// The host's side, or the image; empty for a tmpfs.
    pub source: PathBuf,
    /// The container's side.
    pub destination: PathBuf,
    /// As mount(8) writes them.
    pub options: Vec<String>,
    /// The volume whose data is the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
}

/// What a [`Mount`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A host path.
    Bind,
    /// A directory that outlives the container.
    Volume,
    /// Memory.
    Tmpfs,
    /// What is in an image file, read-only.
    Squashfs,
}

/// `--host-channel HOST:CONTAINER:MODE:SIZE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostChannel {
    /// Directory on the host, made and removed by us.
    pub host_path: PathBuf,
    /// Where it is inside.
    pub container_path: PathBuf,
    /// It cannot be written from inside.
    pub read_only: bool,
    /// Bytes.
    pub size: u64,
}

/// What goes into `/etc/hosts` and `/etc/resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFiles {
    /// `NAME:ADDRESS`.
    pub extra_hosts: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
}

/// Where the console's output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Nowhere.
    pub disabled: bool,
    /// Somewhere else than in the bundle.
    pub path: Option<PathBuf>,
    /// Bytes before it is rotated.
    pub max_size: u64,
    /// How many files are kept, the written one among them.
    pub max_file: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { disabled: false, path: None, max_size: 30 << 20, max_file: 7 }
    }
}

#[cfg(test)]
mod tests;
