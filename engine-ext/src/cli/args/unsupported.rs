//! Options of the predecessor that mean something we do not do. They are known so that they can
//! be refused by name, with the way out.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct UnsupportedArgs {
    #[arg(long, hide = true)]
    pub storage_opt: Vec<String>,
    #[arg(long, hide = true)]
    pub pull: Option<String>,
    #[arg(long, hide = true)]
    pub no_pivot: bool,
}
