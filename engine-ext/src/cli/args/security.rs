//! What it may do.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct SecurityArgs {
    /// Open everything to it
    #[arg(long)]
    pub privileged: bool,
    /// Add a capability, or all; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Drop a capability, or all; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// Set seccomp=FILE, seccomp=unconfined, no-new-privileges
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
}
