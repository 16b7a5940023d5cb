//! The command line: one struct and one short function a command.

pub mod args;
mod attach;
mod completion;
mod cp;
mod create;
mod events;
mod exec;
mod export;
mod info;
mod inspect;
mod kill;
mod listing;
mod logs;
mod network;
mod pause;
mod port;
mod prepare_rootfs;
mod ps;
mod rename;
mod restart;
mod rm;
mod run;
mod start;
mod stats;
mod stop;
mod top;
mod unsupported;
mod update;
mod verbs;
mod version;
mod volume;
mod wait;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::error::ErrorKind;
use clap::{ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser};
use container::daemon_json::DAEMON_JSON;
use container::{Container, DaemonJson, Store};
use ui::report::{Many, WithExit};
use ui::{Exit, Report};

use crate::lifecycle::Engine;
use crate::shim::client::{self, LaunchError};
use verbs::Verb;

/// Run system containers and ordinary ones, without a daemon
#[derive(Debug, Parser)]
#[command(
    name = "isula",
    version,
    disable_help_flag = true,
    disable_help_subcommand = true,
    infer_long_args = false,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Keep containers in this directory
    ///
    /// Default: graph in daemon.json, else /var/lib/isulad.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Keep track of running containers in this directory
    ///
    /// Default: state in daemon.json, else /run/isulad.
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Supervise containers with this program
    ///
    /// Default: $ISULA_SHIM, else isula-shim beside this program.
    #[arg(long, global = true, value_name = "PROGRAM")]
    shim: Option<PathBuf>,
    /// Read the host's settings from this file
    #[arg(long, global = true, value_name = "FILE", default_value = DAEMON_JSON)]
    daemon_json: PathBuf,
    /// Log to this file instead of stderr
    #[arg(long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Log this much: error, warn, info, debug, trace
    ///
    /// Default: log-level in daemon.json, else warn.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log as text or json
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: String,
    /// Log every step
    #[arg(short = 'D', long, global = true)]
    debug: bool,
    /// Print help
    #[arg(long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    daemon: unsupported::DaemonArgs,
}

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) engine: Engine,
    pub(crate) host: HostSettings,
}

/// What `daemon.json` says, and where it is.
#[derive(Debug)]
pub(crate) struct HostSettings {
    pub(crate) path: PathBuf,
    pub(crate) settings: DaemonJson,
}

/// The program.
pub fn main() -> Report {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // A process that enters a container has to be sealed, which is one more start of this program:
    // before it has read the command line, not after. Nobody is hurt by one seal too many.
    if arguments.iter().any(|word| word == "exec") {
        runtime::exe::seal("isula").context("exec").exit(Exit::NOT_STARTED)?;
    }
    run(arguments)
}

/// The program with these arguments, the first of them its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Report {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let matches = match parse(&words) {
        Ok(matches) => matches,
        Err(error) => return answer(&error),
    };
    let cli = Cli::from_arg_matches(&matches).map_err(|error| anyhow!(plain(&error)))?;
    let (name, matches) = matches.subcommand().expect("the grammar asks for a command");
    let verb = verbs::all().find(|verb| verb.name == name).expect("the grammar has no others");
    dispatch(cli.global, verb, matches)
}

/// The grammar.
#[must_use]
pub fn command() -> Command {
    let mut whole = program().subcommands(verbs::all().map(|verb| verb.command()));
    whole.build();
    whole
}

/// The grammar without any command.
fn program() -> Command {
    adapt(Cli::command()).subcommand_required(true).arg_required_else_help(true)
}

/// Takes the words by the grammar of the one command that comes first among them: it is the one that
/// is asked for, or this grammar does not understand the words. Then, and for help, the whole
/// grammar answers.
fn parse(words: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let named = words.iter().skip(1).find_map(|word| verbs::all().find(|verb| word == verb.name));
    match program().subcommands(named.map(|verb| verb.command())).try_get_matches_from(words) {
        Err(error) if error.kind() != ErrorKind::DisplayVersion => {
            command().try_get_matches_from(words)
        }
        parsed => parsed,
    }
}

/// Arguments with those habits.
#[derive(Debug)]
struct Adapted<T>(T);

impl<T: Args> Args for Adapted<T> {
    fn augment_args(command: Command) -> Command {
        adapt(T::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        adapt(T::augment_args_for_update(command))
    }
}

impl<T: FromArgMatches> FromArgMatches for Adapted<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// The two habits of the predecessor: every flag may say `=true` or `=false`, and the word after an
/// option that takes one is its value, whatever it begins with.
pub(crate) fn adapt(command: Command) -> Command {
    command.mut_args(|arg| {
        if arg.is_positional() {
            return arg;
        }
        match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .value_parser(clap::value_parser!(bool))
                .value_name("BOOL")
                .hide_possible_values(true)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .hide_default_value(true),
            ArgAction::Set | ArgAction::Append => arg.allow_hyphen_values(true),
            _ => arg,
        }
    })
}

fn dispatch(global: Global, verb: Verb, matches: &ArgMatches) -> Report {
    let report = global.daemon.check().and_then(|()| verb.run(&session(global)?, matches));
    report.map_err(|error| exit_code(error.context(verb.name), verb.name))
}

fn session(global: Global) -> Result<Session> {
    let settings = DaemonJson::read(&global.daemon_json)?;
    let level = match (&global.log_level, settings.log_level.as_str()) {
        _ if global.debug => "debug",
        (Some(level), _) => level,
        (None, "") => "warn",
        (None, word) => log_level(word)
            .with_context(|| format!("{}: log-level {word:?}", global.daemon_json.display()))?,
    };
    ui::log::init(&ui::log::Options {
        file: global.log.clone(),
        level: level.parse().map_err(|error: String| anyhow!("--log-level: {error}"))?,
        format: global.log_format.parse().map_err(|e: String| anyhow!("--log-format: {e}"))?,
    })?;
    let absolute = |path: &Path| {
        std::path::absolute(path).with_context(|| format!("make {} absolute", path.display()))
    };
    let layout = settings.layout(global.root, global.state);
    Ok(Session {
        engine: Engine {
            store: Store::new(absolute(layout.root())?, absolute(layout.state())?),
            shim: match global.shim.or_else(|| std::env::var_os("ISULA_SHIM").map(Into::into)) {
                Some(program) => program,
                None => client::program()?,
            },
            start_timeout: start_timeout(&settings)
                .with_context(|| format!("{}: start-timeout", global.daemon_json.display()))?,
        },
        host: HostSettings { path: global.daemon_json, settings },
    })
}

fn start_timeout(settings: &DaemonJson) -> Result<Option<Duration>> {
    let text = Some(settings.start_timeout.as_str()).filter(|text| !text.is_empty());
    let limit = text.map(crate::request::health::duration).transpose()?;
    Ok(limit.filter(|limit| !limit.is_zero()))
}

/// Our word for one of the predecessor's.
fn log_level(word: &str) -> Result<&'static str> {
    Ok(match word.to_ascii_uppercase().as_str() {
        "FATAL" | "ALERT" | "CRIT" | "ERROR" => "error",
        "WARN" => "warn",
        "NOTICE" | "INFO" => "info",
        "DEBUG" => "debug",
        "TRACE" => "trace",
        _ => bail!("use FATAL, ALERT, CRIT, ERROR, WARN, NOTICE, INFO, DEBUG or TRACE"),
    })
}

/// What could not be executed or found says so; `create`, `run` and `exec` mean 125 otherwise.
fn exit_code(error: anyhow::Error, verb: &str) -> anyhow::Error {
    let of_process = error.chain().find_map(|cause| cause.downcast_ref::<LaunchError>());
    let exit = match of_process {
        Some(refusal) => Exit(refusal.exit_code),
        None if matches!(verb, "create" | "run" | "exec") => Exit::NOT_STARTED,
        None => Exit::FAILED,
    };
    Err::<(), _>(error).exit(exit).expect_err("it is an error")
}

/// Help is an answer; the rest is a wrong command line.
fn answer(error: &clap::Error) -> Report {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print(&error.render().to_string())?;
            Ok(Exit::DONE)
        }
        _ => Err(anyhow!(plain(error))).exit(Exit::NOT_STARTED),
    }
}

/// What is wrong, on one line, with the nearest word that would be right.
fn plain(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let first = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let mut plain = first.collect::<Vec<_>>().join(" ");
    let tips = text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    for tip in tips.filter(|tip| tip.contains("similar")) {
        plain = format!("{plain}; {tip}");
    }
    plain + "; try --help"
}

/// Data goes to stdout, whole or not at all.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("write to stdout")
}

impl Session {
    /// Does the same to each container, goes on after a failure, and prints what went well.
    pub(crate) fn each(&self, names: &[String], act: impl Fn(&Container) -> Result<()>) -> Report {
        let mut errors = vec![];
        for name in names {
            let done =
                self.engine.store.find(name).map_err(Into::into).and_then(|container| {
                    act(&container).with_context(|| format!("container {name}"))
                });
            match done {
                Ok(()) => print(&format!("{name}\n"))?,
                Err(error) => errors.push(error),
            }
        }
        Many::check(errors)?;
        Ok(Exit::DONE)
    }
}

#[cfg(test)]
mod tests;
