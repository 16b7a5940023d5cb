use clap::Args;
use ui::Report;

use super::Session;
use crate::lifecycle;

/// Freeze containers
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Let frozen containers run again
#[derive(Debug, Args)]
pub(crate) struct UnpauseArgs {
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn pause(session: &Session, args: &PauseArgs) -> Report {
    session.each(&args.containers, |it| lifecycle::pause(&session.engine, it))
}

pub(crate) fn unpause(session: &Session, args: &UnpauseArgs) -> Report {
    session.each(&args.containers, |it| lifecycle::unpause(&session.engine, it))
}
