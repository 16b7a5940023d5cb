//! What `create` and `run` have in common, as it is typed. Nothing is judged here; `request` does.

mod health;
mod identity;
mod namespaces;
mod process;
mod resources;
mod security;
mod storage;
mod system;
mod unsupported;

use clap::Args;

pub use health::HealthArgs;
pub use identity::IdentityArgs;
pub use namespaces::NamespaceArgs;
pub use process::ProcessArgs;
pub use resources::ResourceArgs;
pub use security::SecurityArgs;
pub use storage::StorageArgs;
pub use system::SystemArgs;
pub use unsupported::UnsupportedArgs;

/// Everything that is fixed when a container is made.
#[derive(Debug, Clone, Default, Args)]
pub struct ContainerArgs {
    #[command(flatten, next_help_heading = "System container")]
    pub system: SystemArgs,
    #[command(flatten, next_help_heading = "Identity")]
    pub identity: IdentityArgs,
    #[command(flatten, next_help_heading = "Process")]
    pub process: ProcessArgs,
    #[command(flatten, next_help_heading = "Files")]
    pub storage: StorageArgs,
    #[command(flatten, next_help_heading = "Resources")]
    pub resources: ResourceArgs,
    #[command(flatten, next_help_heading = "Namespaces and network")]
    pub namespaces: NamespaceArgs,
    #[command(flatten, next_help_heading = "Security")]
    pub security: SecurityArgs,
    #[command(flatten, next_help_heading = "Health")]
    pub health: HealthArgs,
    #[command(flatten)]
    pub unsupported: UnsupportedArgs,
    /// "none" in the image's place, then the command
    #[arg(value_name = "none COMMAND [ARG...]", trailing_var_arg = true)]
    pub positional: Vec<String>,
}
