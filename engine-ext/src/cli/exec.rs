use std::io::{ErrorKind, IsTerminal, stdin, stdout};

use anyhow::{bail, ensure};
use clap::Args;
use ui::report::WithExit;
use ui::{Exit, Report};

use super::Session;
use crate::lifecycle::exec::{Exec, exec as run};
use crate::request::{check_user, environment};

/// Run a command in a running container
///
/// Without -i, -t and -d, a command on a terminal gets one, as if -it had been given; in a
/// pipeline it gets none. Ends with the command, whatever that left in the background.
#[derive(Debug, Args)]
#[command(override_usage = "isula exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub(crate) struct ExecArgs {
    /// Do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// Set a variable; KEY alone copies ours; repeatable
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// Pass our stdin on
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Run as this user, looked up inside
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    user: Option<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Name, id or the beginning of an id; then the command
    #[arg(value_name = "CONTAINER COMMAND [ARG...]", trailing_var_arg = true, num_args = 2..)]
    words: Vec<String>,
}

pub(crate) fn exec(session: &Session, args: &ExecArgs) -> Report {
    let [name, command @ ..] = &args.words[..] else { bail!("name a container and a command") };
    ensure!(
        !command[0].starts_with('-'),
        "{:?} after the container is the command; write options before the container",
        command[0]
    );
    ensure!(
        !args.tty || !args.interactive || args.detach || stdin().is_terminal(),
        "the input device is not a TTY"
    );
    if let Some(dir) = &args.workdir {
        ensure!(dir.starts_with('/'), "--workdir {dir}: the path must be absolute");
    }
    let plain = !args.tty && !args.interactive && !args.detach;
    let person = plain && stdin().is_terminal() && stdout().is_terminal();
    let exec = Exec {
        args: command.to_vec(),
        env: environment::variables(&args.env, &|name| std::env::var(name).ok())?,
        cwd: args.workdir.clone(),
        user: args.user.clone().map(check_user).transpose()?,
        tty: (args.tty || person) && !args.detach,
        interactive: args.interactive || person,
        detach: args.detach,
    };
    let container = session.engine.store.find(name)?;
    match run(&session.engine, &container, &exec) {
        Ok(Some(status)) => Ok(Exit::of_process(status.code())),
        Ok(None) => Ok(Exit::DONE),
        Err(error) => {
            let exit = exit_of(&error);
            Err(error).exit(exit)
        }
    }
}

fn exit_of(error: &anyhow::Error) -> Exit {
    match error.chain().find_map(|cause| cause.downcast_ref::<runtime::Error>()) {
        Some(runtime::Error::Child { kind: ErrorKind::NotFound, .. }) => Exit::NOT_FOUND,
        Some(runtime::Error::Child { kind: ErrorKind::PermissionDenied, .. }) => {
            Exit::NOT_EXECUTABLE
        }
        _ => Exit::NOT_STARTED,
    }
}
