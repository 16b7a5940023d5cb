//! Addresses of links.

use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

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
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump(request, || format!("list the addresses of link {index}"))?;
        let of_link = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) if message.header.index == index => {
                Some(message)
            }
            _ => None,
        });
        Ok(of_link.filter_map(|message| parse(&message)).collect())
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
