//! What a container is called and what is written on it.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct IdentityArgs {
    /// Name the container
    #[arg(short, long)]
    pub name: Option<String>,
    /// Set the host name inside
    #[arg(short = 'h', long)]
    pub hostname: Option<String>,
    /// Attach a label, KEY or KEY=VALUE; repeatable
    #[arg(short, long)]
    pub label: Vec<String>,
    /// Read labels from a file, one a line; repeatable
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<String>,
    /// Attach an annotation, KEY=VALUE; repeatable
    ///
    /// native.umask=secure (0027, the default) or normal (0022) sets the umask.
    #[arg(long)]
    pub annotation: Vec<String>,
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Start it again when it ends
    ///
    /// no, always, on-failure, on-failure:N, unless-stopped, or on-reboot: when the guest reboots.
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
    /// Keep output so: max-size, max-file, path, disable-log
    #[arg(long, value_name = "KEY=VALUE")]
    pub log_opt: Vec<String>,
    /// Keep the console's output with this driver: json-file
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Use this OCI runtime: runc, crun, a path
    ///
    /// Also a name of the table runtimes in daemon.json. Default: isula's own.
    #[arg(short = 'R', long)]
    pub runtime: Option<String>,
}
