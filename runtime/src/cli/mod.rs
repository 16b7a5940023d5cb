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

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use ui::report::WithExit as _;
use ui::{Exit, Report};

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
    #[command(subcommand)]
    verb: Verb,
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

#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Verb {
    /// Not supported
    Checkpoint(not_here::Anything),
    /// Make a container that waits for its start
    Create(create::CreateArgs),
    /// Remove a container that has ended
    Delete(life::DeleteArgs),
    /// Report what a container uses
    Events(events::EventsArgs),
    /// Run a further process in a container
    Exec(exec::ExecArgs),
    /// Print what this runtime can do
    Features(features::FeaturesArgs),
    /// Tell an engine about this runtime
    Install(install::InstallArgs),
    /// Send a signal to a container
    Kill(kill::KillArgs),
    /// List containers
    List(list::ListArgs),
    /// Stop every process of a container in its tracks
    Pause(life::IdArgs),
    /// List the processes of a container
    Ps(ps::PsArgs),
    /// Not supported
    Restore(not_here::Anything),
    /// Let a paused container go on
    Resume(life::IdArgs),
    /// Create a container, start it, wait for it and remove it
    Run(create::RunArgs),
    /// Write an example config.json
    Spec(spec::SpecArgs),
    /// Run the program of a created container
    Start(life::IdArgs),
    /// Print the state of a container
    State(life::IdArgs),
    /// Change the limits of a container
    Update(update::UpdateArgs),
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
    let cli = match grammar(&arguments) {
        Ok(cli) => cli,
        Err(outcome) => return ui::run(NAME, || outcome),
    };
    let records = log::Records::new(&cli.global);
    ui::run(NAME, || {
        let report = dispatch(cli);
        if let Err(error) = &report {
            records.error(error);
        }
        report
    })
}

/// The command line, or what there is to say instead.
fn grammar(arguments: &[OsString]) -> Result<Cli, Report> {
    Cli::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayVersion => print(&version()).map(|()| Exit::DONE),
        ErrorKind::DisplayHelp => print(&error.render().to_string()).map(|()| Exit::DONE),
        _ => {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let lines: Vec<&str> =
                text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            Err(anyhow!("{}; try --help", lines.join(" "))).exit(Exit::FAILED)
        }
    })
}

/// The whole grammar, for manual pages and checks.
#[must_use]
pub fn command() -> clap::Command {
    let mut whole = Cli::command();
    whole.build();
    whole
}

fn version() -> String {
    format!("{NAME} version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), features::NEWEST)
}

fn dispatch(cli: Cli) -> Report {
    let Cli { global, verb } = cli;
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
    match verb {
        Verb::Checkpoint(_) => not_here::refuse("checkpoint"),
        Verb::Create(args) => create::create(&session, &args),
        Verb::Delete(args) => life::delete(&session, &args),
        Verb::Events(args) => events::events(&session, &args),
        Verb::Exec(args) => exec::exec(&session, &args).exit(Exit(255)),
        Verb::Features(args) => features::features(&args),
        Verb::Install(args) => install::install(&args),
        Verb::Kill(args) => kill::kill(&session, &args),
        Verb::List(args) => list::list(&session, &args),
        Verb::Pause(args) => life::pause(&session, &args),
        Verb::Ps(args) => ps::ps(&session, &args),
        Verb::Restore(_) => not_here::refuse("restore"),
        Verb::Resume(args) => life::resume(&session, &args),
        Verb::Run(args) => create::run(&session, &args),
        Verb::Spec(args) => spec::spec(&args),
        Verb::Start(args) => life::start(&session, &args),
        Verb::State(args) => state::state(&session, &args),
        Verb::Update(args) => update::update(&session, &args),
    }
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
