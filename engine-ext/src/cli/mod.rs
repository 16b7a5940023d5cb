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
mod version;
mod volume;
mod wait;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::error::ErrorKind;
use clap::{
    ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
};
use container::daemon_json::DAEMON_JSON;
use container::{Container, DaemonJson, Store};
use ui::report::{Many, WithExit};
use ui::{Exit, Report};

use crate::lifecycle::Engine;
use crate::shim::client::{LaunchError, program};

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
    #[command(subcommand)]
    verb: Verb,
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

// Deferred: the grammar of one command is made, not that of all. Of a start-up of 2 ms that is the
// larger half, nearly all of it first touches of fresh memory.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Verb {
    Attach(Adapted<attach::AttachArgs>),
    Completion(Adapted<completion::CompletionArgs>),
    Cp(Adapted<cp::CpArgs>),
    Create(Adapted<Box<create::CreateArgs>>),
    Events(Adapted<events::EventsArgs>),
    Exec(Adapted<exec::ExecArgs>),
    Export(Adapted<export::ExportArgs>),
    Info(Adapted<info::InfoArgs>),
    Inspect(Adapted<inspect::InspectArgs>),
    Kill(Adapted<kill::KillArgs>),
    Logs(Adapted<logs::LogsArgs>),
    Network(network::NetworkArgs),
    Pause(Adapted<pause::PauseArgs>),
    Port(Adapted<port::PortArgs>),
    PrepareRootfs(Adapted<prepare_rootfs::PrepareRootfsArgs>),
    Ps(Adapted<ps::PsArgs>),
    Rename(Adapted<rename::RenameArgs>),
    Restart(Adapted<restart::RestartArgs>),
    Rm(Adapted<rm::RmArgs>),
    Run(Adapted<Box<run::RunArgs>>),
    Start(Adapted<start::StartArgs>),
    Stats(Adapted<stats::StatsArgs>),
    Stop(Adapted<stop::StopArgs>),
    Top(Adapted<top::TopArgs>),
    Unpause(Adapted<pause::UnpauseArgs>),
    Update(Adapted<Box<update::UpdateArgs>>),
    Version(Adapted<version::VersionArgs>),
    Volume(volume::VolumeArgs),
    Wait(Adapted<wait::WaitArgs>),
    #[command(flatten)]
    Unsupported(unsupported::UnsupportedVerb),
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
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match grammar().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return help(&arguments),
        Err(error) => return answer(&error),
    };
    let cli = Cli::from_arg_matches(&matches).map_err(|error| anyhow!(plain(&error)))?;
    dispatch(cli)
}

/// The grammar, with the two habits of the predecessor: every flag may say `=true` or `=false`,
/// and the word after an option that takes one is its value, whatever it begins with.
fn grammar() -> Command {
    adapt(Cli::command())
}

/// The whole of it, with every command's part made.
pub fn command() -> Command {
    let mut whole = grammar();
    whole.build();
    whole
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

fn dispatch(cli: Cli) -> Report {
    let Cli { global, verb } = cli;
    let verb_name = verb.name();
    let report = global.daemon.check().and_then(|()| execute(global, verb));
    report.map_err(|error| exit_code(error.context(verb_name), verb_name))
}

fn execute(global: Global, verb: Verb) -> Report {
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
    let session = Session {
        engine: Engine {
            store: Store::new(absolute(layout.root())?, absolute(layout.state())?),
            shim: match global.shim.or_else(|| std::env::var_os("ISULA_SHIM").map(Into::into)) {
                Some(program) => program,
                None => program()?,
            },
            start_timeout: start_timeout(&settings)
                .with_context(|| format!("{}: start-timeout", global.daemon_json.display()))?,
        },
        host: HostSettings { path: global.daemon_json, settings },
    };
    match verb {
        Verb::Attach(Adapted(args)) => attach::attach(&session, &args),
        Verb::Completion(Adapted(args)) => completion::completion(&args),
        Verb::Cp(Adapted(args)) => cp::cp(&session, &args),
        Verb::Create(Adapted(args)) => create::create(&session, &args),
        Verb::Events(Adapted(args)) => events::events(&session, &args),
        Verb::Exec(Adapted(args)) => exec::exec(&session, &args),
        Verb::Export(Adapted(args)) => export::export(&session, &args),
        Verb::Info(Adapted(args)) => info::info(&session, &args),
        Verb::Inspect(Adapted(args)) => inspect::inspect(&session, &args),
        Verb::Kill(Adapted(args)) => kill::kill(&session, &args),
        Verb::Logs(Adapted(args)) => logs::logs(&session, &args),
        Verb::Network(args) => network::network(&session, &args),
        Verb::Pause(Adapted(args)) => pause::pause(&session, &args),
        Verb::Port(Adapted(args)) => port::port(&session, &args),
        Verb::PrepareRootfs(Adapted(args)) => prepare_rootfs::prepare_rootfs(&args),
        Verb::Ps(Adapted(args)) => ps::ps(&session, &args),
        Verb::Rename(Adapted(args)) => rename::rename(&session, &args),
        Verb::Restart(Adapted(args)) => restart::restart(&session, &args),
        Verb::Rm(Adapted(args)) => rm::rm(&session, &args),
        Verb::Run(Adapted(args)) => run::run(&session, &args),
        Verb::Start(Adapted(args)) => start::start(&session, &args),
        Verb::Stats(Adapted(args)) => stats::stats(&session, &args),
        Verb::Stop(Adapted(args)) => stop::stop(&session, &args),
        Verb::Top(Adapted(args)) => top::top(&session, &args),
        Verb::Unpause(Adapted(args)) => pause::unpause(&session, &args),
        Verb::Update(Adapted(args)) => update::update(&session, &args),
        Verb::Version(Adapted(args)) => version::version(&args),
        Verb::Volume(args) => volume::volume(&session, &args),
        Verb::Wait(Adapted(args)) => wait::wait(&session, &args),
        Verb::Unsupported(verb) => verb.refuse(),
    }
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

impl Verb {
    fn name(&self) -> &'static str {
        match self {
            Self::Attach(_) => "attach",
            Self::Completion(_) => "completion",
            Self::Cp(_) => "cp",
            Self::Create(_) => "create",
            Self::Events(_) => "events",
            Self::Exec(_) => "exec",
            Self::Export(_) => "export",
            Self::Info(_) => "info",
            Self::Inspect(_) => "inspect",
            Self::Kill(_) => "kill",
            Self::Logs(_) => "logs",
            Self::Network(_) => "network",
            Self::Pause(_) => "pause",
            Self::Port(_) => "port",
            Self::PrepareRootfs(_) => "prepare-rootfs",
            Self::Ps(_) => "ps",
            Self::Rename(_) => "rename",
            Self::Restart(_) => "restart",
            Self::Rm(_) => "rm",
            Self::Run(_) => "run",
            Self::Start(_) => "start",
            Self::Stats(_) => "stats",
            Self::Stop(_) => "stop",
            Self::Top(_) => "top",
            Self::Unpause(_) => "unpause",
            Self::Update(_) => "update",
            Self::Version(_) => "version",
            Self::Volume(_) => "volume",
            Self::Wait(_) => "wait",
            Self::Unsupported(verb) => verb.name(),
        }
    }
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

/// Help lists the commands with what each does, which is part of their grammars.
fn help(arguments: &[OsString]) -> Report {
    let error = command().try_get_matches_from(arguments).expect_err("help was asked for");
    answer(&error)
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
