//! start, pause, resume, delete: one call each.

use clap::Args;
use ui::{Exit, Report};

use super::Session;

#[derive(Debug, Args)]
pub(super) struct IdArgs {
    /// The container
    #[arg(value_name = "ID")]
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Kill it first; one that does not exist is no error
    #[arg(short, long)]
    force: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) fn start(session: &Session, args: &IdArgs) -> Report {
    session.runtime.start(&args.id)?;
    Ok(Exit::DONE)
}

pub(super) fn pause(session: &Session, args: &IdArgs) -> Report {
    session.runtime.pause(&args.id)?;
    Ok(Exit::DONE)
}

pub(super) fn resume(session: &Session, args: &IdArgs) -> Report {
    session.runtime.resume(&args.id)?;
    Ok(Exit::DONE)
}

pub(super) fn delete(session: &Session, args: &DeleteArgs) -> Report {
    session.runtime.delete(&args.id, args.force)?;
    Ok(Exit::DONE)
}
