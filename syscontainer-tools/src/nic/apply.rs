//! Links into a container, out of it, and from one state to another; twice is once.

use std::rc::Rc;

use container::Running;
use linux::Undo;
use linux::netlink::{Link, Socket};
use linux::ns::Namespace;
use linux::process::Pid;

use super::bridge::Bridge;
use super::entry::parsed;
use super::parse::{Kind, NicRequest};
use super::rate::{self, Rates};
use super::registry::Links;
use super::settings::{Side, Sockets, Values, address, adjust, up};
use super::{given, made, veth};
use crate::error::{Error, Result};
use crate::record::{NicEntry, Record};

/// Makes the link usable in the container.
///
/// The link first, up at last: nobody inside sees one that is half ready and up.
pub(crate) fn apply<'a>(
    live: &'a Running,
    links: &'a Links,
    entry: &NicEntry,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let nic = parsed(entry)?;
    let sockets = Sockets::of(live)?;
    let network = network(live)?;
    let values = wanted(&nic);
    let mut host = None;
    let inside = match nic.kind {
        Kind::Veth => {
            let pair = veth::make(live, network, &sockets, &nic, undo)?;
            let ends = Values { address: None, ..values };
            adjust(&sockets, Side::Host, &pair.host, ends, undo)?;
            join(&sockets, &pair.host, None, &nic, undo)?;
            host = Some(pair.host);
            pair.inside
        }
        Kind::Eth => given::give(live, network, links, &sockets, &nic, undo)?,
        Kind::MacVlan | Kind::IpVlan => made::make(live, network, &sockets, &nic, undo)?,
    };
    adjust(&sockets, Side::Inside, &inside, values, undo)?;
    address(&sockets, inside.index, &nic.addresses, &[], undo)?;
    rate::limit(&sockets, host.as_ref(), &inside, Rates::default(), nic.rates, undo)?;
    if !inside.up {
        sockets.inside.change_link(inside.index, &up(true))?;
    }
    Ok(())
}

/// Takes the link out of the container: ours go, the host's goes home.
pub(crate) fn revert<'a>(
    live: &'a Running,
    links: &'a Links,
    entry: &'a NicEntry,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let sockets = Sockets::of(live)?;
    let removed = match parsed(entry) {
        // To get rid of it, it need not be right.
        Err(_) => given::take_back(links, &live.id, &sockets, &entry.ctr_nic_name),
        Ok(nic) => match nic.kind {
            Kind::Veth => veth::remove(&sockets.host, Some(&sockets.inside), &live.id, &nic),
            Kind::Eth => given::take_back(links, &live.id, &sockets, &entry.ctr_nic_name),
            Kind::MacVlan | Kind::IpVlan => made::remove(&sockets, &live.id, &nic),
        },
    };
    // One that failed may have got anywhere: the link is made what the record says.
    if !matches!(removed, Ok(false)) {
        undo.push("link", move || {
            let mut undo = Undo::new();
            let again = apply(live, links, entry, &mut undo);
            undo.disarm();
            again
        });
    }
    removed.map(drop)
}

/// Makes the link, which is as `from` says, what `to` says. Nothing goes down on the way.
pub(crate) fn update<'a>(
    live: &'a Running,
    links: &'a Links,
    from: &NicEntry,
    to: &NicEntry,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let nic = parsed(to)?;
    let before = parsed(from).ok();
    let sockets = Sockets::of(live)?;
    let Some((host, inside)) = ends(&sockets, links, &live.id, &nic)? else {
        return apply(live, links, to, undo);
    };
    let values = wanted(&nic);
    if let Some(host) = &host {
        join(&sockets, host, before.as_ref(), &nic, undo)?;
        adjust(&sockets, Side::Host, host, Values { address: None, ..values }, undo)?;
    }
    adjust(&sockets, Side::Inside, &inside, values, undo)?;
    let rates = before.as_ref().map(|before| before.rates).unwrap_or_default();
    rate::limit(&sockets, host.as_ref(), &inside, rates, nic.rates, undo)?;
    let unwanted = before.map(|before| before.addresses).unwrap_or_default();
    address(&sockets, inside.index, &nic.addresses, &unwanted, undo)
}

/// What the container has of the host that it leaves behind when it ends: its links given back, its
/// pairs removed.
///
/// # Errors
/// Some of it could not be; the rest was.
pub fn retire(links: &Links, id: &str, record: &Record) -> Result<()> {
    let given = take_all_back(links, id);
    let pairs: Vec<NicRequest> = record
        .nics
        .iter()
        .filter(|nic| nic.kind == "veth")
        .filter_map(|nic| parsed(nic).ok())
        .collect();
    if !pairs.is_empty() {
        let host = Socket::open()?;
        for nic in &pairs {
            veth::remove(&host, None, id, nic)?;
        }
    }
    given
}

fn take_all_back(links: &Links, id: &str) -> Result<()> {
    if links.knows(id) { given::take_all_back(links, id) } else { Ok(()) }
}

/// Gives back every link whose container is gone. Answers whose they were.
///
/// A network namespace in which no process is left is nobody's any more, whichever engine made it.
///
/// # Errors
/// Some could not be given back; others were.
pub fn recover(links: &Links) -> Result<Vec<String>> {
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for id in links.containers() {
        if let Some(pinned) = links.pinned(&id)?
            && is_in_use(&pinned)?
        {
            continue;
        }
        match given::take_all_back(links, &id) {
            Ok(()) => done.push(id),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(done) } else { Err(Error::Failed(errors.join("; "))) }
}

fn is_in_use(network: &Namespace) -> Result<bool> {
    let identity = network.identity()?;
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut networks = pids
        .filter_map(Pid::new)
        .filter_map(|pid| Namespace::of_pid(pid, linux::ns::Kind::Net).ok()?.identity().ok());
    Ok(networks.any(|other| other == identity))
}

/// What a missed end of an earlier life has left, before this one gets its links.
pub(crate) fn retire_earlier(live: &Running, links: &Links) -> Result<()> {
    if !links.knows(&live.id) {
        return Ok(());
    }
    let pinned = links.pinned(&live.id)?;
    let is_this = match (&pinned, live.network()?) {
        (Some(pinned), Some(network)) => pinned.identity()? == network.identity()?,
        _ => false,
    };
    if is_this { Ok(()) } else { given::take_all_back(links, &live.id) }
}

/// What is wrong with the link in the container, if anything.
pub(crate) fn drift(live: &Running, links: &Links, entry: &NicEntry) -> Result<Option<String>> {
    let nic = parsed(entry)?;
    let sockets = Sockets::of(live)?;
    let Some((host, inside)) = ends(&sockets, links, &live.id, &nic)? else {
        return Ok(Some("is not there".into()));
    };
    let mut wrong = Vec::new();
    if inside.name != nic.names.container.as_str() {
        wrong.push(format!("is called {}", inside.name));
    }
    if !inside.up || host.as_ref().is_some_and(|host| !host.up) {
        wrong.push("is down".into());
    }
    if inside.mtu != nic.mtu {
        wrong.push(format!("has an MTU of {}, not {}", inside.mtu, nic.mtu));
    }
    if let Some(mac) = nic.hardware_address.filter(|mac| mac.0.as_slice() != inside.address) {
        wrong.push(format!("has another MAC address than {mac}"));
    }
    let has = sockets.inside.addresses(inside.index)?;
    for address in &nic.addresses {
        if !has.iter().any(|found| (found.ip, found.prefix) == (address.ip, address.prefix)) {
            wrong.push(format!("has no address {address}"));
        }
    }
    wrong.extend(rate::drift(&sockets, host.as_ref(), &inside, nic.rates)?);
    if let (Some(host), Some(bridge)) = (&host, &nic.bridge) {
        let joined = Bridge::find(&sockets.host, bridge)
            .is_ok_and(|bridge| bridge.master().is_none_or(|master| host.master == Some(master)));
        if !joined {
            wrong.push(format!("is no port of {bridge}"));
        }
    }
    Ok((!wrong.is_empty()).then(|| wrong.join(", ")))
}

fn network(live: &Running) -> Result<&Namespace> {
    live.network()?.ok_or_else(|| Error::Unsupported("the container has no network".into()))
}

fn wanted(nic: &NicRequest) -> Values {
    Values {
        mtu: Some(nic.mtu),
        queue_length: Some(nic.queue_length),
        address: nic.hardware_address,
    }
}

/// The host's end, where it keeps one, and the container's.
fn ends(
    sockets: &Sockets,
    links: &Links,
    id: &str,
    nic: &NicRequest,
) -> Result<Option<(Option<Link>, Link)>> {
    Ok(match nic.kind {
        Kind::Veth => veth::find(sockets, id, nic)?.map(|pair| (Some(pair.host), pair.inside)),
        Kind::Eth => match links.loan(id, nic.names.container.as_str())? {
            Some(loan) => given::find(&sockets.inside, &loan)?.map(|link| (None, link)),
            None => None,
        },
        Kind::MacVlan | Kind::IpVlan => made::find(sockets, id, nic)?.map(|link| (None, link)),
    })
}

/// Makes the host's end a port of the bridge that is asked for, and of no other.
fn join(
    sockets: &Rc<Sockets>,
    host: &Link,
    before: Option<&NicRequest>,
    nic: &NicRequest,
    undo: &mut Undo<'_>,
) -> Result<()> {
    let Some(name) = &nic.bridge else { return Ok(()) };
    let bridge = Bridge::find(&sockets.host, name)?;
    let old = before.and_then(|nic| nic.bridge.clone()).filter(|old| old != name);
    let old = old.and_then(|old| Bridge::find(&sockets.host, &old).ok());
    if bridge.master().is_some_and(|master| host.master == Some(master)) {
        return Ok(());
    }
    if let Some(old) = &old {
        old.leave(&host.name)?;
    }
    bridge.join(&sockets.host, host)?;
    let (sockets, host) = (Rc::clone(sockets), host.clone());
    if let Some(old) = old {
        undo.push("port of a bridge", move || {
            bridge.leave(&host.name)?;
            old.join(&sockets.host, &Link { master: None, ..host })
        });
    }
    Ok(())
}
