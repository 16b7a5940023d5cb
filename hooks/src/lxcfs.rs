//! `lxcfs-hook`: mounts the files of lxcfs over a container's own before its program runs.
//!
//! A container without them works, with the host's values. So a daemon that is not there is a
//! warning, unless the files are required.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _, Parser};
use lxcfs::toolkit::daemon::Daemon;
use lxcfs::toolkit::hook::Start;
use ui::report::WithExit as _;
use ui::{Exit, Report};

/// Give a container that starts the files of lxcfs
///
/// Run by an OCI runtime as a createRuntime or prestart hook, which gives the container's state on
/// stdin.
#[derive(Debug, Parser)]
#[command(name = "lxcfs-hook", version, max_term_width = 100)]
struct Cli {
    /// Runtime directory of lxcfs
    #[arg(long, value_name = "DIR", default_value = "/run/lxcfs")]
    runtime_dir: PathBuf,
    /// Fail if the files cannot be had
    ///
    /// Otherwise the container starts without, and the reason is logged.
    #[arg(long)]
    required: bool,
    /// Append a log to this file instead of stderr
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// The grammar.
#[must_use]
pub fn command() -> Command {
    Cli::command()
}

/// The program.
///
/// # Errors
/// What keeps the container from starting.
pub fn main() -> Report {
    run().exit(Exit::FAILED)
}

fn run() -> Report {
    let cli = Cli::parse();
    ui::log::init(&ui::log::Options { file: cli.log.clone(), ..Default::default() })?;
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("read the state on stdin")?;
    let start = Start::parse(&text)?;
    match attach(&cli, &start) {
        Ok(files) => tracing::info!(container = %start.id, files, "files of lxcfs mounted"),
        Err(error) if cli.required => return Err(error),
        Err(error) => {
            let error = ui::report::chain(&error);
            tracing::warn!(container = %start.id, error, "started without the files of lxcfs");
        }
    }
    Ok(Exit::DONE)
}

fn attach(cli: &Cli, start: &Start) -> Result<usize> {
    let mut daemon = Daemon { mount: PathBuf::new(), runtime_dir: cli.runtime_dir.clone() };
    daemon.mount = daemon.status().context("ask lxcfs where it is mounted")?.mount;
    Ok(start.apply(&daemon)?)
}
