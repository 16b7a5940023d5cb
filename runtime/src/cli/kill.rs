use clap::Args;
use linux::signal::Signal;
use ui::{Exit, Report};

use super::Session;

#[derive(Debug, Args)]
pub(super) struct KillArgs {
    /// Every process of the container, also when init is gone
    #[arg(short, long)]
    all: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// A number or a name: 9, KILL, SIGRTMIN+3
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    signal: String,
}

pub(super) fn kill(session: &Session, args: &KillArgs) -> Report {
    let signal: Signal = args.signal.parse()?;
    let signal = match args.all {
        true => signal,
        false => session.runtime.stop_signal(&args.id, signal)?,
    };
    session.runtime.kill(&args.id, signal, args.all)?;
    Ok(Exit::DONE)
}
