//! The commands: what they are called, how they are written, what they do.
//!
//! A grammar is made for the command that is asked for, as that of a program which has no others. To
//! make all of them, with the options that each has in common with the others, takes longer than
//! most of what they do. clap's `defer` puts off a command's own options, not those in common.

use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches as _};

use super::{Context, device, inspect, nic, path, plain, recover, relabel, route, watch};
use crate::error::{Error, Result};

/// One command.
pub(super) struct Verb {
    pub(super) name: &'static str,
    grammar: fn(Command) -> Command,
    act: fn(&mut Context, &ArgMatches) -> Result<()>,
}

macro_rules! verbs {
    ($($name:literal: $arguments:path => $act:expr,)*) => {
        &[$(Verb {
            name: $name,
            grammar: <$arguments>::augment_args,
            act: |context, matches| {
                let arguments = <$arguments>::from_arg_matches(matches);
                $act(context, &arguments.map_err(|error| Error::Usage(plain(&error)))?)
            },
        }),*]
    };
}

pub(super) const ALL: &[Verb] = verbs! {
    "add-device": device::AddDeviceArgs => device::add,
    "remove-device": device::RemoveDeviceArgs => device::remove,
    "list-device": device::ListDeviceArgs => device::list,
    "update-device": device::UpdateDeviceArgs => device::update,
    "add-nic": nic::AddNicArgs => nic::add,
    "remove-nic": nic::RemoveNicArgs => nic::remove,
    "list-nic": nic::ListNicArgs => nic::list,
    "update-nic": nic::UpdateNicArgs => nic::update,
    "add-route": route::AddRouteArgs => route::add,
    "remove-route": route::RemoveRouteArgs => route::remove,
    "list-route": route::ListRouteArgs => route::list,
    "add-path": path::AddPathArgs => path::add,
    "remove-path": path::RemovePathArgs => path::remove,
    "list-path": path::ListPathArgs => path::list,
    "inspect": inspect::InspectArgs => inspect::inspect,
    "diff": inspect::DiffArgs => inspect::diff,
    "reconcile": inspect::ReconcileArgs => inspect::reconcile,
    "recover": recover::RecoverArgs => recover::recover,
    "watch": watch::WatchArgs => watch::watch,
    "relabel": relabel::RelabelArgs => relabel::refuse,
};

impl Verb {
    pub(super) fn command(&self) -> Command {
        (self.grammar)(Command::default().name(self.name))
    }

    /// The grammar of `program` for this command and no other: its word is the first that is no
    /// option.
    pub(super) fn alone(&self, program: Command) -> Command {
        let word = Arg::new("COMMAND").required(true).value_parser([self.name]);
        (self.grammar)(program.arg(word))
    }

    pub(super) fn run(&self, context: &mut Context, matches: &ArgMatches) -> Result<()> {
        (self.act)(context, matches)
    }
}
