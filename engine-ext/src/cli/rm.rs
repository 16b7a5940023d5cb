use clap::Args;
use ui::Report;

use super::Session;
use crate::lifecycle;

/// Remove containers; their rootfs stays
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Kill it first if it runs
    #[arg(short, long)]
    force: bool,
    /// Remove the volumes that were made for it, too
    ///
    /// Those are the ones without a name of yours.
    #[arg(short, long)]
    volumes: bool,
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn rm(session: &Session, args: &RmArgs) -> Report {
    let remove = lifecycle::Remove { force: args.force, volumes: args.volumes };
    session
        .each(&args.containers, |container| lifecycle::remove(&session.engine, container, remove))
}
