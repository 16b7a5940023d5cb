use std::io::{IsTerminal, stdin};

use anyhow::ensure;
use clap::Args;
use ui::report::chain;
use ui::{Exit, Report};

use super::args::ContainerArgs;
use super::{Session, create, print};
use crate::lifecycle::{self, Foreground, Outcome, Start};

/// Make a container and start it
///
/// In the foreground its output is shown and its exit code is ours; ctrl-p ctrl-q or ctrl-a q
/// leaves it running. Example:
/// isula run -tid --system-container --external-rootfs /srv/web none init
#[derive(Debug, Args)]
#[command(override_usage = "isula run [OPTIONS] --external-rootfs DIR none COMMAND [ARG...]")]
pub(crate) struct RunArgs {
    /// Run in the background and print the id
    #[arg(short, long)]
    detach: bool,
    /// Return when the guest says that it is up (READY=1)
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) fn run(session: &Session, args: &RunArgs) -> Report {
    let process = &args.container.process;
    let request = create::request(session, "run", &args.container)?;
    let foreground = Foreground { tty: process.tty, stdin: process.interactive };
    ensure!(
        args.detach || !(process.tty && process.interactive) || stdin().is_terminal(),
        "the input device is not a TTY"
    );
    ensure!(
        !args.wait || request.system_container,
        "--wait is for system containers: an init says when it is up; drop it"
    );
    ensure!(!args.wait || args.detach, "--wait needs --detach; add it or drop --wait");
    let remove = request.auto_remove;
    let container = create::make(session, request)?;
    let start = Start { foreground: (!args.detach).then_some(foreground), wait: args.wait };
    match lifecycle::start(&session.engine, &container, start) {
        Ok(Outcome::Ended(code)) => Ok(Exit::of_process(code)),
        Ok(Outcome::Left) => Ok(Exit::DONE),
        Ok(Outcome::Runs) => {
            print(&format!("{}\n", container.id))?;
            Ok(Exit::DONE)
        }
        Err(error) => {
            let all = lifecycle::Remove { force: true, volumes: true };
            let removed = match remove {
                true => lifecycle::remove(&session.engine, &container, all),
                false => Ok(()),
            };
            match removed {
                Err(left) if !is_gone(&left) => {
                    let left = chain(&left);
                    Err(error.context(format!("could not remove {}: {left}", container.id)))
                }
                _ => Err(error),
            }
        }
    }
}

/// Its shim was faster.
fn is_gone(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref());
    matches!(cause, Some(container::Error::NotFound(_)))
}
