//! `watch`: partitions that appear later appear in the containers that have their disk.

use std::time::{Duration, Instant};

use clap::Args;
use linux::signal::{Signal, SignalFd};
use linux::uevent::{Heard, Listener, Uevent};
use serde_json::json;

use super::Context;
use crate::device::follow_partitions;
use crate::error::Result;
use crate::record::RecordFile;
use crate::session::{Scope, Session};
use crate::target::Target;

/// Follow the partitions of disks that were added to containers
///
/// Runs until it is ended by a signal; meant as a service. Every partition that appears on such a
/// disk, whoever made it, is added, and one that vanishes is removed, each within moments.
#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Look once at all containers, and end
    #[arg(long)]
    once: bool,
}

/// A burst of events, as a new partition table makes, is answered once it is over.
const QUIET: Duration = Duration::from_millis(100);
/// What was missed, for whatever reason, is found by looking.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);

pub(super) fn watch(context: &mut Context, args: &WatchArgs) -> Result<()> {
    if args.once {
        look_at_all(context);
        return Ok(());
    }
    let signals = SignalFd::new(&[Signal::INT, Signal::TERM, Signal::HUP])?;
    // Before the first look: nothing falls in between.
    let events = Listener::open()?;
    let mut looked = look_at_all(context);
    loop {
        match events.next(Some(Duration::from_millis(500)))? {
            Heard::Event(event) if !is_of_a_partition(&event) => {}
            Heard::Nothing if looked.elapsed() < LOOK_ANYWAY => {}
            _ => {
                while !matches!(events.next(Some(QUIET))?, Heard::Nothing) {}
                looked = look_at_all(context);
            }
        }
        if !signals.read()?.is_empty() {
            return Ok(());
        }
    }
}

fn is_of_a_partition(event: &Uevent) -> bool {
    event.get("SUBSYSTEM") == Some("block") && event.get("DEVTYPE") == Some("partition")
}

/// A container that cannot be looked at is told, and the others are looked at.
fn look_at_all(context: &mut Context) -> Instant {
    let containers = match context.places.store.list() {
        Ok(containers) => containers,
        Err(error) => {
            tracing::warn!(%error, "cannot list containers");
            Vec::new()
        }
    };
    for container in containers {
        let done = Target::find(&context.places, container.id.as_str())
            .and_then(|target| look_at(context, &target));
        if let Err(error) = done {
            tracing::warn!(container = %container.id, %error, "cannot follow its partitions");
        }
    }
    Instant::now()
}

fn look_at(context: &mut Context, target: &Target) -> Result<()> {
    // Without the lock first: most containers have no disk.
    let record = RecordFile::peek(&target.dir)?;
    if follow_partitions(&record)?.same_as(&record) {
        return Ok(());
    }
    let scope = if context.dry_run { Scope::DryRun } else { Scope::Live };
    let mut session = Session::open(target, scope)?;
    let before = session.record().clone();
    let next = follow_partitions(&before)?;
    session.change(&next)?;
    let name = &target.id;
    let told = [("Add", "to", &next, &before), ("Remove", "from", &before, &next)];
    for (word, preposition, these, those) in told {
        for device in these.devices.iter().filter(|device| !those.devices.contains(device)) {
            let (host, inside) = (&device.path_on_host, &device.path_in_container);
            context.output.done(
                &format!("{word} device ({host}) {preposition} container({name},{inside}) done."),
                json!({ "action": word.to_lowercase(), "kind": "device", "host": host,
                    "container": inside }),
            );
        }
    }
    Ok(())
}
