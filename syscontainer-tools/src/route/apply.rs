//! Routes into a container's tables and out of them; twice is once.

use container::Running;
use linux::netlink::{LinkAddress, Route as KernelRoute, RouteFamily};
use linux::{Errno, Undo};

use super::parse::{Destination, Route};
use super::plan::parsed;
use crate::error::{Error, Result};
use crate::nic::Sockets;
use crate::record::RouteEntry;

/// The table and the metric that IPv6 means when none is named (net/ipv6/route.c).
const METRIC_V6: u32 = 1024;

/// Adds the route, unless it is there.
pub(crate) fn apply(live: &Running, entry: &RouteEntry, undo: &mut Undo<'_>) -> Result<()> {
    let route = parsed(entry)?;
    let sockets = Sockets::of(live)?;
    let wanted = resolved(&sockets, &route)?.ok_or_else(|| {
        let name = route.device.as_ref().map_or("", |name| name.as_str());
        Error::Conflict(format!("failed to get link by name {name}: Link not found"))
    })?;
    match sockets.inside.add_route(&wanted) {
        Ok(()) => {
            undo.push("route", move || removed(&sockets, &wanted));
            Ok(())
        }
        Err(error) if error.is(Errno::EXIST) => match is_there(&sockets, &wanted)? {
            true => Ok(()),
            false => Err(Error::Conflict(format!(
                "{error}; the container has another route to {}",
                route.destination
            ))),
        },
        Err(error) => Err(error.into()),
    }
}

/// Removes the route, unless it is gone.
pub(crate) fn revert<'a>(
    live: &'a Running,
    entry: &'a RouteEntry,
    undo: &mut Undo<'a>,
) -> Result<()> {
    // What is none, or leads through a link that is gone, is not there.
    let Ok(route) = parsed(entry) else { return Ok(()) };
    let sockets = Sockets::of(live)?;
    let Some(wanted) = resolved(&sockets, &route)? else { return Ok(()) };
    if !is_there(&sockets, &wanted)? {
        return Ok(());
    }
    removed(&sockets, &wanted)?;
    undo.push("route", move || {
        let mut undo = Undo::new();
        let again = apply(live, entry, &mut undo);
        undo.disarm();
        again
    });
    Ok(())
}

/// What is wrong with the route in the container, if anything.
pub(crate) fn drift(live: &Running, entry: &RouteEntry) -> Result<Option<String>> {
    let route = parsed(entry)?;
    let sockets = Sockets::of(live)?;
    let there = match resolved(&sockets, &route)? {
        Some(wanted) => is_there(&sockets, &wanted)?,
        None => false,
    };
    Ok((!there).then(|| "is not there".into()))
}

fn removed(sockets: &Sockets, route: &KernelRoute) -> linux::Result<()> {
    match sockets.inside.remove_route(route) {
        Err(error) if error.is(Errno::SRCH) || error.is(Errno::NODEV) => Ok(()),
        removed => removed,
    }
}

fn is_there(sockets: &Sockets, wanted: &KernelRoute) -> Result<bool> {
    let metric = |route: &KernelRoute| match (route.metric, route.family) {
        (Some(metric), _) => metric,
        (None, RouteFamily::V4) => 0,
        (None, RouteFamily::V6) => METRIC_V6,
    };
    let same = |found: &KernelRoute| {
        found.destination == wanted.destination
            && found.table == wanted.table
            && metric(found) == metric(wanted)
            && found.gateway == wanted.gateway
            && wanted.source.is_none_or(|source| found.source == Some(source))
            && wanted.link.is_none_or(|link| found.link == Some(link))
    };
    Ok(sockets.inside.routes(wanted.family)?.iter().any(same))
}

/// The route with the number that its device has at this moment; `None` if there is no such device.
fn resolved(sockets: &Sockets, route: &Route) -> Result<Option<KernelRoute>> {
    let link = match &route.device {
        None => None,
        Some(name) => match sockets.inside.link_by_name(name.as_str())? {
            Some(link) => Some(link.index),
            None => return Ok(None),
        },
    };
    let destination = match route.destination {
        Destination::Default => None,
        Destination::Network(network) => Some(network),
    };
    let some_address = destination.map(|network| network.ip).or(route.gateway).or(route.source);
    let family = match some_address {
        Some(ip) if ip.is_ipv6() => RouteFamily::V6,
        _ => RouteFamily::V4,
    };
    Ok(Some(KernelRoute {
        family,
        // The kernel has no other word for everything.
        destination: destination
            .filter(|network| network.prefix > 0)
            .map(|network| LinkAddress { ip: network.ip, prefix: network.prefix }),
        source: route.source,
        gateway: route.gateway,
        link,
        metric: route.metric,
        table: route.table.filter(|table| *table != 254),
        onlink: route.onlink,
        protocol: None,
    }))
}
