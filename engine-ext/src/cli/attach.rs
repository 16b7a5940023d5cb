use std::io::{IsTerminal, stdin};

use anyhow::{Context, bail, ensure};
use clap::Args;
use container::Status;
use ui::{Exit, Report};

use super::Session;
use crate::attach::client::{self, AttachOptions};
use crate::attach::detach::DetachKeys;
use crate::lifecycle::{Outcome, outcome};
use crate::shim::protocol::Attach;

/// Connect to a container's console
///
/// ctrl-p ctrl-q or ctrl-a q leaves it; what it said last is shown again.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// Do not pass our stdin on
    #[arg(long)]
    no_stdin: bool,
    /// Name, id or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) fn attach(session: &Session, args: &AttachArgs) -> Report {
    let container = session.engine.store.find(&args.container)?;
    let config = container.config()?;
    match container.state()?.status {
        Status::Running | Status::Starting => {}
        Status::Paused => bail!("You cannot attach to a paused container, unpause it first"),
        Status::Restarting => {
            bail!("You cannot attach to a restarting container, wait until it is running")
        }
        Status::Created | Status::Stopped => {
            bail!("You cannot attach to a stopped container, start it first")
        }
    }
    let stdin_wanted = config.process.open_stdin && !args.no_stdin;
    ensure!(
        !(config.process.tty && stdin_wanted) || stdin().is_terminal(),
        "the input device is not a TTY"
    );
    let streams =
        Attach { stdin: stdin_wanted, stdout: true, stderr: true, replay: true, lossless: false };
    let connection = client::open(&container.state_dir, &streams)?;
    let connection = connection.with_context(|| {
        format!("the shim has gone; the container runs on: isula stop {}", container.id)
    })?;
    session.engine.tell(&config, "attach", &[]);
    let options = AttachOptions {
        tty: config.process.tty,
        stdin: stdin_wanted,
        detach_keys: if config.process.tty { DetachKeys::default() } else { DetachKeys::none() },
        forward_signals: false,
    };
    match outcome(&container, client::run(connection, options)?)? {
        Outcome::Ended(code) => Ok(Exit::of_process(code)),
        Outcome::Left | Outcome::Runs => Ok(Exit::DONE),
    }
}
