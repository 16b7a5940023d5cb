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
    /// Remove anonymous volumes, too; there are none
    #[arg(short, long)]
    volumes: bool,
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn rm(session: &Session, args: &RmArgs) -> Report {
    // Anonymous volumes are refused at create, so --volumes has nothing to do, and has done it.
    let _ = args.volumes;
    session.each(&args.containers, |container| {
        lifecycle::remove(&session.engine, container, args.force)
    })
}
