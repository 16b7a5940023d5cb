use anyhow::Result;
use clap::Args;
use ui::report::Many;
use ui::{Exit, Report};

use super::{Session, print};
use crate::lifecycle;

/// Wait until containers end; print their exit codes
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn wait(session: &Session, args: &WaitArgs) -> Report {
    let mut errors = vec![];
    for name in &args.containers {
        let code: Result<i32> =
            session.engine.store.find(name).map_err(Into::into).and_then(|c| lifecycle::wait(&c));
        match code {
            Ok(code) => print(&format!("{code}\n"))?,
            Err(error) => errors.push(error),
        }
    }
    Many::check(errors)?;
    Ok(Exit::DONE)
}
