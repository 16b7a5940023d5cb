//! What a link is to be like, whatever kind it is: the difference to what it is like, with its undo.

use std::rc::Rc;

use container::Running;
use linux::netlink::{Link, LinkAddress, LinkChange, Socket};
use linux::{Errno, Undo};

use super::address::{Address, HardwareAddress};
use crate::error::{Error, Result};

/// A way to the kernel on either side.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) host: Socket,
    pub(crate) inside: Socket,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Host,
    Inside,
}

/// What can differ while a link stays what it is; what is not named stays.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values {
    pub(crate) mtu: Option<u32>,
    pub(crate) queue_length: Option<u32>,
    pub(crate) address: Option<HardwareAddress>,
}

impl Sockets {
    pub(crate) fn of(live: &Running) -> Result<Rc<Self>> {
        let Some(network) = live.network()? else {
            return Err(Error::Unsupported(
                "the container shares the host's network; links and routes are for containers with \
                 a network of their own"
                    .into(),
            ));
        };
        Ok(Rc::new(Self { host: Socket::open()?, inside: Socket::open_in(network)? }))
    }

    pub(crate) fn on(&self, side: Side) -> &Socket {
        match side {
            Side::Host => &self.host,
            Side::Inside => &self.inside,
        }
    }
}

/// Gives `link` the values that it has not.
pub(crate) fn adjust(
    sockets: &Rc<Sockets>,
    side: Side,
    link: &Link,
    values: Values,
    undo: &mut Undo<'_>,
) -> Result<()> {
    let differs = |wanted: Option<u32>, is: u32| wanted.filter(|wanted| *wanted != is);
    let mtu = differs(values.mtu, link.mtu);
    let queue_length = differs(values.queue_length, link.queue_length);
    let address = values.address.filter(|address| address.0.as_slice() != link.address);
    if mtu.is_none() && queue_length.is_none() && address.is_none() {
        return Ok(());
    }
    let bytes = address.map(|address| address.0);
    let change = LinkChange {
        mtu,
        queue_length,
        address: bytes.as_ref().map(<[u8; 6]>::as_slice),
        ..LinkChange::default()
    };
    let (again, before) = (Rc::clone(sockets), link.clone());
    // Of several values the kernel sets one after the other (do_setlink() in net/core/rtnetlink.c).
    undo.push("values of a link", move || {
        let back = LinkChange {
            mtu: mtu.map(|_| before.mtu),
            queue_length: queue_length.map(|_| before.queue_length),
            address: address.map(|_| before.address.as_slice()),
            ..LinkChange::default()
        };
        change_even_if_down(again.on(side), &before, &back)
    });
    Ok(change_even_if_down(sockets.on(side), link, &change)?)
}

/// Some drivers change an address of a link only while it is down.
fn change_even_if_down(socket: &Socket, link: &Link, change: &LinkChange<'_>) -> linux::Result<()> {
    match socket.change_link(link.index, change) {
        Err(error) if error.is(Errno::BUSY) && change.address.is_some() => {
            socket.change_link(link.index, &up(false))?;
            let changed = socket.change_link(link.index, change);
            if link.up {
                socket.change_link(link.index, &up(true))?;
            }
            changed
        }
        changed => changed,
    }
}

pub(crate) fn up(up: bool) -> LinkChange<'static> {
    LinkChange { up: Some(up), ..LinkChange::default() }
}

/// Gives the link inside the addresses `wanted`, then takes `unwanted` ones off it: in between it
/// has both, and is never without.
pub(crate) fn address(
    sockets: &Rc<Sockets>,
    index: u32,
    wanted: &[Address],
    unwanted: &[Address],
    undo: &mut Undo<'_>,
) -> Result<()> {
    for &address in wanted {
        if add(&sockets.inside, index, address)? {
            let sockets = Rc::clone(sockets);
            undo.push("address of a link", move || remove(&sockets.inside, index, address));
        }
    }
    for &address in unwanted.iter().filter(|address| !wanted.contains(address)) {
        remove(&sockets.inside, index, address)?;
        let sockets = Rc::clone(sockets);
        undo.push("address of a link", move || add(&sockets.inside, index, address));
    }
    if !unwanted.is_empty() {
        // With the first address of a network go its others, unless net.ipv4.conf says otherwise.
        for &address in wanted {
            add(&sockets.inside, index, address)?;
        }
    }
    Ok(())
}

fn of(address: Address) -> LinkAddress {
    LinkAddress { ip: address.ip, prefix: address.prefix }
}

/// Whether it was not there.
fn add(socket: &Socket, index: u32, address: Address) -> linux::Result<bool> {
    match socket.add_address(index, of(address)) {
        Ok(()) => Ok(true),
        Err(error) if error.is(Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove(socket: &Socket, index: u32, address: Address) -> linux::Result<()> {
    match socket.remove_address(index, of(address)) {
        Err(error) if error.is(Errno::ADDRNOTAVAIL) || error.is(Errno::NODEV) => Ok(()),
        removed => removed,
    }
}
