use clap::Args;
use ui::{Exit, Report};

use super::{Session, print};

/// Print versions
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {}

pub(crate) fn version(_: &Session, _: &VersionArgs) -> Report {
    let version = env!("CARGO_PKG_VERSION");
    print(&format!(
        "Client:\n  Version:\t{version}\n\nOCI config:\n  Version:\t{}\n",
        crate::spec::OCI_VERSION
    ))?;
    Ok(Exit::DONE)
}
