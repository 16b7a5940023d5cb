use clap::Args;
use ui::Report;

use super::Session;
use crate::lifecycle::{self, Start, Stop};

/// Stop containers and start them again
#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// Seconds until it is killed; 0 at once, negative never
    #[arg(short, long, value_name = "SECONDS", default_value = "10")]
    time: i64,
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn restart(session: &Session, args: &RestartArgs) -> Report {
    session.each(&args.containers, |container| {
        let stop = Stop { timeout: args.time, force: false };
        lifecycle::stop(&session.engine, container, stop)?;
        lifecycle::start(&session.engine, container, Start::default()).map(drop)
    })
}
