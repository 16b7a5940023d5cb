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
    /// Set what the kernel's security has for it; repeatable
    ///
    /// seccomp=FILE or unconfined, no-new-privileges, apparmor=PROFILE, and label=PART:VALUE, where
    /// PART is user, role, type or level of the SELinux label; label=disable sets none.
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
}
