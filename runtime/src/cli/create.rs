//! create, and run: create, start, wait, delete in one process.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use linux::process::PidFd;
use linux::socket::{self, Kind};
use ui::{Exit, Report};

use super::Session;
use crate::policy::Policy;
use crate::relay::Relay;
use crate::{Console, CreateRequest, Created, SystemContainer};

/// What create and run share.
#[derive(Debug, Args)]
pub(super) struct BundleArgs {
    /// The directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Send the terminal's master to this unix socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a pidfd of init to this unix socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Write init's host pid to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Move the rootfs over / instead of pivot_root
    ///
    /// For hosts whose own root is a ramdisk.
    #[arg(long)]
    no_pivot: bool,
    /// Leave init in the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Pass on this many descriptors from 3
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// The host's policy on annotations
    #[arg(long, value_name = "FILE", default_value = crate::policy::DEFAULT)]
    policy: PathBuf,
    /// Name of the container
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    bundle: BundleArgs,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// Keep its state when it has ended
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    bundle: BundleArgs,
}

pub(super) fn create(session: &Session, args: &CreateArgs) -> Report {
    let console = args.bundle.console();
    // A terminal that nobody holds hangs up at once.
    args.bundle.create(session, console, "give --console-socket")?;
    Ok(Exit::DONE)
}

pub(super) fn run(session: &Session, args: &RunArgs) -> Report {
    let id = &args.bundle.id;
    let help = if args.detach { "give --console-socket" } else { "" };
    let mut created = args.bundle.create(session, args.bundle.console(), help)?;
    let console = created.console.take();
    // Before its first byte: from here on signals are the container's.
    let relay = match (console, args.detach) {
        (Some(console), false) => Some(Relay::terminal(console, true)?),
        (None, false) => Some(Relay::signals()?),
        (_, true) => None,
    };
    if let Err(error) = session.runtime.start(id) {
        session.runtime.delete(id, true).context("remove what was not started")?;
        return Err(error.into());
    }
    let Some(relay) = relay else { return Ok(Exit::DONE) };
    let status = relay.run(&created.pidfd)?;
    if !args.keep {
        session.runtime.delete(id, true)?;
    }
    Ok(Exit::of_process(status.code()))
}

impl BundleArgs {
    fn console(&self) -> Console<'_> {
        self.console_socket.as_deref().map_or(Console::Return, Console::Socket)
    }

    /// `terminal_help`: what to do about a terminal that nobody would hold; empty when one will.
    fn create(
        &self,
        session: &Session,
        console: Console<'_>,
        terminal_help: &str,
    ) -> Result<Created> {
        let request = CreateRequest {
            console,
            pid_file: self.pid_file.as_deref(),
            preserve_fds: self.preserve_fds,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            system_container: match session.system_container {
                true => SystemContainer::Always,
                false => SystemContainer::AsAnnotated,
            },
            policy: Policy::load(&self.policy)?,
            systemd_cgroup: session.systemd_cgroup,
            ..CreateRequest::new(&self.id, &self.bundle)
        };
        let created = session.runtime.create(request)?;
        let handed_over = self.hand_over(&created, terminal_help);
        if let Err(error) = handed_over {
            session.runtime.delete(&self.id, true).context("remove what was half made")?;
            return Err(error);
        }
        Ok(created)
    }

    fn hand_over(&self, created: &Created, terminal_help: &str) -> Result<()> {
        if created.console.is_some() && !terminal_help.is_empty() {
            anyhow::bail!("the process has a terminal that nobody takes; {terminal_help}");
        }
        match &self.pidfd_socket {
            Some(path) => send_pidfd(path, &created.pidfd),
            None => Ok(()),
        }
    }
}

fn send_pidfd(path: &Path, pidfd: &PidFd) -> Result<()> {
    let act = || format!("send the pidfd to {}", path.display());
    let socket = socket::connect(path, Kind::Stream).with_context(act)?;
    socket::send_fds(&socket, b"pidfd", &[pidfd.as_fd()]).with_context(act)?;
    Ok(())
}
