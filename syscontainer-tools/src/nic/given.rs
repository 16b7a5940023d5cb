//! A link of the host's that a container has for a time: what it was like is written down, and it
//! comes back as it was, whatever it is called by then.

use std::os::fd::AsFd as _;
use std::rc::Rc;

use container::Running;
use linux::netlink::{Link, LinkAddress, LinkChange, Socket};
use linux::ns::{Kind, Namespace};
use linux::{Errno, Undo, ethtool};

use super::parse::NicRequest;
use super::registry::{LinkState, Links, Loan};
use super::settings::{Sockets, up};
use super::veth::tag;
use crate::error::{Error, Result};

/// The link inside.
pub(crate) fn find(inside: &Socket, loan: &Loan) -> Result<Option<Link>> {
    if let Some(link) = inside.link_by_name(&loan.tag)? {
        return Ok(Some(link));
    }
    // Its root can take that name away, and can neither choose a number nor forge hardware.
    let links = inside.links()?;
    let is_it = |link: &&Link| {
        link.kind == loan.state.kind
            && link.permanent_address == loan.state.permanent_address
            && link.parent_device == loan.state.parent_device
    };
    let known = links.iter().filter(is_it).find(|link| Some(link.index) == loan.index);
    let hardware =
        |link: &&Link| !link.permanent_address.is_empty() || !link.parent_device.is_empty();
    let mut alike = links.iter().filter(is_it).filter(hardware);
    let only = alike.next().filter(|_| alike.next().is_none());
    Ok(known.or(only).cloned())
}

/// Moves the link in, or finds it there.
pub(crate) fn give<'a>(
    live: &'a Running,
    network: &Namespace,
    links: &'a Links,
    sockets: &Rc<Sockets>,
    nic: &NicRequest,
    undo: &mut Undo<'a>,
) -> Result<Link> {
    let name = nic.names.container.as_str();
    let host_name = nic.names.host.as_ref().map_or("", |name| name.as_str());
    let mut loan = match links.loan(&live.id, name)? {
        Some(loan) => {
            if let Some(link) = find(&sockets.inside, &loan)? {
                return Ok(link);
            }
            Some(loan)
        }
        None => None,
    };
    let link = sockets
        .host
        .link_by_name(host_name)?
        .ok_or_else(|| Error::Conflict(format!("HostNic({host_name}) not found, please check")))?;
    let mut written = match loan.take() {
        // Not moved by whoever wrote it down, or back without having been put right.
        Some(loan) if loan.host_name == host_name => loan,
        _ => Loan {
            host_name: host_name.to_owned(),
            container_name: name.to_owned(),
            tag: tag(&live.id, name),
            index: None,
            state: LinkState::of(&sockets.host, &link)?,
        },
    };
    let (again, owned) = (Rc::clone(sockets), name.to_owned());
    undo.push("link given away", move || take_back(links, &live.id, &again, &owned).map(drop));
    links.pin(&live.id, network)?;
    links.write(&live.id, &written)?;
    if !link.alternative_names.contains(&written.tag) {
        sockets.host.add_alternative_name(link.index, &written.tag)?;
    }
    let change =
        LinkChange { name: Some(name), namespace: Some(network.as_fd()), ..LinkChange::default() };
    sockets.host.change_link(link.index, &change).map_err(|error| match error.errno() {
        Errno::EXIST => Error::Conflict(format!(
            "there is a link {name} in the container already; choose another name"
        )),
        _ => error.into(),
    })?;
    let moved = Link::required(sockets.inside.link_by_name(&written.tag)?, name)?;
    written.index = Some(moved.index);
    links.write(&live.id, &written)?;
    Ok(moved)
}

/// Takes the link `name` back from a container that runs. Answers whether there was one.
pub(crate) fn take_back(links: &Links, id: &str, sockets: &Sockets, name: &str) -> Result<bool> {
    let Some(loan) = links.loan(id, name)? else {
        // Whoever was killed before it was written down, or after, has left the rest.
        if links.loans(id)?.is_empty() {
            links.clear(id)?;
        }
        return Ok(false);
    };
    returned(&sockets.host, Some(&sockets.inside), &loan)?;
    links.forget(id, name)?;
    Ok(true)
}

/// Takes every link back from a container that has ended, through the namespace that was kept.
pub(crate) fn take_all_back(links: &Links, id: &str) -> Result<()> {
    let loans = links.loans(id)?;
    let host = Socket::open()?;
    let inside = links.pinned(id)?.map(|pinned| Socket::open_in(&pinned)).transpose()?;
    let mut errors = Vec::new();
    for loan in &loans {
        match returned(&host, inside.as_ref(), loan) {
            Ok(()) => links.forget(id, &loan.container_name)?,
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { links.clear(id) } else { Err(Error::Failed(errors.join("; "))) }
}

/// Moves a link to the host and makes it what it was.
fn returned(host: &Socket, inside: Option<&Socket>, loan: &Loan) -> Result<()> {
    let within = |error: Error| error.within(format!("return link {}", loan.host_name));
    let there = match inside {
        Some(inside) => find(inside, loan)?.map(|link| (inside, link)),
        None => None,
    };
    let back = match there {
        Some((inside, link)) => {
            let name = bring(host, inside, &link, &loan.host_name).map_err(within)?;
            host.link_by_name(&name)?
        }
        // It came by itself: the kernel returns hardware when its namespace ends.
        None => match host.link_by_name(&loan.tag)? {
            None => host.links()?.into_iter().find(|link| is_unmistakably(link, loan)),
            found => found,
        },
    };
    match back {
        Some(link) => restore(host, &link, loan).map_err(within),
        None => {
            let state = &loan.state;
            if !state.parent_device.is_empty() {
                return Err(within(Error::Failed(format!(
                    "{} is not in the container; it may have been moved further",
                    loan.container_name
                ))));
            }
            tracing::warn!(link = %loan.host_name, "was deleted in the container");
            Ok(())
        }
    }
}

fn is_unmistakably(link: &Link, loan: &Loan) -> bool {
    let state = &loan.state;
    let same_hardware =
        !state.parent_device.is_empty() && link.parent_device == state.parent_device;
    same_hardware && link.permanent_address == state.permanent_address
}

/// Under its own name, or, if that is taken, under one that is not: the answer.
fn bring(host: &Socket, inside: &Socket, link: &Link, name: &str) -> Result<String> {
    let home = Namespace::current(Kind::Net)?;
    let mut error = None;
    for number in 0..10 {
        let candidate = if number == 0 {
            name.to_owned()
        } else {
            let cut = (0..=12.min(name.len())).rev().find(|&at| name.is_char_boundary(at));
            format!("{}_{number}", &name[..cut.unwrap_or(0)])
        };
        if host.link_by_name(&candidate)?.is_some() {
            continue;
        }
        let change = LinkChange {
            name: Some(&candidate),
            namespace: Some(home.as_fd()),
            ..LinkChange::default()
        };
        match inside.change_link(link.index, &change) {
            Ok(()) => {
                if candidate != name {
                    tracing::warn!(link = %candidate, "the name {name} is taken on the host");
                }
                return Ok(candidate);
            }
            Err(refused) if refused.is(Errno::EXIST) => error = Some(refused),
            Err(refused) => return Err(refused.into()),
        }
    }
    Err(error.map_or_else(
        || Error::Conflict(format!("the name {name} is taken on the host, and so are others")),
        Error::from,
    ))
}

/// As it was, in all that can be had again; what cannot is told together.
fn restore(host: &Socket, link: &Link, loan: &Loan) -> Result<()> {
    let state = &loan.state;
    let index = link.index;
    let mut errors = Vec::new();
    let mut note = |done: linux::Result<()>| match done {
        Err(error) if !error.is(Errno::EXIST) => errors.push(error.to_string()),
        _ => {}
    };
    if link.up && link.address != state.address {
        note(host.change_link(index, &up(false)));
    }
    let values = LinkChange {
        mtu: Some(state.mtu).filter(|mtu| *mtu != link.mtu),
        queue_length: Some(state.queue_length).filter(|length| *length != link.queue_length),
        address: Some(state.address.as_slice()).filter(|address| *address != link.address),
        ..LinkChange::default()
    };
    note(host.change_link(index, &values));
    note(ethtool::want(&link.name, &state.offloads));
    for name in state.alternative_names.iter().filter(|name| **name != loan.tag) {
        if !link.alternative_names.contains(name) {
            note(host.add_alternative_name(index, name));
        }
    }
    if let Some(master) = &state.master
        && let Some(master) = host.link_by_name(master)?
    {
        let change = LinkChange { master: Some(master.index), ..LinkChange::default() };
        note(host.change_link(index, &change));
    }
    for &(ip, prefix) in &state.addresses {
        note(host.add_address(index, LinkAddress { ip, prefix }));
    }
    if state.up {
        note(host.change_link(index, &up(true)));
        // One may be the way to the gateway of the next.
        let mut left: Vec<_> = state.routes.iter().collect();
        for last in [false, false, true] {
            left.retain(|route| match host.add_route(&route.through(index)) {
                Err(error) if !error.is(Errno::EXIST) => {
                    if last {
                        errors.push(error.to_string());
                    }
                    true
                }
                _ => false,
            });
        }
    }
    if let Err(error) = host.remove_alternative_name(index, &loan.tag)
        && host.link_by_name(&loan.tag)?.is_some()
    {
        errors.push(error.to_string());
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::Failed(errors.join("; "))) }
}
