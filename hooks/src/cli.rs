//! The command line of `syscontainer-hooks`: the turn, and where things are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches, Parser, ValueEnum};
use syscontainer_tools::JOURNAL;
use syscontainer_tools::nic::{LINKS, Links};
use syscontainer_tools::target::RECORDS;
use ui::report::WithExit;
use ui::{Exit, Report};

use crate::modules::ALLOW_LIST;
use crate::{prestart, stdin};

/// Add to a container that starts what was recorded of it
///
/// Run by an OCI runtime, which gives the container's state on stdin. Also called isulad-hooks.
#[derive(Debug, Parser)]
#[command(name = "syscontainer-hooks", version, max_term_width = 100)]
pub struct Cli {
    /// The turn of the container's life
    #[arg(long, value_name = "TURN", value_enum)]
    state: Turn,
    /// Append a log to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Records of containers that are not isula's
    #[arg(long, value_name = "DIR", default_value = RECORDS)]
    records: PathBuf,
    /// What is known of links given away
    #[arg(long, value_name = "DIR", default_value = LINKS)]
    links: PathBuf,
    /// The kernel modules that a container may ask for, one a line
    #[arg(long, value_name = "FILE", default_value = ALLOW_LIST)]
    modules_allow: PathBuf,
    /// Not supported: the host stays as strict as it is
    #[arg(long, hide = true)]
    with_relabel: bool,
}

/// A turn of a container's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Turn {
    /// Before it starts, the older word
    Prestart,
    /// Before it starts
    #[value(name = "createRuntime", alias = "createruntime")]
    CreateRuntime,
    /// It has started
    Poststart,
    /// It has ended
    Poststop,
}

/// The grammar.
#[must_use]
pub fn command() -> Command {
    Cli::command()
}

/// The program.
///
/// # Errors
/// What keeps the container from starting.
pub fn main() -> Report {
    linux::memory::share_heap();
    run(std::env::args_os()).exit(Exit::FAILED)
}

fn run(arguments: impl Iterator<Item = OsString>) -> Report {
    let matches = match command().try_get_matches_from(arguments.map(two_dashes)) {
        Ok(matches) => matches,
        Err(error) => return answer(&error),
    };
    let cli = Cli::from_arg_matches(&matches).map_err(|error| anyhow!(first_line(&error)))?;
    act(&cli)
}

fn act(cli: &Cli) -> Report {
    if cli.with_relabel {
        return Err(anyhow!(
            "--with-relabel: not supported, as it made the whole host permissive; label the rootfs \
             beforehand"
        ))
        .exit(Exit::USAGE);
    }
    let level = if cli.log.is_some() { ui::log::Level::Debug } else { ui::log::Level::Warn };
    ui::log::init(&ui::log::Options { file: cli.log.clone(), level, ..Default::default() })?;
    let state = stdin::state()?;
    let links = Links::new(&cli.links);
    let done: Result<()> = match cli.state {
        Turn::Prestart | Turn::CreateRuntime => {
            prestart::prestart(&state, &cli.records, links, &cli.modules_allow, Path::new(JOURNAL))
        }
        Turn::Poststart => Ok(()),
        Turn::Poststop => prestart::poststop(&state, &cli.records, links),
    };
    match &done {
        Ok(()) => tracing::info!(container = %state.id, turn = ?cli.state, "hook done"),
        // Without a log of our own stderr has it anyway.
        Err(error) if cli.log.is_some() => {
            tracing::error!(container = %state.id, error = ui::report::chain(error), "hook failed");
        }
        Err(_) => {}
    }
    done.map(|()| Exit::DONE)
}

/// The predecessor took `-name` for `--name`.
fn two_dashes(argument: OsString) -> OsString {
    match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(name) if name.len() > 1 && !name.starts_with('-') => {
            OsString::from(format!("--{name}"))
        }
        _ => argument,
    }
}

fn answer(error: &clap::Error) -> Report {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error.print().context("write to stdout")?;
            Ok(Exit::DONE)
        }
        _ => Err(anyhow!(first_line(error))).exit(Exit::USAGE),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_turn_that_is_none_is_an_error() {
        let run = |line: &str| {
            let error = run(line.split(' ').map(OsString::from)).unwrap_err();
            format!("{:?} {}", ui::report::exit_of(&error), ui::report::chain(&error))
        };
        expect!["Exit(2) invalid value 'never' for '--state <TURN>' [possible values: prestart, createRuntime, poststart, poststop]"]
            .assert_eq(&run("hook --state never"));
        assert!(run("hook").contains("--state <TURN>"));
        expect!["Exit(2) --with-relabel: not supported, as it made the whole host permissive; label the rootfs beforehand"]
            .assert_eq(&run("hook -state=prestart -with-relabel"));
    }
}
