//! Options of system containers.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct SystemArgs {
    /// Boot an init system; needs --external-rootfs
    #[arg(long)]
    pub system_container: bool,
    /// Run in this directory of the host; never removed
    ///
    /// Or in the filesystem that a block device or a disk image holds.
    #[arg(long, value_name = "DIR|DEVICE|IMAGE")]
    pub external_rootfs: Option<String>,
    /// Run root as UID:GID of the host, with SIZE ids
    ///
    /// A rootfs that belongs to UID:GID is used as it is; one that belongs to 0:0 is shown to the
    /// container through an idmapped mount and stays as it is on disk.
    /// Example: --user-remap 100000:100000:65535
    #[arg(long, value_name = "UID:GID:SIZE")]
    pub user_remap: Option<String>,
    /// Make kernel settings of a namespace writable: net, ipc
    #[arg(long, value_name = "net|ipc|net,ipc")]
    pub ns_change_opt: Option<String>,
    /// Share a tmpfs with the host
    ///
    /// HOST is made at start and removed with the container. MODE is rw (default) or ro, SIZE is
    /// 64M unless given, at least 4K. Example: --host-channel /testdir:/testdir:rw:32M
    #[arg(long, value_name = "HOST:CONTAINER:MODE:SIZE")]
    pub host_channel: Option<String>,
    /// Write the environment to this file of the rootfs, too
    #[arg(long, value_name = "FILE")]
    pub env_target_file: Option<String>,
    /// Show a machine of its own by lxcfs: auto, on, off
    ///
    /// auto (default): a system container gets it when lxcfs runs at its start. on: it does not
    /// start without.
    #[arg(long, value_name = "auto|on|off")]
    pub lxcfs: Option<String>,
    /// Runtime directory of lxcfs
    #[arg(long, value_name = "DIR", default_value = "/run/lxcfs")]
    pub lxcfs_dir: String,
    /// Run the hooks of this file at start and stop
    #[arg(long, value_name = "FILE")]
    pub hook_spec: Option<String>,
}
