//! The program that becomes the container's init.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct ProcessArgs {
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Keep its stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Set a variable; KEY alone copies ours; repeatable
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Read variables from a file, one a line; repeatable
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Run this program; the command becomes its arguments
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Run as this user, looked up inside
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    pub user: Option<String>,
    /// Add a group, looked up inside; repeatable
    #[arg(long, value_name = "GROUP|GID")]
    pub group_add: Vec<String>,
    /// Send this signal at stop; what init understands unless given
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Limit a resource of its processes; repeatable
    ///
    /// Example: --ulimit nofile=1024:2048
    #[arg(long, value_name = "TYPE=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
}
