//! What containers can be connected to: the words of `--net`, and the bridges of the host behind
//! them.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use container::Store;
use linux::netlink::Socket;
use serde_json::{Value, json};

use crate::lifecycle::shown;
use crate::request::network::OWN_BRIDGE;

/// A container and its address.
struct Member {
    name: String,
    bridge: String,
    address: String,
}

/// All of them: ours first, then the host's bridges by name.
pub(crate) fn all(store: &Store) -> Result<Vec<Value>> {
    let members = members(store)?;
    let mut bridges: Vec<(String, Option<(Ipv4Addr, u8)>)> = vec![(OWN_BRIDGE.to_owned(), None)];
    let socket = Socket::open()?;
    for link in socket.links()?.into_iter().filter(|link| link.kind == "bridge") {
        let addresses = socket.addresses(link.index)?;
        let address = addresses.iter().find_map(|address| match address.ip {
            IpAddr::V4(ip) => Some((ip, address.prefix)),
            IpAddr::V6(_) => None,
        });
        match address {
            Some(_) if link.name == OWN_BRIDGE => bridges[0].1 = address,
            Some(_) => bridges.push((link.name, address)),
            None => {}
        }
    }
    bridges[1..].sort();
    let mut all: Vec<Value> =
        bridges.iter().map(|(name, address)| bridge(name, *address, &members)).collect();
    all.extend(["host", "none"].map(|name| {
        json!({ "Name": name, "Driver": name, "Bridge": "", "Subnet": "", "Gateway": "",
                "Count": 0, "Containers": {} })
    }));
    Ok(all)
}

fn bridge(name: &str, address: Option<(Ipv4Addr, u8)>, members: &[Member]) -> Value {
    let members: Vec<&Member> = members.iter().filter(|member| member.bridge == name).collect();
    let containers: serde_json::Map<String, Value> = members
        .iter()
        .map(|member| (member.name.clone(), json!({ "IPv4Address": member.address })))
        .collect();
    let subnet = address.map(|(ip, prefix)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        format!("{}/{prefix}", Ipv4Addr::from_bits(ip.to_bits() & mask))
    });
    json!({
        "Name": if name == OWN_BRIDGE { "bridge".to_owned() } else { format!("bridge={name}") },
        "Driver": "bridge",
        "Bridge": name,
        // One of our own is made for its first container.
        "Subnet": subnet.unwrap_or_default(),
        "Gateway": address.map_or_else(String::new, |(ip, _)| ip.to_string()),
        "Count": members.len(),
        "Containers": containers,
    })
}

fn members(store: &Store) -> Result<Vec<Member>> {
    let mut members = vec![];
    for container in store.list()? {
        // One that goes away while we look is in no network.
        let (Ok(config), Ok(state)) = (container.config(), container.state()) else { continue };
        if let Some(lease) = state.network.filter(|_| state.status.is_live()) {
            members.push(Member {
                name: shown(&config).to_owned(),
                bridge: lease.bridge,
                address: format!("{}/{}", lease.address, lease.prefix),
            });
        }
    }
    Ok(members)
}
