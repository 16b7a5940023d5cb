//! From one record to another: the one way in which a container is changed.
//!
//! Adding is the way from the record to a longer one, removing the way back, a start the way from
//! nothing, and taking back what a killed command left the way from what it had announced. Each
//! element's own functions can be called twice, and for what is not there.

use container::Running;
use linux::Undo;

use crate::device::{self, Rules};
use crate::error::{Error, Result};
use crate::nic::{self, Links};
use crate::record::{BindEntry, DeviceEntry, NicEntry, Record};
use crate::{path, route};

/// Makes the container, which is as `from` says, what `to` says. What fails is for the caller to
/// take back.
///
/// # Errors
/// An element cannot be applied or taken out.
pub fn lead<'a>(
    live: &'a Running,
    links: &'a Links,
    from: &'a Record,
    to: &'a Record,
    undo: &mut Undo<'a>,
) -> Result<()> {
    lead_forcing(live, links, from, to, false, undo)
}

/// [`lead`], and with `force` a device node takes the place of a file that is in its way.
///
/// # Errors
/// Those of [`lead`].
pub fn lead_forcing<'a>(
    live: &'a Running,
    links: &'a Links,
    from: &'a Record,
    to: &'a Record,
    force: bool,
    undo: &mut Undo<'a>,
) -> Result<()> {
    // Out: the mirror of in.
    for route in missing(&from.routes, &to.routes).rev() {
        route::revert(live, route, undo)?;
    }
    let stays = |nic: &&NicEntry| to.nics.iter().any(|other| is_same_link(nic, other));
    for nic in from.nics.iter().filter(|nic| !stays(nic)).rev() {
        nic::revert(live, links, nic, undo)
            .map_err(|error| error.within(format!("link {}", nic.ctr_nic_name)))?;
    }
    for bind in missing(&from.binds, &to.binds).rev() {
        path::revert(live, bind, from.source_of(bind), undo)?;
    }
    device::lift(live, from, to, undo)?;
    if from.devices != to.devices {
        let rules = Rules::of(live, from, to)?;
        for device in missing(&from.devices, &to.devices).rev() {
            device::revert(live, device, &rules, undo)?;
        }
        for device in missing(&to.devices, &from.devices) {
            device::apply(live, device, &rules, force, undo)
                .map_err(|error| error.within(format!("device {}", device.path_on_host)))?;
        }
    }
    device::set_limits(live, from, to, undo)?;
    for bind in missing(&to.binds, &from.binds) {
        path::apply(live, bind, to.source_of(bind), undo)
            .map_err(|error| error.within(format!("path {}", bind.0)))?;
    }
    connect(live, links, from, to, undo)
}

/// Links, then the routes through them.
fn connect<'a>(
    live: &'a Running,
    links: &'a Links,
    from: &'a Record,
    to: &'a Record,
    undo: &mut Undo<'a>,
) -> Result<()> {
    if from.nics != to.nics && !from.routes.is_empty() {
        // With an address the kernel drops the routes that need it.
        undo.push("routes", move || {
            let mut undo = Undo::new();
            let again =
                from.routes.iter().try_for_each(|entry| route::apply(live, entry, &mut undo));
            undo.disarm();
            again
        });
    }
    for nic in &to.nics {
        let named = |error: Error| error.within(format!("link {}", nic.ctr_nic_name));
        match from.nics.iter().find(|other| is_same_link(other, nic)) {
            None => nic::apply(live, links, nic, undo).map_err(named)?,
            Some(before) if before != nic => {
                nic::update(live, links, before, nic, undo).map_err(named)?;
            }
            Some(_) => {}
        }
    }
    let all = from.nics != to.nics;
    for route in to.routes.iter().filter(|route| all || !from.routes.contains(route)) {
        route::apply(live, route, undo)?;
    }
    Ok(())
}

/// Whether one becomes the other by changing its values.
fn is_same_link(one: &NicEntry, other: &NicEntry) -> bool {
    let identity =
        |nic: &NicEntry| (nic.ctr_nic_name.clone(), nic.host_nic_name.clone(), nic.kind.clone());
    identity(one) == identity(other)
}

/// The record with the numbers that the host's devices have at this moment. `without`: is told
/// what is missing, and answers whether it may be.
///
/// # Errors
/// A device is gone, or another one has its name; a path leads nowhere.
pub fn refresh(record: &Record, without: &mut dyn FnMut(&str, &Error) -> bool) -> Result<Record> {
    let mut fresh = record.clone();
    let mut devices = Vec::new();
    for device in &record.devices {
        devices.push(match device::refresh(device) {
            Err(error) if without(&device.element(), &error) => device.clone(),
            refreshed => refreshed?,
        });
    }
    for kind in device::LimitKind::ALL {
        for limit in kind.of_mut(&mut fresh) {
            // By the old numbers: two disks may have changed places.
            let is_its = |old: &DeviceEntry| (old.major, old.minor) == (limit.major, limit.minor);
            if let Some(at) = record.devices.iter().position(is_its) {
                (limit.major, limit.minor) = (devices[at].major, devices[at].minor);
            }
        }
    }
    fresh.devices = devices;
    let look = |bind: &BindEntry| {
        path::look(&path::parsed(bind)?).map_err(|error| {
            error.wrap(|text| {
                format!("{text}, or drop it: isulad-tools remove-path CONTAINER {}", bind.0)
            })
        })
    };
    fresh.bind_sources.clear();
    for bind in &record.binds {
        match look(bind) {
            Err(error) if without(&bind.element(), &error) => {
                fresh.bind_sources.extend(record.source_of(bind).cloned());
            }
            looked => fresh.bind_sources.push(looked?),
        }
    }
    Ok(fresh)
}

/// What is in `these` and not in `those`.
fn missing<'a, T: PartialEq>(
    these: &'a [T],
    those: &'a [T],
) -> impl DoubleEndedIterator<Item = &'a T> {
    these.iter().filter(|one| !those.contains(one))
}
