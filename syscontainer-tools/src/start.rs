//! A start of a container of which something recorded may be missing: in stages, so that what fails
//! takes nothing else along.
//!
//! ```text
//! what must be there     all of it, or the container does not start
//! what may be missing    each by itself; what fails is taken back and told
//! routes                 one after the other; those through a link that is missing are missing, too
//! ```

use std::collections::BTreeSet;

use container::Running;
use linux::Undo;

use crate::error::{Error, Result};
use crate::nic::Links;
use crate::record::Record;
use crate::{replay, route};

/// Brings the container to what `record` says but for `left_out`: what it has then. With an error it
/// has nothing.
pub(crate) fn in_stages(
    live: &Running,
    links: &Links,
    record: &Record,
    mut left_out: BTreeSet<String>,
) -> Result<Record> {
    let is_route = |name: &str| name.starts_with("route ");
    let mut there = record.part(|name| !record.may_fail.contains(name) && !is_route(name));
    step(live, links, &Record::default(), &there)?;
    let names: Vec<String> = record.elements().into_iter().map(|(name, _)| name).collect();
    let mut names_there: BTreeSet<String> =
        there.elements().into_iter().map(|(name, _)| name).collect();
    let (routes, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_route(name));
    let others = others.into_iter().filter(|name| record.may_fail.contains(*name));
    for name in others.chain(routes) {
        if left_out.contains(name) {
            continue;
        }
        let mut lost = record.nics.iter().filter(|nic| left_out.contains(&nic.element()));
        let entry = record.routes.iter().find(|entry| entry.element() == *name);
        if entry.is_some_and(|entry| lost.any(|nic| route::leads_through(entry, nic))) {
            tell(live, name, &Error::Failed("the link that it leads through is missing".into()));
            continue;
        }
        let next = record.part(|other| other == name || names_there.contains(other));
        match step(live, links, &there, &next) {
            Ok(()) => {
                there = next;
                names_there.insert(name.clone());
            }
            Err(error) if record.may_fail.contains(name) => {
                tell(live, name, &error);
                left_out.insert(name.clone());
            }
            Err(error) => return Err(error.leaving(&take_out(live, links, &there))),
        }
    }
    Ok(there)
}

/// What could not be taken out of what is there.
pub(crate) fn take_out(live: &Running, links: &Links, there: &Record) -> Vec<String> {
    match step(live, links, there, &Record::default()) {
        Ok(()) => Vec::new(),
        Err(error) => vec![error.to_string()],
    }
}

/// Says that the container starts without it.
pub(crate) fn tell(live: &Running, name: &str, error: &Error) {
    tracing::warn!(container = %live.id, element = name, %error, "the container starts without it");
}

fn step(live: &Running, links: &Links, from: &Record, to: &Record) -> Result<()> {
    let mut undo = Undo::new();
    match replay::lead(live, links, from, to, &mut undo) {
        Ok(()) => {
            undo.disarm();
            Ok(())
        }
        Err(error) => Err(error.leaving(&undo.run_back())),
    }
}
