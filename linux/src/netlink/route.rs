//! Routes, of the tables that people write to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteFlags;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{LinkAddress, Socket};
use crate::Result;

/// The table that the kernel keeps for the addresses of the host itself (linux/rtnetlink.h).
const LOCAL_TABLE: u32 = 255;

/// Which kind of addresses a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A unicast route with at most one next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Of which family.
    pub family: RouteFamily,
    /// Where it leads; everywhere when absent.
    pub destination: Option<LinkAddress>,
    /// The address that packets leave with.
    pub source: Option<IpAddr>,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// The index of the link it goes out by.
    pub link: Option<u32>,
    /// Its order among others to the same destination; the lowest wins.
    pub metric: Option<u32>,
    /// The table; the main one when absent.
    pub table: Option<u32>,
    /// The gateway is reached by the link although no address says so.
    pub onlink: bool,
    /// Who made it, as a number of linux/rtnetlink.h; an administrator (`static`) when absent.
    pub protocol: Option<u8>,
}

impl Socket {
    /// Adds a route: `ip route add`. One to the same destination, of the same table and metric, is
    /// `EEXIST`.
    pub fn add_route(&self, route: &Route) -> Result<()> {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.change(RouteNetlinkMessage::NewRoute(route.message()), flags, || {
            format!("add route {}", route.describe())
        })
    }

    /// Removes the route that is like this in all that is named. `ESRCH` when there is none.
    pub fn remove_route(&self, route: &Route) -> Result<()> {
        self.change(RouteNetlinkMessage::DelRoute(route.message()), 0, || {
            format!("remove route {}", route.describe())
        })
    }

    /// The unicast routes of a family, of all tables but the kernel's own (`local`).
    pub fn routes(&self, family: RouteFamily) -> Result<Vec<Route>> {
        let mut message = RouteMessage::default();
        message.header.address_family = family.address_family();
        let request = RouteNetlinkMessage::GetRoute(message);
        let answers = self.dump(request, || "list the routes".to_owned())?;
        let routes = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(message) => Route::parse(message, family),
            _ => None,
        });
        Ok(routes.collect())
    }
}

impl RouteFamily {
    fn address_family(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::Inet,
            Self::V6 => AddressFamily::Inet6,
        }
    }

    fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

impl Route {
    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: self.family.address_family(),
            destination_prefix_length: self.destination.map_or(0, |network| network.prefix),
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: self.protocol.map_or(RouteProtocol::Static, RouteProtocol::from),
            // As ip-route(8): what has no gateway is on the link itself.
            scope: match (self.family, self.gateway) {
                (RouteFamily::V4, None) => RouteScope::Link,
                _ => RouteScope::Universe,
            },
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        if self.onlink {
            message.header.flags |= RouteFlags::Onlink;
        }
        let address = |ip: IpAddr| RouteAddress::from(ip);
        let attributes = [
            self.destination.map(|network| RouteAttribute::Destination(address(network.ip))),
            self.source.map(|ip| RouteAttribute::PrefSource(address(ip))),
            self.gateway.map(|ip| RouteAttribute::Gateway(address(ip))),
            self.link.map(RouteAttribute::Oif),
            self.metric.map(RouteAttribute::Priority),
            self.table.map(RouteAttribute::Table),
        ];
        message.attributes.extend(attributes.into_iter().flatten());
        message
    }

    fn parse(message: &RouteMessage, family: RouteFamily) -> Option<Self> {
        let header = &message.header;
        if header.kind != RouteType::Unicast || header.address_family != family.address_family() {
            return None;
        }
        let mut route = Self {
            family,
            destination: None,
            source: None,
            gateway: None,
            link: None,
            metric: None,
            table: None,
            onlink: header.flags.contains(RouteFlags::Onlink),
            protocol: Some(u8::from(header.protocol)),
        };
        let mut table = u32::from(header.table);
        let mut destination = None;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(to) => destination = ip(to),
                RouteAttribute::PrefSource(from) => route.source = ip(from),
                RouteAttribute::Gateway(hop) => route.gateway = ip(hop),
                RouteAttribute::Oif(link) => route.link = Some(*link),
                RouteAttribute::Priority(metric) => route.metric = Some(*metric),
                RouteAttribute::Table(number) => table = *number,
                _ => {}
            }
        }
        if table == LOCAL_TABLE {
            return None;
        }
        if table != u32::from(RouteHeader::RT_TABLE_MAIN) {
            route.table = Some(table);
        }
        let prefix = header.destination_prefix_length;
        route.destination = (prefix > 0 || destination.is_some()).then(|| LinkAddress {
            ip: destination.unwrap_or_else(|| family.unspecified()),
            prefix,
        });
        Some(route)
    }

    fn describe(&self) -> String {
        let mut text = self
            .destination
            .map_or("default".to_owned(), |network| format!("{}/{}", network.ip, network.prefix));
        let parts = [
            self.gateway.map(|ip| format!(" via {ip}")),
            self.source.map(|ip| format!(" src {ip}")),
            self.link.map(|link| format!(" dev {link}")),
            self.metric.map(|metric| format!(" metric {metric}")),
            self.table.map(|table| format!(" table {table}")),
        ];
        text.extend(parts.into_iter().flatten());
        text
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}
