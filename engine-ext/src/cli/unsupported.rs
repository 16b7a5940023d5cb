//! Options and commands of the predecessor that need its daemon or its images: known, and refused
//! by name.

use anyhow::{Result, bail};
use clap::Args;
use ui::Report;

#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    #[arg(short = 'H', long, global = true, hide = true)]
    host: Vec<String>,
    #[arg(long, global = true, hide = true)]
    tls: bool,
    #[arg(long, global = true, hide = true)]
    tlsverify: bool,
    #[arg(long, global = true, hide = true)]
    tlscacert: Option<String>,
    #[arg(long, global = true, hide = true)]
    tlscert: Option<String>,
    #[arg(long, global = true, hide = true)]
    tlskey: Option<String>,
}

impl DaemonArgs {
    /// There is nobody to connect to.
    pub(crate) fn check(&self) -> Result<()> {
        let given = [
            ("--host", !self.host.is_empty()),
            ("--tls", self.tls),
            ("--tlsverify", self.tlsverify),
            ("--tlscacert", self.tlscacert.is_some()),
            ("--tlscert", self.tlscert.is_some()),
            ("--tlskey", self.tlskey.is_some()),
        ];
        for (name, given) in given {
            if given {
                bail!(
                    "{name} is not supported; there is no daemon to connect to: run isula on the \
                     host, as root"
                );
            }
        }
        Ok(())
    }
}

/// The rest of a command line that nobody reads.
#[derive(Debug, Args)]
pub(crate) struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _words: Vec<String>,
}

/// A command that works on images.
pub(crate) fn refuse() -> Report {
    bail!("not supported; there are no images: unpack one and use --external-rootfs")
}
