//! `watch`: partitions that appear later appear in the containers that have their disk.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use clap::Args;
use linux::error::Context as _;
use linux::process::{PidFd, exit_now};
use linux::signal::{Signal, SignalFd};
use linux::uevent::{Heard, Listener, Uevent};
use linux::{CloneFlags, Forked};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::{Value, json};

use super::Context;
use crate::device::follow_partitions;
use crate::error::{Error, Result};
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
    let mut away = Away::new();
    if args.once {
        look_at_all(context, &mut away);
        return Ok(());
    }
    let signals = SignalFd::new(&[Signal::INT, Signal::TERM, Signal::HUP])?;
    // Before the first look: nothing falls in between.
    let events = Listener::open()?;
    let mut looked = look_at_all(context, &mut away);
    loop {
        context.output.flush();
        match events.next(Some(Duration::from_millis(500)))? {
            Heard::Event(event) if !is_of_a_partition(&event) => {}
            Heard::Nothing if looked.elapsed() < LOOK_ANYWAY => {}
            _ => {
                while !matches!(events.next(Some(QUIET))?, Heard::Nothing) {}
                looked = look_at_all(context, &mut away);
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

/// Who went to look at a container, by its id, and has not come back.
type Away = BTreeMap<String, PidFd>;

/// What somebody did who went: a line and an object each.
type Told = Vec<(String, Value)>;

/// A container that cannot be looked at is told, and the others are looked at.
fn look_at_all(context: &mut Context, away: &mut Away) -> Instant {
    let containers = match context.places.store.list() {
        Ok(containers) => containers,
        Err(error) => {
            tracing::warn!(%error, "cannot list containers");
            Vec::new()
        }
    };
    for container in containers {
        let done = Target::find(&context.places, container.id.as_str())
            .and_then(|target| look_at(context, &target, away));
        if let Err(error) = done {
            tracing::warn!(container = %container.id, %error, "cannot follow its partitions");
        }
    }
    Instant::now()
}

fn look_at(context: &mut Context, target: &Target, away: &mut Away) -> Result<()> {
    // Without the lock first: most containers have no disk.
    let record = RecordFile::peek(&target.dir)?;
    if follow_partitions(&record)?.same_as(&record) {
        return Ok(());
    }
    if let Some(process) = away.get(&target.id)
        && process.try_wait()?.is_none()
    {
        return Ok(());
    }
    away.remove(&target.id);
    for (line, object) in go(context, target, away)? {
        context.output.done(&line, object);
    }
    Ok(())
}

/// Has a process of its own change one container: what that does not answer holds nobody else up.
fn go(context: &Context, target: &Target, away: &mut Away) -> Result<Told> {
    let (told, tells) = pipe_with(PipeFlags::CLOEXEC).during(|| "make a pipe")?;
    match linux::fork(CloneFlags::empty(), None)? {
        Forked::Child => {
            drop(told);
            let done = follow(context, target).map_err(|error| error.to_string());
            // Nobody is left to hear it if this fails.
            let text = serde_json::to_vec(&done).unwrap_or_default();
            let _ = rustix::io::write(&tells, &text);
            exit_now(0)
        }
        Forked::Parent { pidfd, .. } => {
            drop(tells);
            // It ends itself after that time if it can.
            let text =
                read_until(&told, Instant::now() + context.timeout + Duration::from_secs(1))?;
            if pidfd.exits_within(Some(Duration::from_secs(1)))? {
                pidfd.wait()?;
            } else {
                away.insert(target.id.clone(), pidfd);
            }
            let done: Result<Told, String> = serde_json::from_slice(&text)
                .unwrap_or_else(|_| Err("its files are not answered for".into()));
            done.map_err(Error::Failed)
        }
    }
}

/// All that comes until nobody writes any more, or the time is over.
fn read_until(pipe: &OwnedFd, end: Instant) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
        let mut fds = [PollFd::new(pipe, PollFlags::IN)];
        if rustix::event::poll(&mut fds, left.as_ref()).during(|| "wait for a child")? == 0 {
            return Ok(text);
        }
        let mut part = [0; 4096];
        match rustix::io::read(pipe, &mut part).during(|| "hear a child")? {
            0 => return Ok(text),
            count => text.extend_from_slice(&part[..count]),
        }
    }
}

fn follow(context: &Context, target: &Target) -> Result<Told> {
    let scope = if context.dry_run { Scope::DryRun } else { Scope::Live };
    let mut session = Session::open(target, scope, Some(context.limit()))?;
    let before = session.record().clone();
    let next = follow_partitions(&before)?;
    session.change(&next)?;
    let name = &target.id;
    let mut done = Told::new();
    let told = [("Add", "to", &next, &before), ("Remove", "from", &before, &next)];
    for (word, preposition, these, those) in told {
        for device in these.devices.iter().filter(|device| !those.devices.contains(device)) {
            let (host, inside) = (&device.path_on_host, &device.path_in_container);
            done.push((
                format!("{word} device ({host}) {preposition} container({name},{inside}) done."),
                json!({ "action": word.to_lowercase(), "kind": "device", "host": host,
                    "container": inside }),
            ));
        }
    }
    Ok(done)
}
