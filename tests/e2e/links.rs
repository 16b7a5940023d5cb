//! Links of the host as stories about links have them, and a look at those of a container.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Container, World};

/// ip(8) on the host of the story.
pub(crate) fn ip(world: &World, arguments: &str) -> Result<String> {
    Ok(world.tool("ip").args(arguments.split(' ')).ok()?.stdout)
}

/// ip(8) of the host's, looking at the container's network.
pub(crate) fn ip_in(world: &World, container: &Container<'_>, arguments: &str) -> Result<String> {
    let pid = container.pid()?.to_string();
    let call = world.tool("nsenter").args(["-n", "-t", &pid, "ip"]).args(arguments.split(' '));
    Ok(call.ok()?.stdout)
}

pub(crate) fn json(text: &str) -> Result<Value> {
    let mut list: Vec<Value> = serde_json::from_str(text).with_context(|| format!("{text:?}"))?;
    // Links that are not asked for are empty objects in some versions of ip(8).
    list.retain(|link| link.get("ifname").is_some());
    ensure!(list.len() == 1, "{text}");
    Ok(list.remove(0))
}

pub(crate) fn has_link(world: &World, name: &str) -> Result<bool> {
    Ok(world.tool("ip").args(["link", "show", name]).output()?.code() == 0)
}

/// A bridge with an address, which goes with the story.
pub(crate) struct Bridge<'w>(&'w World, &'static str);

impl<'w> Bridge<'w> {
    pub(crate) fn new(world: &'w World, name: &'static str, address: &str) -> Result<Self> {
        ip(world, &format!("link add {name} type bridge"))?;
        ip(world, &format!("address add {address} dev {name}"))?;
        ip(world, &format!("link set {name} up"))?;
        Ok(Self(world, name))
    }
}

impl Drop for Bridge<'_> {
    fn drop(&mut self) {
        // Pairs end when the kernel gets round to the network of a container that has ended.
        let _ = self.0.until("its ports are gone", Duration::from_secs(10), || {
            let ports = self.0.tool("ip").args(["-o", "link", "show", "master", self.1]);
            Ok(ports.ok()?.stdout.is_empty().then_some(()))
        });
        let _ = self.0.tool("ip").args(["link", "del", self.1]).output();
    }
}

/// What stands for hardware: a link with everything that a link can have.
pub(crate) struct Port<'w>(&'w World);

impl<'w> Port<'w> {
    pub(crate) fn new(world: &'w World) -> Result<Self> {
        ip(world, "link add u0 type veth peer name u1")?;
        ip(world, "link set u0 up")?;
        ip(world, "link set u1 up")?;
        ip(world, "link add link u0 name p0 address 02:00:00:00:00:07 mtu 1480 type macvlan")?;
        ip(world, "link set p0 txqueuelen 77")?;
        ip(world, "link property add dev p0 altname the-port-on-the-left")?;
        ip(world, "address add 10.5.0.2/24 dev p0")?;
        ip(world, "address add 2001:db8:5::2/64 dev p0 nodad")?;
        ip(world, "link set p0 up")?;
        ip(world, "route add 10.77.0.0/16 via 10.5.0.1 metric 5")?;
        ip(world, "route add 10.78.0.0/16 via 10.5.0.1 proto static")?;
        ip(world, "route add 10.79.0.0/16 via 10.5.0.1 proto bird")?;
        Ok(Self(world))
    }

    /// All of it, without what counts.
    pub(crate) fn look(&self) -> Result<String> {
        let mut link = json(&ip(self.0, "-j -d address show dev p0")?)?;
        let members = link.as_object_mut().context("an object")?;
        for counter in ["ifindex", "flags", "operstate"] {
            members.remove(counter);
        }
        let up = members.get("addr_info").and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(up >= 2, "its addresses are there: {link}");
        let mut addresses: Vec<String> = link["addr_info"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|address| address["scope"] != "link")
            .map(|address| format!("{}/{}", address["local"], address["prefixlen"]))
            .collect();
        addresses.sort();
        let routes = ip(self.0, "route show dev p0")?.replace(" linkdown", "");
        let state = ip(self.0, "-o link show p0")?.contains(",UP");
        Ok(format!(
            "{} {} {} {} {addresses:?} {state}\n{routes}",
            link["address"], link["mtu"], link["txqlen"], link["altnames"]
        ))
    }
}

impl Drop for Port<'_> {
    fn drop(&mut self) {
        for name in ["p0", "u0"] {
            let _ = self.0.tool("ip").args(["link", "del", name]).output();
        }
    }
}

pub(crate) fn add_pair<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let all = ["add-nic", "web", "--type", "veth", "--bridge", "br0"];
    [&all, options].concat()
}

pub(crate) fn ping(container: &Container<'_>, address: &str) -> Result<()> {
    container.exec(["ping", "-c", "1", "-w", "10", address]).ok().map(drop)
}
