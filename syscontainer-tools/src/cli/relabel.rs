//! `relabel`, which is not done.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};

/// Not supported: the predecessor's made the whole host permissive
///
/// Label the rootfs of a container on the host (setfiles -r ROOTFS), and leave SELinux enforcing.
#[derive(Debug, Args)]
pub(super) struct RelabelArgs {
    /// Accepted to be refused with the rest
    #[arg(long, value_name = "DIR", hide = true)]
    isulad_path: Option<String>,
    /// Accepted to be refused with the rest
    #[arg(long, value_name = "DIR", hide = true)]
    rootfs: Option<String>,
}

/// The refusal.
pub(super) fn refuse(_: &mut Context, _: &RelabelArgs) -> Result<()> {
    Err(Error::Unsupported(
        "relabel: not supported, as it made the whole host permissive; label the rootfs of the \
         container on the host: setfiles -r ROOTFS, or chcon -R"
            .into(),
    ))
}
