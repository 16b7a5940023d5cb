use anyhow::ensure;
use clap::Args;
use ui::{Exit, Report};

use super::Session;
use crate::lifecycle::{self, Foreground, Outcome, Start};

/// Start containers
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Stay with its console; for one container
    #[arg(short, long)]
    attach: bool,
    /// Pass our stdin on; for one container
    #[arg(short, long)]
    interactive: bool,
    /// Return when the guest says that it is up (READY=1)
    #[arg(long)]
    wait: bool,
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn start(session: &Session, args: &StartArgs) -> Report {
    if !args.attach && !args.interactive {
        let start = Start { foreground: None, wait: args.wait };
        return session.each(&args.containers, |container| {
            ensure!(
                !args.wait || container.config()?.system_container,
                "--wait is for system containers: an init says when it is up; drop it"
            );
            lifecycle::start(&session.engine, container, start).map(drop)
        });
    }
    let [name] = &args.containers[..] else {
        anyhow::bail!("--attach is for one container; name one");
    };
    ensure!(!args.wait, "--wait and --attach contradict each other; drop one");
    let container = session.engine.store.find(name)?;
    let tty = container.config()?.process.tty;
    let foreground = Some(Foreground { tty, stdin: args.interactive });
    match lifecycle::start(&session.engine, &container, Start { foreground, wait: false })? {
        Outcome::Ended(code) => Ok(Exit::of_process(code)),
        Outcome::Left | Outcome::Runs => Ok(Exit::DONE),
    }
}
