//! The commands: what they are called, how they are written, what they do.
//!
//! A grammar is made for the command that is asked for. clap gives each command it knows a copy of
//! every option that all have in common, which for forty commands is more work than most of what
//! they do; `defer` puts off a command's own options, not those: `isula ps` took 1.3 ms and 198 page
//! faults with it, where this takes 0.85 ms and 91.

use anyhow::anyhow;
use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use ui::Report;

use super::unsupported::{self, Anything};
use super::{
    Session, adapt, attach, completion, cp, create, events, exec, export, info, inspect, kill,
    logs, network, pause, plain, port, prepare_rootfs, ps, rename, restart, rm, run, start, stats,
    stop, top, update, version, volume, wait,
};

/// One command.
#[derive(Clone, Copy)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    grammar: fn(Command) -> Command,
    act: fn(&Session, &ArgMatches) -> Report,
}

macro_rules! verbs {
    ($($name:literal: $arguments:path => $act:expr,)*) => {
        &[$(Verb {
            name: $name,
            grammar: |command| adapt(<$arguments>::augment_args(command)),
            act: |session, matches| {
                let arguments = <$arguments>::from_arg_matches(matches);
                $act(session, &arguments.map_err(|error| anyhow!(plain(&error)))?)
            },
        },)*]
    };
}

const SUPPORTED: &[Verb] = verbs! {
    "attach": attach::AttachArgs => attach::attach,
    "completion": completion::CompletionArgs => completion::completion,
    "cp": cp::CpArgs => cp::cp,
    "create": create::CreateArgs => create::create,
    "events": events::EventsArgs => events::events,
    "exec": exec::ExecArgs => exec::exec,
    "export": export::ExportArgs => export::export,
    "info": info::InfoArgs => info::info,
    "inspect": inspect::InspectArgs => inspect::inspect,
    "kill": kill::KillArgs => kill::kill,
    "logs": logs::LogsArgs => logs::logs,
    "network": network::NetworkArgs => network::network,
    "pause": pause::PauseArgs => pause::pause,
    "port": port::PortArgs => port::port,
    "prepare-rootfs": prepare_rootfs::PrepareRootfsArgs => prepare_rootfs::prepare_rootfs,
    "ps": ps::PsArgs => ps::ps,
    "rename": rename::RenameArgs => rename::rename,
    "restart": restart::RestartArgs => restart::restart,
    "rm": rm::RmArgs => rm::rm,
    "run": run::RunArgs => run::run,
    "start": start::StartArgs => start::start,
    "stats": stats::StatsArgs => stats::stats,
    "stop": stop::StopArgs => stop::stop,
    "top": top::TopArgs => top::top,
    "unpause": pause::UnpauseArgs => pause::unpause,
    "update": update::UpdateArgs => update::update,
    "version": version::VersionArgs => version::version,
    "volume": volume::VolumeArgs => volume::volume,
    "wait": wait::WaitArgs => wait::wait,
};

/// The predecessor's that work on images, of which there are none here.
const UNSUPPORTED: &[&str] =
    &["images", "import", "load", "login", "logout", "pull", "rmi", "search", "tag"];

pub(super) fn all() -> impl Iterator<Item = Verb> {
    let unsupported = UNSUPPORTED.iter().map(|&name| Verb {
        name,
        grammar: |command| Anything::augment_args(command).hide(true),
        act: |_, _| unsupported::refuse(),
    });
    SUPPORTED.iter().copied().chain(unsupported)
}

impl Verb {
    pub(super) fn command(&self) -> Command {
        (self.grammar)(Command::default().name(self.name))
    }

    pub(super) fn run(&self, session: &Session, matches: &ArgMatches) -> Report {
        (self.act)(session, matches)
    }
}
