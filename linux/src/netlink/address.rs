//! Addresses of links.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Socket;
use crate::Result;

/// An address with the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkAddress {
    /// The address.
    pub ip: IpAddr,
    /// How many of its bits name the network.
    pub prefix: u8,
}

/// An address as the kernel tells it, without what is its own to find out.
#[derive(Debug, Clone)]
pub struct LastingAddress(AddressMessage);

impl LastingAddress {
    fn of(mut message: AddressMessage) -> Self {
        let given = AddressFlags::Nodad
            | AddressFlags::Homeaddress
            | AddressFlags::Managetempaddr
            | AddressFlags::Noprefixroute
            | AddressFlags::Mcautojoin;
        message.header.flags = AddressHeaderFlags::empty();
        message.attributes.retain_mut(|attribute| match attribute {
            AddressAttribute::Flags(flags) => {
                *flags &= given;
                true
            }
            AddressAttribute::Address(_)
            | AddressAttribute::Local(_)
            | AddressAttribute::Broadcast(_)
            | AddressAttribute::RoutePriority(_) => true,
            // A label has the link's name in it; for how long it is good: for ever.
            _ => false,
        });
        Self(message)
    }
}

impl Socket {
    /// Gives the link `index` an address: `ip address add ADDRESS dev LINK`. IPv4 gets the broadcast
    /// address of its network, as ip-address(8) does with `brd +`.
    pub fn add_address(&self, index: u32, address: LinkAddress) -> Result<()> {
        let mut message = message(index, address);
        if let (IpAddr::V4(ip), prefix @ 0..31) = (address.ip, address.prefix) {
            let hosts = u32::MAX >> prefix;
            let broadcast = (ip.to_bits() | hosts).into();
            message.attributes.push(AddressAttribute::Broadcast(broadcast));
        }
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.change(RouteNetlinkMessage::NewAddress(message), flags, || {
            format!("add address {}/{} to link {index}", address.ip, address.prefix)
        })
    }

    /// Takes an address off the link `index`.
    pub fn remove_address(&self, index: u32, address: LinkAddress) -> Result<()> {
        self.change(RouteNetlinkMessage::DelAddress(message(index, address)), 0, || {
            format!("remove address {}/{} of link {index}", address.ip, address.prefix)
        })
    }

    /// The addresses of the link `index`, those that the kernel gave itself included.
    pub fn addresses(&self, index: u32) -> Result<Vec<LinkAddress>> {
        Ok(self.address_messages(index)?.iter().filter_map(parse).collect())
    }

    /// Those of them that somebody gave the link for good, and that are good everywhere, with all
    /// that belongs to them.
    pub fn lasting_addresses(&self, index: u32) -> Result<Vec<LastingAddress>> {
        let messages = self.address_messages(index)?;
        let lasting = messages.into_iter().filter(|message| {
            message.header.scope == AddressScope::Universe
                && message.header.flags.contains(AddressHeaderFlags::Permanent)
        });
        Ok(lasting.map(LastingAddress::of).collect())
    }

    /// Gives the link `index` an address that another had, or the same in another namespace.
    pub fn put_address(&self, index: u32, address: &LastingAddress) -> Result<()> {
        let mut message = address.0.clone();
        message.header.index = index;
        let text =
            parse(&message).map_or_else(String::new, |it| format!("{}/{}", it.ip, it.prefix));
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.change(RouteNetlinkMessage::NewAddress(message), flags, || {
            format!("add address {text} to link {index}")
        })
    }

    fn address_messages(&self, index: u32) -> Result<Vec<AddressMessage>> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump(request, || format!("list the addresses of link {index}"))?;
        let of_link = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) if message.header.index == index => {
                Some(message)
            }
            _ => None,
        });
        Ok(of_link.collect())
    }
}

fn message(index: u32, address: LinkAddress) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix;
    message.header.family =
        if address.ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes.push(AddressAttribute::Address(address.ip));
    if address.ip.is_ipv4() {
        // Equal to the address unless the link has a peer (rtnetlink(7)).
        message.attributes.push(AddressAttribute::Local(address.ip));
    }
    message
}

fn parse(message: &AddressMessage) -> Option<LinkAddress> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let ip = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })?;
    Some(LinkAddress { ip, prefix: message.header.prefix_len })
}
