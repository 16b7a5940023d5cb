//! The commands: what they are called, how they are written, what they do.
//!
//! A grammar is made for the command that is asked for. clap's `defer` puts off a command's own
//! options, not what it takes over from the program: of a start's 290 page faults, 50 were the
//! grammar's.

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use ui::report::WithExit as _;
use ui::{Exit, Report};

use super::not_here::{self, Anything};
use super::{
    Session, create, events, exec, features, install, kill, life, list, one_line, ps, spec, state,
    update,
};

/// One command.
#[derive(Clone, Copy)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    about: &'static str,
    grammar: fn(Command) -> Command,
    act: fn(&Session, &ArgMatches) -> Report,
}

macro_rules! verbs {
    ($($name:literal, $about:literal: $arguments:path => $act:expr;)*) => {
        &[$(Verb {
            name: $name,
            about: $about,
            grammar: <$arguments>::augment_args,
            act: |session, matches| {
                let arguments = <$arguments>::from_arg_matches(matches);
                let arguments = arguments.map_err(|error| one_line(&error))?;
                let act: fn(&Session, &$arguments) -> Report = $act;
                act(session, &arguments)
            },
        },)*]
    };
}

pub(super) const ALL: &[Verb] = verbs! {
    "checkpoint", "Not supported": Anything => |_, _| not_here::refuse("checkpoint");
    "create", "Make a container that waits for its start": create::CreateArgs => create::create;
    "delete", "Remove a container that has ended": life::DeleteArgs => life::delete;
    "events", "Report what a container uses": events::EventsArgs => events::events;
    "exec", "Run a further process in a container": exec::ExecArgs =>
        |session, arguments| exec::exec(session, arguments).exit(Exit(255));
    "features", "Print what this runtime can do": features::FeaturesArgs =>
        |_, arguments| features::features(arguments);
    "install", "Tell an engine about this runtime": install::InstallArgs =>
        |_, arguments| install::install(arguments);
    "kill", "Send a signal to a container": kill::KillArgs => kill::kill;
    "list", "List containers": list::ListArgs => list::list;
    "pause", "Stop every process of a container in its tracks": life::IdArgs => life::pause;
    "ps", "List the processes of a container": ps::PsArgs => ps::ps;
    "restore", "Not supported": Anything => |_, _| not_here::refuse("restore");
    "resume", "Let a paused container go on": life::IdArgs => life::resume;
    "run", "Create a container, start it, wait for it and remove it": create::RunArgs =>
        create::run;
    "spec", "Write an example config.json": spec::SpecArgs => |_, arguments| spec::spec(arguments);
    "start", "Run the program of a created container": life::IdArgs => life::start;
    "state", "Print the state of a container": life::IdArgs => state::state;
    "update", "Change the limits of a container": update::UpdateArgs => update::update;
};

impl Verb {
    pub(super) fn command(&self) -> Command {
        (self.grammar)(Command::default().name(self.name).about(self.about))
    }

    pub(super) fn run(&self, session: &Session, matches: &ArgMatches) -> Report {
        (self.act)(session, matches)
    }
}
