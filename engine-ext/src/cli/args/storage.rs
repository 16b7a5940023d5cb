//! Files of the host, memory as files, devices.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct StorageArgs {
    /// Make the rootfs read-only
    #[arg(long)]
    pub read_only: bool,
    /// Bind a host path or a volume; repeatable
    ///
    /// HOST is an absolute path, or the name of a volume, which is made if there is none; without
    /// it the container gets a volume of its own. One that is empty begins with what the rootfs has
    /// in its place. MODE is a list of rw, ro, nocopy, rprivate, rslave, rshared and their plain
    /// forms.
    #[arg(short, long, value_name = "[HOST:]CONTAINER[:MODE]")]
    pub volume: Vec<String>,
    /// Bind what another container binds, volumes too; repeatable
    ///
    /// With :ro none of it can be written.
    #[arg(long, value_name = "CONTAINER[:ro|rw]")]
    pub volumes_from: Vec<String>,
    /// Attach a filesystem; repeatable
    ///
    /// Types: bind, volume, tmpfs, squashfs. Example:
    /// --mount type=bind,src=/data,dst=/data,readonly
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub mount: Vec<String>,
    /// Mount a tmpfs; repeatable
    ///
    /// Example: --tmpfs /cache:size=64m,mode=1777
    #[arg(long, value_name = "CONTAINER[:OPTIONS]")]
    pub tmpfs: Vec<String>,
    /// Set the size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,
    /// Let it use a device of the host; repeatable
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]")]
    pub device: Vec<String>,
    /// Add a device rule, for example 'c 10:229 rwm'; repeatable
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<String>,
}
