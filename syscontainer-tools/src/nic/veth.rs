//! A pair of links: one end in a bridge of the host's, the other born in the container.

use std::os::fd::AsFd as _;
use std::rc::Rc;

use container::Running;
use linux::Undo;
use linux::netlink::{Link, LinkChange, NewKind, NewLink, PeerLink, Socket};
use linux::ns::Namespace;

use super::address::HardwareAddress;
use super::bridge::Bridge;
use super::parse::NicRequest;
use super::settings::Sockets;
use crate::error::{Error, Result};

/// Both ends.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) host: Link,
    pub(crate) inside: Link,
}

/// What the container's end is called besides its name, and the host's, too: it tells ours from
/// others' for as long as they live.
pub(crate) fn tag(id: &str, name: &str) -> String {
    format!("isulad-tools-{}-{name}", id.get(..12).unwrap_or(id))
}

/// A hardware address that is the same at each start, for who did not ask for another: it is of a
/// digest (FNV-1a) of the container's id and the link's name, and locally administered.
pub(crate) fn steady_address(id: &str, name: &str) -> HardwareAddress {
    let bytes = id.bytes().chain([0]).chain(name.bytes());
    let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [first, b, c, d, e, f, ..] = digest.to_be_bytes();
    HardwareAddress([(first & 0xfc) | 2, b, c, d, e, f])
}

/// The pair, whatever either end is called by now.
pub(crate) fn find(sockets: &Sockets, id: &str, nic: &NicRequest) -> Result<Option<Pair>> {
    let Some(host) = host_end(&sockets.host, id, nic)? else { return Ok(None) };
    let Some(index) = host.linked else { return Ok(None) };
    let inside = sockets.inside.link_by_index(index)?;
    // A number can be that of another link when the end has been moved further.
    let is_other_end = |link: &Link| link.kind == "veth" && link.linked == Some(host.index);
    Ok(inside.filter(is_other_end).map(|inside| Pair { host, inside }))
}

fn host_end(host: &Socket, id: &str, nic: &NicRequest) -> Result<Option<Link>> {
    if let Some(link) = host.link_by_name(&tag(id, nic.names.container.as_str()))? {
        return Ok(Some(link).filter(|link| link.kind == "veth"));
    }
    let Some(name) = &nic.names.host else { return Ok(None) };
    Ok(host.link_by_name(name.as_str())?.filter(|link| link.kind == "veth"))
}

/// Makes the pair, or finds it made.
pub(crate) fn make(
    live: &Running,
    network: &Namespace,
    sockets: &Rc<Sockets>,
    nic: &NicRequest,
    undo: &mut Undo<'_>,
) -> Result<Pair> {
    if let Some(pair) = find(sockets, &live.id, nic)? {
        return Ok(pair);
    }
    let inside = nic.names.container.as_str();
    let name = nic.names.host.as_ref().map_or(inside, |name| name.as_str());
    let tag = tag(&live.id, inside);
    if let Some(old) = sockets.host.link_by_name(&tag)? {
        // Of an earlier life, whose namespace the kernel has not got round to.
        sockets.host.delete_link(old.index)?;
    }
    let bridge = nic.bridge.as_ref().map(|bridge| Bridge::find(&sockets.host, bridge));
    let bridge = bridge.transpose()?;
    let address = nic
        .hardware_address
        .unwrap_or_else(|| steady_address(&live.id, nic.names.container.as_str()));
    let values = LinkChange {
        mtu: Some(nic.mtu),
        queue_length: Some(nic.queue_length),
        ..LinkChange::default()
    };
    let peer = PeerLink {
        name: inside,
        change: LinkChange {
            address: Some(&address.0),
            namespace: Some(network.as_fd()),
            ..values.clone()
        },
    };
    let master = bridge.as_ref().and_then(Bridge::master);
    let change = LinkChange { up: Some(true), master, ..values };
    sockets
        .host
        .add_link(&NewLink { name, kind: NewKind::Veth(peer), change })
        .map_err(|error| taken(&error, name, inside).unwrap_or_else(|| error.into()))?;
    // Before anything else can fail, even the look at it.
    let (again, made) = (Rc::clone(sockets), name.to_owned());
    undo.push("pair of links", move || again.host.delete_link_by_name(&made));
    let host = Link::required(sockets.host.link_by_name(name)?, name)?;
    sockets.host.add_alternative_name(host.index, &tag)?;
    if let Some(bridge @ Bridge::OpenVSwitch(_)) = bridge {
        bridge.join(&sockets.host, &host)?;
        undo.push("port of a bridge", move || bridge.leave(&host.name));
    }
    find(sockets, &live.id, nic)?
        .ok_or_else(|| Error::Failed(format!("the pair {name} was removed while it was made")))
}

/// The kernel says of neither end which one's name it was.
fn taken(error: &linux::Error, host: &str, inside: &str) -> Option<Error> {
    error.is(linux::Errno::EXIST).then(|| {
        Error::Conflict(format!(
            "there is a link {host} on the host or a link {inside} in the container already; \
             choose another name"
        ))
    })
}

/// Removes the pair, if there is one that is ours. `inside`: unless the container is gone.
pub(crate) fn remove(
    host: &Socket,
    inside: Option<&Socket>,
    id: &str,
    nic: &NicRequest,
) -> Result<bool> {
    let Some(link) = host_end(host, id, nic)? else { return Ok(false) };
    let tagged = link.alternative_names.contains(&tag(id, nic.names.container.as_str()));
    let leads_in = match (inside, link.linked) {
        (Some(inside), Some(index)) => inside
            .link_by_index(index)?
            .is_some_and(|other| other.kind == "veth" && other.linked == Some(link.index)),
        _ => false,
    };
    if !tagged && !leads_in {
        return Ok(false);
    }
    // Its bridge may be gone, and that is no reason to keep the link.
    if let Some(Ok(bridge)) = nic.bridge.as_ref().map(|name| Bridge::find(host, name)) {
        bridge.leave(&link.name)?;
    }
    match host.delete_link(link.index) {
        Err(error) if error.is(linux::Errno::NODEV) => Ok(false),
        deleted => Ok(deleted.map(|()| true)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_each_time_and_another_for_another_link() {
        let address = steady_address("aa11", "e1");
        assert_eq!(address, steady_address("aa11", "e1"));
        assert_ne!(address, steady_address("aa11", "e2"));
        assert_ne!(address, steady_address("aa12", "e1"));
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(address.0[0] & 3, 2, "locally administered, for one station");
    }
}
