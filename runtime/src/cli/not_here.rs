//! Verbs that engines know and this runtime does not have.

use anyhow::bail;
use clap::Args;
use ui::Report;

/// A command line that nobody reads.
#[derive(Debug, Args)]
pub(super) struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _words: Vec<String>,
}

pub(super) fn refuse(verb: &str) -> Report {
    bail!("{verb} is not supported; stop the container and start it again instead")
}
