//! `--net bridge`: a pair of links between a bridge of the host and a container, an address from the
//! bridge's network, and a default route over the bridge.
//!
//! A bridge of our own is made for its first container and goes with its last; one that was there
//! stays as it is. Nothing else of the host is touched unless ports are published (`publish`).

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail, ensure};
use container::config::BridgePort;
use container::state::Lease;
use container::{Config, Layout};
use linux::Undo;
use linux::netlink::{
    Link, LinkAddress, LinkChange, NewKind, NewLink, PeerLink, Route, RouteFamily, Socket,
};
use linux::ns::{Kind, Namespace};
use linux::process::Pid;

use super::leases::{Entry, Leases};
use super::publish::{self, Reserved};
use crate::request::network::OWN_BRIDGE;

/// Networks for our own bridge, the first that nothing of the host leads to: 10.98.0.0/24 and on.
const OWN_NETWORKS: [u8; 2] = [10, 98];
const OWN_PREFIX: u8 = 24;
/// What the link is called inside.
const INSIDE: &str = "eth0";

/// An address for the container, the one it asks for, else the one it had, else a free one; and the
/// ports of the host that lead there, which `reserved` keeps.
pub(super) fn lease(
    layout: &Layout,
    config: &Config,
    port: &BridgePort,
    reserved: &mut Vec<Reserved>,
) -> Result<Lease> {
    let leases = Leases::open(layout)?;
    if reserved.is_empty() {
        *reserved = publish::reserve(&leases, &config.id, port)?;
    }
    let socket = Socket::open()?;
    let network = network(&socket, &bridge(&socket, &port.bridge)?, &port.bridge)?;
    let address = address(&leases, config, port, network)?;
    let entry = Entry {
        bridge: port.bridge.clone(),
        address,
        id: config.id.clone(),
        ports: reserved.iter().map(|it| it.port).collect(),
    };
    if leases.put(&entry)? {
        publish::apply(layout, &leases, |bridge| written(&socket, bridge))?;
    }
    let [a, b, c, d] = address.octets();
    Ok(Lease {
        bridge: entry.bridge,
        address,
        prefix: network.prefix,
        gateway: network.gateway,
        // Locally administered, and the address's own: unique where the address is.
        mac: port.mac.unwrap_or([0x02, 0x42, a, b, c, d]),
        host_link: host_link(config),
        ports: entry.ports,
    })
}

fn address(
    leases: &Leases,
    config: &Config,
    port: &BridgePort,
    network: Network,
) -> Result<Ipv4Addr> {
    let mut taken = leases.on(&port.bridge)?;
    taken.retain(|entry| entry.id != config.id);
    if let Some(address) = port.address {
        ensure!(
            network.has_room_for(address),
            "--ip {address}: bridge {} gives addresses of {}/{}, its own {} excepted",
            port.bridge,
            network.base(),
            network.prefix,
            network.gateway
        );
        if let Some(entry) = taken.iter().find(|entry| entry.address == address) {
            bail!("--ip {address}: container {} has it", entry.id.short());
        }
        return Ok(address);
    }
    let free = |address: &Ipv4Addr| {
        network.has_room_for(*address) && !taken.iter().any(|entry| entry.address == *address)
    };
    let mine = leases.of(&port.bridge, &config.id)?.map(|entry| entry.address);
    mine.filter(free)
        .or_else(|| network.addresses().find(free))
        .with_context(|| format!("bridge {}: every address is taken", port.bridge))
}

/// Makes the pair for the container whose init is `pid`, up and with its route.
pub fn attach(lease: &Lease, pid: Pid) -> Result<()> {
    let act = || format!("connect it to bridge {}", lease.bridge);
    let namespace = Namespace::of_pid(pid, Kind::Net).with_context(act)?;
    let (host, inside) = (Socket::open()?, Socket::open_in(&namespace).with_context(act)?);
    let bridge = bridge(&host, &lease.bridge)?;
    // The kernel takes the last run's pair away in its own time, after the network namespace.
    host.delete_link_by_name(&lease.host_link).with_context(act)?;
    let peer = LinkChange {
        namespace: Some(namespace.as_fd()),
        address: Some(&lease.mac),
        mtu: Some(bridge.mtu),
        ..LinkChange::default()
    };
    let change =
        LinkChange { master: Some(bridge.index), mtu: Some(bridge.mtu), ..LinkChange::default() };
    let kind = NewKind::Veth(PeerLink { name: INSIDE, change: peer });
    host.add_link(&NewLink { name: &lease.host_link, kind, change }).with_context(act)?;
    let mut undo = Undo::new();
    undo.push("link", || host.delete_link_by_name(&lease.host_link));
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    let near = Link::required(host.link_by_name(&lease.host_link)?, &lease.host_link)?;
    let far = Link::required(inside.link_by_name(INSIDE)?, INSIDE)?;
    let address = LinkAddress { ip: IpAddr::V4(lease.address), prefix: lease.prefix };
    inside.add_address(far.index, address).with_context(act)?;
    inside.change_link(far.index, &up).with_context(act)?;
    // With bridge-nf-call-iptables a bridge turns back itself what is led to where it came from.
    let hairpin = Some(true).filter(|_| !lease.ports.is_empty());
    let change = LinkChange { hairpin, ..up };
    host.change_link(near.index, &change).with_context(act)?;
    let route = Route {
        family: RouteFamily::V4,
        destination: None,
        source: None,
        gateway: Some(IpAddr::V4(lease.gateway)),
        link: Some(far.index),
        metric: None,
        table: None,
        onlink: false,
        protocol: None,
    };
    inside.add_route(&route).with_context(act)?;
    undo.disarm();
    Ok(())
}

/// Gives back the address and what led there, and takes the host's end of the pair and a bridge of
/// ours away.
pub fn release(layout: &Layout, config: &Config) -> Result<()> {
    let Some(port) = &config.bridge else { return Ok(()) };
    let leases = Leases::open(layout)?;
    let socket = Socket::open()?;
    socket.delete_link_by_name(&host_link(config))?;
    let had = leases.remove(&port.bridge, &config.id)?;
    let unpublished = match had.is_some_and(|entry| !entry.ports.is_empty()) {
        true => publish::apply(layout, &leases, |bridge| written(&socket, bridge)),
        false => Ok(()),
    };
    if leases.is_unused(&port.bridge) && port.bridge == OWN_BRIDGE {
        socket.delete_link_by_name(OWN_BRIDGE)?;
    }
    unpublished
}

fn host_link(config: &Config) -> String {
    format!("veth{}", &config.id.as_str()[..8])
}

fn bridge(socket: &Socket, name: &str) -> Result<Link> {
    let link = match socket.link_by_name(name)? {
        Some(link) => {
            ensure!(link.kind == "bridge", "--net bridge={name}: {name} is not a bridge");
            link
        }
        None => {
            ensure!(
                name == OWN_BRIDGE,
                "--net bridge={name}: there is no bridge {name}; make it: ip link add {name} type \
                 bridge"
            );
            let change = LinkChange::default();
            socket.add_link(&NewLink { name, kind: NewKind::Bridge, change })?;
            Link::required(socket.link_by_name(name)?, name)?
        }
    };
    if name == OWN_BRIDGE {
        complete(socket, &link)?;
    }
    Ok(link)
}

/// Gives our own bridge what it lacks: all of it if it is new, some if its maker was killed.
fn complete(socket: &Socket, link: &Link) -> Result<()> {
    if !socket.addresses(link.index)?.iter().any(|address| address.ip.is_ipv4()) {
        let address = LinkAddress { ip: IpAddr::V4(free_network(socket)?), prefix: OWN_PREFIX };
        socket.add_address(link.index, address)?;
    }
    if !link.up {
        socket.change_link(link.index, &LinkChange { up: Some(true), ..LinkChange::default() })?;
    }
    Ok(())
}

/// The first address of a network that no route of the host leads to.
fn free_network(socket: &Socket) -> Result<Ipv4Addr> {
    let routes = socket.routes(RouteFamily::V4)?;
    let [a, b] = OWN_NETWORKS;
    let used = |candidate: Ipv4Addr| {
        routes.iter().filter_map(|route| route.destination).any(|there| match there.ip {
            IpAddr::V4(ip) => {
                let mask = mask(there.prefix.min(OWN_PREFIX));
                ip.to_bits() & mask == candidate.to_bits() & mask
            }
            IpAddr::V6(_) => false,
        })
    };
    (0..=u8::MAX)
        .map(|number| Ipv4Addr::new(a, b, number, 1))
        .find(|candidate| !used(*candidate))
        .with_context(|| format!("no network of {a}.{b}.0.0/16 is free for {OWN_BRIDGE}"))
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The network that a bridge has by its address.
#[derive(Debug, Clone, Copy)]
struct Network {
    gateway: Ipv4Addr,
    prefix: u8,
}

fn network(socket: &Socket, bridge: &Link, name: &str) -> Result<Network> {
    let addresses = socket.addresses(bridge.index)?;
    let network = addresses.iter().find_map(|address| match address.ip {
        IpAddr::V4(gateway) => Some(Network { gateway, prefix: address.prefix }),
        IpAddr::V6(_) => None,
    });
    network.with_context(|| {
        format!("bridge {name} has no IPv4 address; give it one: ip address add ADDRESS dev {name}")
    })
}

/// The network of a bridge that is there.
fn written(socket: &Socket, name: &str) -> Result<String> {
    let link = Link::required(socket.link_by_name(name)?, name)?;
    let network = network(socket, &link, name)?;
    Ok(format!("{}/{}", network.base(), network.prefix))
}

impl Network {
    fn base(self) -> Ipv4Addr {
        (self.gateway.to_bits() & mask(self.prefix)).into()
    }

    fn last(self) -> u32 {
        self.base().to_bits() | !mask(self.prefix)
    }

    /// Neither the network, nor everybody in it, nor the bridge.
    fn has_room_for(self, address: Ipv4Addr) -> bool {
        let number = address.to_bits();
        number > self.base().to_bits() && number < self.last() && address != self.gateway
    }

    fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        (self.base().to_bits()..=self.last()).map(Ipv4Addr::from_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_gives_all_but_three_addresses() {
        let network = Network { gateway: Ipv4Addr::new(10, 0, 0, 9), prefix: 29 };
        let free: Vec<String> = network
            .addresses()
            .filter(|address| network.has_room_for(*address))
            .map(|address| address.to_string())
            .collect();
        assert_eq!(free, ["10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14"]);
        assert_eq!(network.base(), Ipv4Addr::new(10, 0, 0, 8));
        assert!(!network.has_room_for(Ipv4Addr::new(10, 0, 0, 16)));
    }

    #[test]
    fn the_widest_network_has_a_mask() {
        assert_eq!((mask(0), mask(8), mask(32)), (0, 0xff00_0000, u32::MAX));
    }
}
