//! Options and commands of the predecessor that need its daemon or its images: known, and refused
//! by name.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
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

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum UnsupportedVerb {
    #[command(hide = true)]
    Images(Anything),
    #[command(hide = true)]
    Import(Anything),
    #[command(hide = true)]
    Load(Anything),
    #[command(hide = true)]
    Login(Anything),
    #[command(hide = true)]
    Logout(Anything),
    #[command(hide = true)]
    Pull(Anything),
    #[command(hide = true)]
    Rmi(Anything),
    #[command(hide = true)]
    Search(Anything),
    #[command(hide = true)]
    Tag(Anything),
}

const NO_IMAGES: &str = "there are no images: unpack one and use --external-rootfs";

impl UnsupportedVerb {
    pub(crate) fn name(&self) -> &'static str {
        self.what().0
    }

    pub(crate) fn refuse(&self) -> Report {
        bail!("not supported; {}", self.what().1)
    }

    fn what(&self) -> (&'static str, &'static str) {
        match self {
            Self::Images(_) => ("images", NO_IMAGES),
            Self::Import(_) => ("import", NO_IMAGES),
            Self::Load(_) => ("load", NO_IMAGES),
            Self::Login(_) => ("login", NO_IMAGES),
            Self::Logout(_) => ("logout", NO_IMAGES),
            Self::Pull(_) => ("pull", NO_IMAGES),
            Self::Rmi(_) => ("rmi", NO_IMAGES),
            Self::Search(_) => ("search", NO_IMAGES),
            Self::Tag(_) => ("tag", NO_IMAGES),
        }
    }
}
