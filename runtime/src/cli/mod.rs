//! The OCI command line, as engines call it: global options, a verb, its options, an id.
//!
//! Engines read what a runtime writes. On success `state`, `features`, `list` and `ps` write their
//! document and nothing else, on either stream. An error is one line on stderr and, with `--log`,
//! the last record of that file; containerd's shim and podman look for words in it ("does not
//! exist", "container not running").

mod create;
mod events;
mod exec;
mod features;
mod install;
mod kill;
mod life;
mod list;
mod log;
mod not_here;
mod ps;
mod spec;
mod state;
mod update;
mod verbs;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::error::ErrorKind;
use clap::{
    ArgAction, ArgMatches, Args, Command, CommandFactory as _, FromArgMatches as _, Parser,
    ValueEnum,
};
use ui::report::WithExit as _;
use ui::{Exit, Report};

use self::verbs::{ALL, Verb};
use crate::{Runtime, exe};

/// What the process is called once it has been sealed.
const NAME: &str = "isula-runtime";

/// Where containers are kept unless `--root` says.
pub const DEFAULT_ROOT: &str = "/run/isula-runtime";

/// Run containers from OCI bundles
#[derive(Debug, Parser)]
#[command(
    name = "isula-runtime",
    version,
    disable_help_subcommand = true,
    disable_version_flag = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Keep the state of containers below this directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_ROOT)]
    root: PathBuf,
    /// Append records of errors and warnings to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Records as text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Record this much: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
    /// Record every step
    #[arg(long)]
    debug: bool,
    /// Make every container a system container
    ///
    /// As the annotation org.isula.system-container=true would, for engines that pass none: a
    /// writable cgroup of its own, tmpfs on /run and /tmp, what an init needs.
    #[arg(long)]
    system_container: bool,
    /// Who makes cgroups: cgroupfs or systemd
    #[arg(long, value_name = "MANAGER", default_value = "cgroupfs")]
    cgroup_manager: CgroupManager,
    /// The same as --cgroup-manager systemd
    ///
    /// cgroupsPath is then SLICE:PREFIX:NAME, and the container gets the scope PREFIX-NAME.scope.
    #[arg(long)]
    systemd_cgroup: bool,
    /// Only false and auto: containers are run by root
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    rootless: Option<String>,
    /// Where criu is; checkpoint and restore, which would call it, are not supported
    #[arg(long, value_name = "PATH")]
    criu: Option<PathBuf>,
    /// Print the version
    #[arg(long, short, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CgroupManager {
    Cgroupfs,
    Systemd,
}

/// What every verb works with.
#[derive(Debug)]
struct Session {
    runtime: Runtime,
    system_container: bool,
    systemd_cgroup: bool,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before the command line is read, as the program then starts again (see `exe`).
    let makes_processes = |word: &OsString| word == "create" || word == "run" || word == "exec";
    if arguments.iter().any(makes_processes)
        && let Err(error) = exe::seal(NAME)
    {
        return ui::run(NAME, || Err(error.into()));
    }
    let (global, matches) = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => return ui::run(NAME, || answer(&error)),
    };
    let records = log::Records::new(&global);
    ui::run(NAME, || {
        let report = dispatch(global, &matches);
        if let Err(error) = &report {
            records.error(error);
        }
        report
    })
}

/// Takes the words by the grammar of the one command that comes first among them: it is the one that
/// is asked for, or this grammar does not understand the words. Then, and for help, the whole
/// grammar answers.
fn parse(words: &[OsString]) -> Result<(Global, ArgMatches), clap::Error> {
    let named = words.iter().skip(1).find_map(|word| ALL.iter().find(|verb| word == verb.name));
    let program = program().subcommands(named.map(Verb::command));
    let matches = match program.try_get_matches_from(words) {
        Err(error) if error.kind() != ErrorKind::DisplayVersion => {
            command().try_get_matches_from(words)?
        }
        parsed => parsed?,
    };
    let Cli { global } = Cli::from_arg_matches(&matches)?;
    Ok((global, matches))
}

/// What there is to say instead of doing something.
fn answer(error: &clap::Error) -> Report {
    match error.kind() {
        ErrorKind::DisplayVersion => print(&version()).map(|()| Exit::DONE),
        ErrorKind::DisplayHelp => print(&error.render().to_string()).map(|()| Exit::DONE),
        _ => Err(one_line(error)).exit(Exit::FAILED),
    }
}

/// What is wrong with the command line.
fn one_line(error: &clap::Error) -> anyhow::Error {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines: Vec<&str> =
        text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    anyhow!("{}; try --help", lines.join(" "))
}

/// The whole grammar, for manual pages and checks.
#[must_use]
pub fn command() -> clap::Command {
    let mut whole = program().subcommands(ALL.iter().map(Verb::command));
    whole.build();
    whole
}

/// The grammar without any command.
fn program() -> Command {
    Cli::command().subcommand_required(true).arg_required_else_help(true)
}

fn version() -> String {
    format!("{NAME} version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), features::NEWEST)
}

fn dispatch(global: Global, matches: &ArgMatches) -> Report {
    check(&global)?;
    log::init(&global)?;
    let root = std::path::absolute(&global.root)
        .with_context(|| format!("make {} absolute", global.root.display()))?;
    let seccomp = root.join(".seccomp");
    let session = Session {
        runtime: Runtime::new(root).with_seccomp_cache(seccomp),
        system_container: global.system_container,
        systemd_cgroup: global.systemd_cgroup || global.cgroup_manager == CgroupManager::Systemd,
    };
    let (name, matches) = matches.subcommand().expect("the grammar asks for a command");
    let verb = ALL.iter().find(|verb| verb.name == name).expect("the grammar has no others");
    verb.run(&session, matches)
}

/// Global options that ask for what there is not.
fn check(global: &Global) -> Result<()> {
    let rootless = global.rootless.as_deref().unwrap_or("false");
    ensure!(
        matches!(rootless, "false" | "auto"),
        "--rootless={rootless}: containers are run by root; leave it out"
    );
    Ok(())
}

/// Data goes to stdout, whole or not at all.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("write to stdout")
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(value).context("encode the answer")? + "\n"))
}

#[cfg(test)]
mod tests;
