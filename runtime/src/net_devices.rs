//! `linux.netDevices`: links of the runtime's network namespace that become the container's
//! (config-linux.md, "Network Devices").
//!
//! Hardware and hardware address, MTU and queues come along by themselves; addresses the kernel
//! takes off a link that moves, so those that are to last are put on again. A container that does
//! not come to be gives back what it had: its namespace would take links of software with it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;

use linux::Errno;
use linux::netlink::{LastingAddress, Link, LinkChange, Socket};
use linux::ns::{Kind, Namespace};
use linux::process::PidFd;
use oci_spec::runtime::Linux;
use tracing::warn;

use crate::error::During as _;
use crate::{Error, Result};

/// Longest name of a link, IFNAMSIZ of linux/if.h less its end.
const NAME_MAX: usize = 15;

/// What is asked for: the name here, and the one in the container.
pub(crate) fn of(linux: &Linux) -> Result<BTreeMap<&str, &str>> {
    let mut all = BTreeMap::new();
    for (host, device) in linux.net_devices().iter().flatten() {
        let member = || format!("linux.netDevices.{host}");
        let name = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
        for name in [host.as_str(), name] {
            check_name(name).map_err(|reason| Error::config(member(), reason))?;
        }
        if host.contains('%') {
            return Err(Error::config(member(), "is no link; name one of the host's"));
        }
        all.insert(host.as_str(), name);
    }
    Ok(all)
}

/// As dev_valid_name() and __dev_alloc_name() of the kernel see it.
fn check_name(name: &str) -> std::result::Result<(), String> {
    let odd = |letter: char| letter == '/' || letter == ':' || letter.is_ascii_whitespace();
    if name.is_empty() || name.len() > NAME_MAX || matches!(name, "." | "..") || name.contains(odd)
    {
        return Err(format!(
            "{name:?} is not the name of a link: 1 to {NAME_MAX} bytes without space, / and :"
        ));
    }
    let template = name.matches('%').count();
    if template > 1 || template == 1 && !name.contains("%d") {
        return Err(format!("{name:?} is not the name of a link; a template has one %d"));
    }
    Ok(())
}

/// Links that are the container's by now.
#[derive(Debug)]
pub(crate) struct Moved {
    home: Namespace,
    here: Socket,
    there: Socket,
    links: Vec<MovedLink>,
}

#[derive(Debug)]
struct MovedLink {
    index: u32,
    before: Link,
    addresses: Vec<LastingAddress>,
}

/// Moves them into the network namespace of `init`; all or none.
pub(crate) fn give(wanted: &BTreeMap<&str, &str>, init: &PidFd) -> Result<Option<Moved>> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let act = || "give the container links (linux.netDevices)".to_owned();
    let (home, theirs) = (Namespace::current(Kind::Net)?, Namespace::of(init, Kind::Net)?);
    if home.identity()? == theirs.identity()? {
        return Err(Error::config("linux.netDevices", "needs a network namespace of its own"));
    }
    let (here, there) = (Socket::open().step(act)?, Socket::open_in(&theirs).step(act)?);
    let mut moved = Moved { home, here, there, links: Vec::new() };
    for (host, name) in wanted {
        if let Err(error) = moved.give(host, name, &theirs) {
            moved.take_back();
            return Err(error).step(|| format!("give the container link {host} as {name}"));
        }
    }
    Ok(Some(moved))
}

impl Moved {
    fn give(&mut self, host: &str, name: &str, theirs: &Namespace) -> Result<()> {
        let before = Link::required(self.here.link_by_name(host)?, host)?;
        if before.loopback || before.bound_to_namespace {
            return Err(linux::Error::new(format!("move link {host}"), Errno::INVAL)
                .with_hint("it belongs to its network namespace and cannot leave it")
                .into());
        }
        let addresses = self.here.lasting_addresses(before.index)?;
        let others: BTreeSet<u32> = self.there.links()?.iter().map(|link| link.index).collect();
        let change = LinkChange {
            name: Some(name),
            namespace: Some(theirs.as_fd()),
            ..LinkChange::default()
        };
        // The kernel moves it first and gives it its new name then: refused one, it is there.
        let changed = self.here.change_link(before.index, &change).map_err(|error| {
            if error.is(Errno::EXIST) {
                return error.with_hint(
                    "the container has a link of that name; choose another, or a template as eth%d",
                );
            }
            error
        });
        // Its number may have been another's there; nobody else makes links there yet.
        let links = self.there.links()?;
        let Some(new) = links.into_iter().find(|link| !others.contains(&link.index)) else {
            changed?;
            return Ok(Link::required(None, name).map(drop)?);
        };
        let moved = MovedLink { index: new.index, before, addresses };
        let set_up = changed
            .map_err(Error::from)
            .and_then(|()| set_up(&self.there, moved.index, &moved.addresses, true));
        self.links.push(moved);
        set_up
    }

    /// Gives the host back what it had, as it was.
    pub(crate) fn take_back(&mut self) {
        for link in std::mem::take(&mut self.links) {
            if let Err(error) = self.take_back_one(&link) {
                let error = error.flatten();
                warn!(link = %link.before.name, %error, "link not given back to the host");
            }
        }
    }

    fn take_back_one(&self, link: &MovedLink) -> Result<()> {
        let name = Some(link.before.name.as_str());
        let change =
            LinkChange { name, namespace: Some(self.home.as_fd()), ..LinkChange::default() };
        self.there.change_link(link.index, &change)?;
        let back = Link::required(self.here.link_by_name(&link.before.name)?, &link.before.name)?;
        set_up(&self.here, back.index, &link.addresses, link.before.up)
    }
}

fn set_up(socket: &Socket, index: u32, addresses: &[LastingAddress], up: bool) -> Result<()> {
    for address in addresses {
        socket.put_address(index, address)?;
    }
    Ok(socket.change_link(index, &LinkChange { up: Some(up), ..LinkChange::default() })?)
}
