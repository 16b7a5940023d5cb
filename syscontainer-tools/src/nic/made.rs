//! macvlan and ipvlan: links that are made in the container on a link that the host keeps.

use std::os::fd::AsFd as _;
use std::rc::Rc;

use container::Running;
use linux::netlink::{Link, LinkChange, NewKind, NewLink};
use linux::ns::Namespace;
use linux::{Errno, Undo};

use super::parse::{Kind, NicRequest};
use super::settings::Sockets;
use super::veth::{steady_address, tag};
use crate::error::{Error, Result};

/// The link inside.
pub(crate) fn find(sockets: &Sockets, id: &str, nic: &NicRequest) -> Result<Option<Link>> {
    let name = nic.names.container.as_str();
    let found = match sockets.inside.link_by_name(&tag(id, name))? {
        Some(link) => Some(link),
        None => sockets.inside.link_by_name(name)?,
    };
    Ok(found.filter(|link| link.kind == nic.kind.to_string()))
}

/// Makes it, or finds it made.
pub(crate) fn make(
    live: &Running,
    network: &Namespace,
    sockets: &Rc<Sockets>,
    nic: &NicRequest,
    undo: &mut Undo<'_>,
) -> Result<Link> {
    let name = nic.names.container.as_str();
    let tag = tag(&live.id, name);
    let link = match find(sockets, &live.id, nic)? {
        Some(link) => link,
        None => {
            let parent = nic.names.host.as_ref().map_or("", |name| name.as_str());
            let parent = Link::required(sockets.host.link_by_name(parent)?, parent)?.index;
            let address = match nic.kind {
                Kind::MacVlan => {
                    Some(nic.hardware_address.unwrap_or_else(|| steady_address(&live.id, name)))
                }
                _ => None,
            };
            let kind = match nic.kind {
                Kind::IpVlan => NewKind::IpVlan(parent),
                _ => NewKind::MacVlan(parent),
            };
            let change = LinkChange {
                mtu: Some(nic.mtu),
                queue_length: Some(nic.queue_length),
                address: address.as_ref().map(|address| address.0.as_slice()),
                namespace: Some(network.as_fd()),
                ..LinkChange::default()
            };
            sockets.host.add_link(&NewLink { name, kind, change }).map_err(|error| match error
                .errno()
            {
                Errno::EXIST => Error::Conflict(format!(
                    "there is a link {name} in the container already; choose another name"
                )),
                _ => error.into(),
            })?;
            // Before anything else can fail, even the look at it.
            let (again, made) = (Rc::clone(sockets), name.to_owned());
            undo.push("link", move || again.inside.delete_link_by_name(&made));
            Link::required(sockets.inside.link_by_name(name)?, name)?
        }
    };
    if !link.alternative_names.contains(&tag) {
        sockets.inside.add_alternative_name(link.index, &tag)?;
    }
    Ok(link)
}

/// Removes it, if it is there.
pub(crate) fn remove(sockets: &Sockets, id: &str, nic: &NicRequest) -> Result<bool> {
    let Some(link) = find(sockets, id, nic)? else { return Ok(false) };
    match sockets.inside.delete_link(link.index) {
        Err(error) if error.is(Errno::NODEV) => Ok(false),
        deleted => Ok(deleted.map(|()| true)?),
    }
}
