use anyhow::anyhow;
use clap::Args;
use linux::process::Signal;
use ui::Report;

use super::Session;
use crate::lifecycle;

/// Send a signal to containers
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// A name with or without SIG, a number, or RTMIN+N
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn kill(session: &Session, args: &KillArgs) -> Report {
    let signal: Signal =
        args.signal.parse().map_err(|_| anyhow!("Invalid signal: {}", args.signal))?;
    session.each(&args.containers, |container| lifecycle::kill(&session.engine, container, signal))
}
