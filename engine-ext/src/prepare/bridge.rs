//! `--net bridge`: a pair of links between a bridge of the host and a container, an address from the
//! bridge's network, and a default route over the bridge.
//!
//! Who has which address is written in `<state>/networks/<bridge>/<address>`, one file for each, all
//! changed under one lock. A bridge of our own is made for its first container and goes with its
//! last; one that was there stays as it is. Nothing else of the host is touched: not its packet
//! filter, not its forwarding.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use container::config::BridgePort;
use container::state::Lease;
use container::{Config, ContainerId, Layout, Store};
use linux::Undo;
use linux::lock::Lock;
use linux::netlink::{
    Link, LinkAddress, LinkChange, NewKind, NewLink, PeerLink, Route, RouteFamily, Socket,
};
use linux::ns::{Kind, Namespace};
use linux::process::Pid;

use crate::request::network::OWN_BRIDGE;

/// Networks for our own bridge, the first that nothing of the host leads to: 10.98.0.0/24 and on.
const OWN_NETWORKS: [u8; 2] = [10, 98];
const OWN_PREFIX: u8 = 24;
/// What the link is called inside.
const INSIDE: &str = "eth0";

/// An address for the container: the one it asks for, else the one it had, else a free one.
pub(super) fn lease(layout: &Layout, config: &Config, port: &BridgePort) -> Result<Lease> {
    let _lock = lock(layout)?;
    let socket = Socket::open()?;
    let act = || format!("find an address on bridge {}", port.bridge);
    let network = network(&socket, &bridge(&socket, &port.bridge)?, &port.bridge)?;
    let directory = directory(layout, &port.bridge);
    fs::create_dir_all(&directory).with_context(act)?;
    let (mine, others) = given(&directory, config)?;
    let taken = living(layout, others);
    let address = match port.address {
        Some(address) => {
            ensure!(
                network.has_room_for(address),
                "--ip {address}: bridge {} gives addresses of {}/{}, its own {} excepted",
                port.bridge,
                network.base(),
                network.prefix,
                network.gateway
            );
            if let Some((_, holder)) = taken.iter().find(|(there, _)| *there == address) {
                bail!("--ip {address}: container {} has it", holder.short());
            }
            address
        }
        None => {
            let free = |address: &Ipv4Addr| {
                network.has_room_for(*address) && !taken.iter().any(|(there, _)| there == address)
            };
            mine.filter(free)
                .or_else(|| network.addresses().find(free))
                .with_context(|| format!("bridge {}: every address is taken", port.bridge))?
        }
    };
    forget(&directory, mine)?;
    fs::write(directory.join(address.to_string()), config.id.as_str()).with_context(act)?;
    let [a, b, c, d] = address.octets();
    Ok(Lease {
        bridge: port.bridge.clone(),
        address,
        prefix: network.prefix,
        gateway: network.gateway,
        // Locally administered, and the address's own: unique where the address is.
        mac: port.mac.unwrap_or([0x02, 0x42, a, b, c, d]),
        host_link: host_link(config),
    })
}

/// Makes the pair for the container whose init is `pid`, up and with its route.
pub fn attach(lease: &Lease, pid: Pid) -> Result<()> {
    let act = || format!("connect it to bridge {}", lease.bridge);
    let namespace = Namespace::of_pid(pid, Kind::Net).with_context(act)?;
    let (host, inside) = (Socket::open()?, Socket::open_in(&namespace).with_context(act)?);
    let bridge = bridge(&host, &lease.bridge)?;
    // The kernel takes the last run's pair away in its own time, after the network namespace.
    remove_link(&host, &lease.host_link).with_context(act)?;
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
    undo.push("link", || remove_link(&host, &lease.host_link));
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    let near = Link::required(host.link_by_name(&lease.host_link)?, &lease.host_link)?;
    let far = Link::required(inside.link_by_name(INSIDE)?, INSIDE)?;
    let address = LinkAddress { ip: IpAddr::V4(lease.address), prefix: lease.prefix };
    inside.add_address(far.index, address).with_context(act)?;
    inside.change_link(far.index, &up).with_context(act)?;
    host.change_link(near.index, &up).with_context(act)?;
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

/// Gives the address back, and takes the host's end of the pair and a bridge of ours away.
pub fn release(layout: &Layout, config: &Config) -> Result<()> {
    let Some(port) = &config.bridge else { return Ok(()) };
    let _lock = lock(layout)?;
    let socket = Socket::open()?;
    remove_link(&socket, &host_link(config))?;
    let directory = directory(layout, &port.bridge);
    forget(&directory, given(&directory, config)?.0)?;
    let empty = fs::remove_dir(&directory).is_ok();
    if empty && port.bridge == OWN_BRIDGE {
        remove_link(&socket, OWN_BRIDGE)?;
    }
    Ok(())
}

fn host_link(config: &Config) -> String {
    format!("veth{}", &config.id.as_str()[..8])
}

/// Its pair may be gone already, with the container's network namespace.
fn remove_link(socket: &Socket, name: &str) -> linux::Result<()> {
    match socket.link_by_name(name)? {
        None => Ok(()),
        Some(link) => match socket.delete_link(link.index) {
            Err(error) if !error.is(linux::Errno::NODEV) => Err(error),
            _ => Ok(()),
        },
    }
}

fn bridge(socket: &Socket, name: &str) -> Result<Link> {
    if let Some(link) = socket.link_by_name(name)? {
        ensure!(link.kind == "bridge", "--net bridge={name}: {name} is not a bridge");
        return Ok(link);
    }
    ensure!(
        name == OWN_BRIDGE,
        "--net bridge={name}: there is no bridge {name}; make it: ip link add {name} type bridge"
    );
    let change = LinkChange::default();
    socket.add_link(&NewLink { name, kind: NewKind::Bridge, change })?;
    let link = Link::required(socket.link_by_name(name)?, name)?;
    let address = LinkAddress { ip: IpAddr::V4(free_network(socket)?), prefix: OWN_PREFIX };
    socket.add_address(link.index, address)?;
    socket.change_link(link.index, &LinkChange { up: Some(true), ..LinkChange::default() })?;
    Ok(link)
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

fn lock(layout: &Layout) -> Result<Lock> {
    let directory = layout.networks();
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    Ok(Lock::exclusive(directory.join(".lock"))?)
}

fn directory(layout: &Layout, bridge: &str) -> PathBuf {
    layout.networks().join(bridge)
}

/// An address, and who has it.
type Holding = (Ipv4Addr, ContainerId);

/// The addresses in `directory`: the container's own, and who has which of the others.
fn given(directory: &Path, config: &Config) -> Result<(Option<Ipv4Addr>, Vec<Holding>)> {
    let list = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((None, vec![])),
        list => list.with_context(|| format!("list {}", directory.display()))?,
    };
    let entry = |entry: fs::DirEntry| -> Option<Holding> {
        let address = entry.file_name().to_str()?.parse().ok()?;
        let id = fs::read_to_string(entry.path()).ok()?.parse().ok()?;
        Some((address, id))
    };
    let all = list.flatten().filter_map(entry);
    let (mine, others): (Vec<_>, Vec<_>) = all.partition(|(_, id)| *id == config.id);
    Ok((mine.first().map(|(address, _)| *address), others))
}

fn forget(directory: &Path, address: Option<Ipv4Addr>) -> Result<()> {
    let Some(address) = address else { return Ok(()) };
    let path = directory.join(address.to_string());
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
}

/// Those of containers that live. What a killed shim left is free again.
fn living(layout: &Layout, mut given: Vec<Holding>) -> Vec<Holding> {
    let store = Store::new(layout.root(), layout.state());
    given.retain(|(_, id)| {
        let holder = store.get(id).and_then(|container| container.state());
        holder.is_ok_and(|state| state.status.is_live())
    });
    given
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
