//! Published ports: reserved by sockets of the shim, led to the container by one nftables table of
//! ours, made whole from the leases at every change.
//!
//! Nothing of this exists until a port is published, and the table goes with the last one. What
//! other tables drop stays dropped: a firewall of the host has to let forwarded connections in
//! (`ct status dnat accept`).

mod rules;

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};
use container::config::{BridgePort, PortMapping, Protocol, PublishedPort};
use container::{ContainerId, Layout};
use linux::lock::Lock;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use sha2::{Digest, Sha256};

use super::leases::Leases;
use crate::request::network::OWN_BRIDGE;

/// A port of the host that nobody else can have while this lives.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) port: PublishedPort,
    _socket: OwnedFd,
}

const NONE_FREE: &str = "no port of the host is free; see sysctl net.ipv4.ip_local_port_range";

/// How often the kernel is asked for a free port that no other container was given either.
const ATTEMPTS: usize = 64;

/// Reserves a port of the host for each that is asked for; nothing else is touched.
pub(super) fn reserve(
    leases: &Leases,
    id: &ContainerId,
    asked: &BridgePort,
) -> Result<Vec<Reserved>> {
    let mut reserved: Vec<Reserved> = vec![];
    if asked.publish.is_empty() {
        return Ok(reserved);
    }
    check_host(asked)?;
    // Of a container whose shim was killed no socket tells.
    let others = leases.all()?.into_iter().filter(|entry| entry.id != *id);
    let others: Vec<(ContainerId, PublishedPort)> = others
        .flat_map(|entry| entry.ports.into_iter().map(move |port| (entry.id.clone(), port)))
        .collect();
    for mapping in &asked.publish {
        let one = match mapping.host_ports {
            (0, _) => any(mapping, &others),
            (first, last) => first_free(mapping, first, last, &others),
        };
        reserved.push(one.with_context(|| format!("--publish {}", shown(mapping)))?);
    }
    Ok(reserved)
}

/// The mapping as it could have been written.
fn shown(mapping: &PortMapping) -> String {
    let PortMapping { inside, host_address, host_ports: (first, last) } = mapping;
    let address = match host_address.is_unspecified() {
        true => String::new(),
        false => format!("{host_address}:"),
    };
    match (first, last) {
        (0, _) if address.is_empty() => inside.to_string(),
        (0, _) => format!("{address}:{inside}"),
        (first, last) if first == last => format!("{address}{first}:{inside}"),
        (first, last) => format!("{address}{first}-{last}:{inside}"),
    }
}

type Others = [(ContainerId, PublishedPort)];

fn any(mapping: &PortMapping, others: &Others) -> Result<Reserved> {
    // Those that others have are kept until one is found, or the kernel would give them again.
    let mut not_ours = vec![];
    for _ in 0..ATTEMPTS {
        let reserved = take(mapping, 0)?;
        if holder(others, &reserved.port).is_none() {
            return Ok(reserved);
        }
        not_ours.push(reserved);
    }
    bail!(NONE_FREE)
}

fn first_free(mapping: &PortMapping, first: u16, last: u16, others: &Others) -> Result<Reserved> {
    let mut refusal = None;
    for number in first..=last {
        let host = SocketAddrV4::new(mapping.host_address, number);
        let port = PublishedPort { inside: mapping.inside, host };
        let attempt = match holder(others, &port) {
            Some(id) => Err(anyhow!("container {} has it", id.short())),
            None => take(mapping, number),
        };
        match attempt {
            Ok(reserved) => return Ok(reserved),
            Err(error) => refusal = Some(error),
        }
    }
    let refusal = refusal.context("no port is named")?;
    Err(match first == last {
        true => refusal,
        false => refusal.context("every one is taken; the last"),
    })
}

fn holder<'a>(others: &'a Others, port: &PublishedPort) -> Option<&'a ContainerId> {
    others.iter().find(|(_, other)| other.collides_with(port)).map(|(id, _)| id)
}

/// The port by a socket that is bound and nothing more: whoever comes to it past our table is
/// refused, as if nobody was there.
fn take(mapping: &PortMapping, number: u16) -> Result<Reserved> {
    let wanted = SocketAddrV4::new(mapping.host_address, number);
    let protocol = mapping.inside.protocol;
    let bound = match bind(protocol, wanted, false) {
        // Connections that have ended hold a port for a minute (TIME_WAIT), and hinder nobody.
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => bind(protocol, wanted, true),
        bound => bound,
    };
    let (socket, host) = match bound {
        Ok(bound) => bound,
        Err(Errno::ADDRINUSE) if number == 0 => bail!(NONE_FREE),
        Err(Errno::ADDRINUSE) => bail!(
            "a program of the host has {wanted} ({protocol}); see which: ss -ltunp 'sport = \
             :{number}'"
        ),
        Err(Errno::ADDRNOTAVAIL) => {
            bail!("{} is no address of this host; see ip -4 address", wanted.ip())
        }
        Err(Errno::MFILE) => bail!("too many ports for one process; see ulimit -n"),
        Err(errno) => bail!("bind {wanted} ({protocol}): {errno}"),
    };
    Ok(Reserved { port: PublishedPort { inside: mapping.inside, host }, _socket: socket })
}

fn bind(
    protocol: Protocol,
    wanted: SocketAddrV4,
    reuse: bool,
) -> rustix::io::Result<(OwnedFd, SocketAddrV4)> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    if reuse {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if protocol == Protocol::Udp {
        // Nobody reads what gets here.
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    rustix::net::bind(&socket, &wanted)?;
    let host = SocketAddrV4::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, host))
}

/// What the host has to allow. Only what it asked for itself is done for it.
fn check_host(asked: &BridgePort) -> Result<()> {
    let from_outside = |mapping: &PortMapping| !mapping.host_address.is_loopback();
    let forwards = fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
    let forwards = forwards.context("read /proc/sys/net/ipv4/ip_forward")?;
    if let Some(mapping) = asked.publish.iter().find(|mapping| from_outside(mapping)) {
        ensure!(
            forwards.trim() != "0",
            "--publish {}: this host forwards no packets, so that only it could connect; let it: \
             sysctl -w net.ipv4.ip_forward=1, or publish on 127.0.0.1",
            shown(mapping)
        );
    }
    let at_home = asked.publish.iter().find(|mapping| !from_outside(mapping));
    if let Some(mapping) = at_home.filter(|_| asked.bridge != OWN_BRIDGE) {
        let (setting, name) = route_localnet(&asked.bridge);
        let routes = fs::read_to_string(&setting).is_ok_and(|value| value.trim() != "0");
        ensure!(
            routes,
            "--publish {}: bridge {} takes no packets from 127.0.0.1; let it: sysctl -w {name}=1",
            shown(mapping),
            asked.bridge
        );
    }
    Ok(())
}

/// Whether packets from 127.0.0.0/8 may go there; file and name.
fn route_localnet(bridge: &str) -> (String, String) {
    let setting =
        |separator: &str| ["net", "ipv4", "conf", bridge, "route_localnet"].join(separator);
    // As sysctl(8) writes names that have dots themselves.
    (format!("/proc/sys/{}", setting("/")), setting("/"))
}

/// Makes the table say what the leases do, in one step; `network` finds that of a bridge.
pub(super) fn apply(
    layout: &Layout,
    leases: &Leases,
    network: impl Fn(&str) -> Result<String>,
) -> Result<()> {
    let mut entries = leases.all()?;
    entries.retain(|entry| !entry.ports.is_empty());
    let mut networks = rules::Networks::new();
    for entry in &entries {
        // A bridge that somebody removed leads nowhere.
        if let Ok(network) = network(&entry.bridge) {
            networks.insert(entry.bridge.clone(), network);
        }
    }
    entries.retain(|entry| networks.contains_key(&entry.bridge));
    let script = rules::script(&table(layout.state()), &entries, &networks);
    nft(&script, &leases.lock).context("--publish")?;
    if networks.contains_key(OWN_BRIDGE) {
        // By now the table keeps what comes from the bridge away from 127.0.0.0/8.
        let (setting, _) = route_localnet(OWN_BRIDGE);
        fs::write(&setting, "1").with_context(|| format!("write {setting}"))?;
    }
    Ok(())
}

/// Engines with other directories have other tables.
fn table(state: &Path) -> String {
    if state == Path::new(container::layout::DEFAULT_STATE) {
        return "isula".to_owned();
    }
    let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("isula-{digits}")
}

/// Has nft do all of `script` or nothing. Should we be killed, whoever cleans up after us waits for
/// the lock until it is done.
fn nft(script: &str, lock: &Lock) -> Result<()> {
    let child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(lock.for_child()?)
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("nft is not installed; apt-get install nftables, or dnf install nftables")
        }
        child => child.context("run nft")?,
    };
    let mut stdin = child.stdin.take().context("nft has no stdin")?;
    // One that ends before it has read all of it says why.
    let _ = stdin.write_all(script.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().context("wait for nft")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("it says nothing").trim();
    ensure!(
        output.status.success(),
        "nft: {first}; the kernel needs nf_tables with NAT: modprobe -a nf_tables nft_chain_nat"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_each_engine() {
        assert_eq!(table(Path::new("/run/isulad")), "isula");
        assert_eq!(table(Path::new("/run/other")), "isula-dfd84fe1");
    }
}
