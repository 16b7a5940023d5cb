//! The command line: one struct and one short function a command.

mod device;
mod inspect;
mod nic;
mod output;
mod path;
mod recover;
mod relabel;
mod route;
mod verbs;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser};
use container::DaemonJson;
use container::Store;
use container::daemon_json::DAEMON_JSON;
use linux::process::Pid;
use linux::signal::Signal;

use crate::audit::JOURNAL;
use crate::bounds::{Bounds, CONFIG};
use crate::deadline::Limit;
use crate::engine::Engine;
use crate::error::{Error, Result, io};
use crate::nic::{LINKS, Links};
use crate::privileges;
use crate::session::{Scope, Session};
use crate::target::{Places, RECORDS, Target};
use output::Output;
use verbs::Verb;

/// Add devices, links, routes and paths to containers while they run
///
/// What is added is recorded, and added again at every start by the hooks. The name
/// syscontainer-tools means the same program.
#[derive(Debug, Parser)]
#[command(name = "isulad-tools", version, disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    _global: Global,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Look for containers in this directory
    ///
    /// Default: graph in /etc/isulad/daemon.json, else /var/lib/isulad.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Look for running containers in this directory
    ///
    /// Default: state in /etc/isulad/daemon.json, else /run/isulad.
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Whose container is meant
    #[arg(long, global = true, value_name = "ENGINE", value_enum, default_value = "auto")]
    engine: Engine,
    /// Look for files of other engines below this directory
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    engine_files: PathBuf,
    /// Keep records of other engines' containers in this directory
    #[arg(long, global = true, value_name = "DIR", default_value = RECORDS)]
    records: PathBuf,
    /// Keep what is known of links given away in this directory
    #[arg(long, global = true, value_name = "DIR", default_value = LINKS)]
    links: PathBuf,
    /// Write down changes for the journal that listens on this socket
    #[arg(long, global = true, value_name = "SOCKET", default_value = JOURNAL)]
    journal: PathBuf,
    /// Read from this file how much a container may be given
    #[arg(long, global = true, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// The container is the one with this init; its name is that of its record
    #[arg(long, global = true, value_name = "PID")]
    pid: Option<i32>,
    /// The bundle of the container that --pid means
    #[arg(long, global = true, value_name = "DIR", requires = "pid")]
    bundle: Option<PathBuf>,
    /// Answer in JSON, errors too
    #[arg(long, global = true)]
    json: bool,
    /// Say what would be done, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,
    /// Give up on a container that does not answer, after so many seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Log to this file instead of stderr
    #[arg(long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Log this much: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
    /// Log as text or json
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: String,
    /// Log every step
    #[arg(short = 'D', long, global = true)]
    debug: bool,
    /// Not supported: send the log to a file with --log
    #[arg(long, global = true, value_name = "URL", hide = true)]
    syslog_service: Option<String>,
}

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    places: Places,
    config: PathBuf,
    dry_run: bool,
    timeout: Duration,
    pub(crate) output: Output,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    linux::memory::share_heap();
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let name = PathBuf::from(name);
    let name = name.file_name().and_then(|name| name.to_str()).unwrap_or("isulad-tools");
    run(name, arguments)
}

/// The program under the name that it was called by.
fn run(name: &str, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let first = std::iter::once(OsString::from(name));
    let words: Vec<OsString> = first.chain(words(arguments)).collect();
    let parsed = parse(&words).and_then(|(verb, matches)| {
        let global = Global::from_arg_matches(&matches)?;
        Ok((verb, matches, global))
    });
    let (verb, matches, global) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return answer(name, &error),
    };
    // A careless parent may have left them blocked, and a session blocks them only for its time.
    let signals = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
    let ready = linux::signal::unblock(&signals).and_then(|()| privileges::keep_needed());
    if let Err(error) = ready {
        return Output::new(name, global.json).end(Err(error.into()));
    }
    let mut output = Output::new(name, global.json);
    match context(global, output.clone_settings()) {
        Ok(mut context) => {
            let done = verb.run(&mut context, &matches);
            context.output.end(done)
        }
        Err(error) => output.end(Err(error)),
    }
}

/// The grammar.
#[must_use]
pub fn command() -> Command {
    let program = Cli::command().subcommand_required(true).arg_required_else_help(true);
    program.subcommands(verbs::ALL.iter().map(Verb::command))
}

/// Takes the words by the grammar of the one command that they name; what that does not understand,
/// and help, is an answer of the whole grammar.
fn parse(words: &[OsString]) -> Result<(&'static Verb, ArgMatches), clap::Error> {
    let has = |text: &str| words.iter().any(|word| word == text);
    let mut named = verbs::ALL.iter().filter(|verb| has(verb.name));
    match (named.next(), named.next()) {
        (Some(verb), None) if !has("--") => {
            if let Ok(matches) = verb.alone(Cli::command()).try_get_matches_from(words) {
                return Ok((verb, matches));
            }
        }
        (None, _) => {
            let parsed = Cli::command().try_get_matches_from(words);
            if let Some(version) = parsed.err().filter(|e| e.kind() == ErrorKind::DisplayVersion) {
                return Err(version);
            }
        }
        _ => {}
    }
    parse_by_all(words)
}

fn parse_by_all(words: &[OsString]) -> Result<(&'static Verb, ArgMatches), clap::Error> {
    let mut matches = command().try_get_matches_from(words)?;
    let (name, matches) = matches.remove_subcommand().expect("the grammar asks for a command");
    let mut verbs = verbs::ALL.iter();
    let verb = verbs.find(|verb| verb.name == name).expect("the grammar has no others");
    Ok((verb, matches))
}

/// The words as the grammar knows them: the predecessor took `-name` for `--name`, and `=true` and
/// `=false` after a flag.
fn words(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    arguments.map(two_dashes).filter_map(|word| match word.to_str() {
        Some(text) if text.starts_with("--") => match text.split_once('=') {
            Some((flag, "true")) => Some(flag.into()),
            Some((_, "false")) => None,
            _ => Some(word),
        },
        _ => Some(word),
    })
}

fn two_dashes(argument: OsString) -> OsString {
    let is_long = argument.to_str().is_some_and(|text| {
        let letters = text.strip_prefix('-').unwrap_or_default();
        letters.len() > 1
            && letters.starts_with(|c: char| c.is_ascii_lowercase())
            && !letters.starts_with("f=")
            && !letters.starts_with("p=")
    });
    if is_long {
        let mut long = OsString::from("-");
        long.push(argument);
        long
    } else {
        argument
    }
}

fn context(global: Global, output: Output) -> Result<Context> {
    let level = if global.debug { "debug" } else { &global.log_level };
    if global.syslog_service.is_some() {
        return Err(Error::Usage(
            "--syslog-service: not supported; log to a file with --log, or let systemd collect \
             stderr"
                .into(),
        ));
    }
    let usage = |option: &str, text: String| Error::Usage(format!("{option}: {text}"));
    ui::log::init(&ui::log::Options {
        file: global.log,
        level: level.parse().map_err(|error| usage("--log-level", error))?,
        format: global.log_format.parse().map_err(|error| usage("--log-format", error))?,
    })
    .map_err(|error| usage("--log", ui::report::chain(&error)))?;
    let absolute = |path: PathBuf| {
        std::path::absolute(&path)
            .map_err(|error| io(format!("make {} absolute", path.display()), &error))
    };
    let settings = match (&global.root, &global.state) {
        (Some(_), Some(_)) => DaemonJson::default(),
        _ => DaemonJson::read(Path::new(DAEMON_JSON)).map_err(|error| match error {
            container::Error::Io { .. } => error.into(),
            error => Error::Usage(error.to_string()),
        })?,
    };
    let layout = settings.layout(global.root, global.state);
    let pid = match global.pid {
        Some(pid) => Some(Pid::new(pid).ok_or_else(|| usage("--pid", format!("{pid} is none")))?),
        None => None,
    };
    Ok(Context {
        places: Places {
            store: Store::new(
                absolute(layout.root().to_owned())?,
                absolute(layout.state().to_owned())?,
            ),
            engine: global.engine,
            host: absolute(global.engine_files)?,
            records: absolute(global.records)?,
            links: Links::new(absolute(global.links)?),
            journal: global.journal,
            pid,
            bundle: global.bundle.map(absolute).transpose()?,
        },
        config: global.config,
        dry_run: global.dry_run,
        timeout: Duration::from_secs(global.timeout),
        output,
    })
}

/// What becomes of a start when something that was added cannot be had any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnFailure {
    /// The container does not start
    Fail,
    /// It starts without it
    Warn,
}

impl OnFailure {
    fn of(self, session: &mut Session) {
        if self == Self::Warn {
            session.add_as_optional();
        }
    }
}

impl Context {
    /// How much a container may be given.
    fn bounds(&self) -> Result<Bounds> {
        Bounds::read(&self.config)
    }

    /// The container that was named.
    pub(crate) fn target(&self, name: &str) -> Result<Target> {
        Target::find(&self.places, name)
    }

    /// Locks it for changes.
    pub(crate) fn session(&self, target: &Target, config_only: bool) -> Result<Session> {
        let scope = match (self.dry_run, config_only) {
            (true, _) => Scope::DryRun,
            (false, true) => Scope::RecordOnly,
            (false, false) => Scope::Live,
        };
        Session::open(target, scope, Some(self.limit()))
    }

    /// The same for what is of files, whose time counts from here on: the host's may not answer
    /// either.
    pub(crate) fn session_of_files(&self, target: &Target, config_only: bool) -> Result<Session> {
        let session = self.session(target, config_only)?;
        self.limit().begin(&target.name);
        Ok(session)
    }

    /// How long the container's files are waited for.
    fn limit(&self) -> Limit {
        Limit { time: self.timeout, program: self.output.name().to_owned() }
    }
}

/// Help is an answer; the rest is a wrong command line.
fn answer(name: &str, error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Output::new(name, false).print(&error.render().to_string());
            ExitCode::SUCCESS
        }
        // Without a command the predecessor shows its help, too.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Output::new(name, false).print(&error.render().to_string());
            ExitCode::SUCCESS
        }
        _ => {
            let json = std::env::args_os().any(|argument| argument == "--json");
            Output::new(name, json).end(Err(Error::Usage(plain(error))))
        }
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

#[cfg(test)]
mod tests;
