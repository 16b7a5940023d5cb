use clap::Args;
use ui::Report;

use super::Session;
use crate::lifecycle::{self, Stop};

/// Stop containers
///
/// The init gets the signal that it understands as "shut down" (systemd: SIGRTMIN+3), or that of
/// --stop-signal; after the time-out everything is killed.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Seconds until it is killed; 0 at once, negative never
    #[arg(short, long, value_name = "SECONDS", default_value = "10")]
    pub(super) time: i64,
    /// Kill it at once
    #[arg(short, long)]
    force: bool,
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn stop(session: &Session, args: &StopArgs) -> Report {
    let stop = Stop { timeout: args.time, force: args.force };
    session.each(&args.containers, |container| lifecycle::stop(&session.engine, container, stop))
}
