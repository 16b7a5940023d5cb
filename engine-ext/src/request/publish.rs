//! `--publish`, `--expose` and `--publish-all`: which ports of the host lead to which of the
//! container's.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail, ensure};
use container::config::{Port, PortMapping, Protocol};

use super::Findings;
use crate::cli::args::NamespaceArgs;

/// Each is a socket that is held while the container lives, and a process has 1024 files.
const MAPPINGS_MAX: usize = 512;

/// What is published, and what is merely exposed.
pub(super) fn parse(args: &NamespaceArgs, found: &mut Findings) -> (Vec<PortMapping>, Vec<Port>) {
    let mut mappings: Vec<PortMapping> =
        found.each(&args.publish, publish).into_iter().flatten().collect();
    let mut exposed: Vec<Port> = found.each(&args.expose, expose).into_iter().flatten().collect();
    exposed.sort_unstable();
    exposed.dedup();
    if args.publish_all {
        let published = |port: &Port| mappings.iter().any(|mapping| mapping.inside == *port);
        let missing: Vec<Port> = exposed.iter().filter(|port| !published(port)).copied().collect();
        mappings.extend(missing.into_iter().map(|inside| PortMapping {
            inside,
            host_address: Ipv4Addr::UNSPECIFIED,
            host_ports: (0, 0),
        }));
    }
    found.note(check(args, &mappings));
    (mappings, exposed)
}

fn check(args: &NamespaceArgs, mappings: &[PortMapping]) -> Result<()> {
    ensure!(
        !args.publish_all || !args.expose.is_empty(),
        "--publish-all: no port is exposed; say which: --expose PORT"
    );
    ensure!(
        mappings.len() <= MAPPINGS_MAX,
        "--publish: {} ports; a container can have {MAPPINGS_MAX}, or all of the host's: --net host",
        mappings.len()
    );
    for (index, mapping) in mappings.iter().enumerate() {
        if mappings[..index].iter().any(|other| collide(mapping, other)) {
            let (port, protocol) = (mapping.host_ports.0, mapping.inside.protocol);
            bail!("--publish: port {port}/{protocol} of the host is given twice");
        }
    }
    Ok(())
}

/// Whether both want the one port.
fn collide(one: &PortMapping, other: &PortMapping) -> bool {
    let single = one.host_ports.0 == one.host_ports.1 && one.host_ports.0 != 0;
    let addresses = [one.host_address, other.host_address];
    single
        && one.host_ports == other.host_ports
        && one.inside.protocol == other.inside.protocol
        && (one.host_address == other.host_address
            || addresses.iter().any(Ipv4Addr::is_unspecified))
}

/// `[[ADDRESS:][PORT[-PORT]]:]PORT[-PORT][/tcp|udp]`.
fn publish(text: &str) -> Result<Vec<PortMapping>> {
    let invalid = || {
        format!(
            "Invalid port specification '{text}'; write [[ADDRESS:]PORT:]PORT[/tcp|udp], for \
             PORT also FIRST-LAST"
        )
    };
    let (ports, protocol) = split(text).with_context(invalid)?;
    let (host, inside) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (address, host) = host.rsplit_once(':').unwrap_or(("", host));
    let host_address = match address {
        "" => Ipv4Addr::UNSPECIFIED,
        address => match address.parse() {
            Ok(address) => address,
            Err(_) if address.starts_with('[') => bail!(
                "Invalid port specification '{text}'; containers on a bridge have IPv4 addresses, \
                 publish on one of those"
            ),
            Err(_) => bail!("Invalid port specification '{text}'; {address} is no IPv4 address"),
        },
    };
    let inside = range(inside).with_context(invalid)?;
    let mapping = |number, host_ports| PortMapping {
        inside: Port { number, protocol },
        host_address,
        host_ports,
    };
    if host.is_empty() {
        return Ok(inside.map(|number| mapping(number, (0, 0))).collect());
    }
    let host = range(host).with_context(invalid)?;
    if inside.len() == 1 {
        // Whichever of them is free.
        return Ok(vec![mapping(*inside.start(), (*host.start(), *host.end()))]);
    }
    ensure!(
        inside.len() == host.len(),
        "Invalid port specification '{text}'; {} ports of the host for {} of the container",
        host.len(),
        inside.len()
    );
    Ok(inside.zip(host).map(|(inside, host)| mapping(inside, (host, host))).collect())
}

/// `PORT[-PORT][/tcp|udp]`.
fn expose(text: &str) -> Result<Vec<Port>> {
    let invalid =
        || format!("Invalid port '{text}'; write PORT[/tcp|udp], for PORT also FIRST-LAST");
    let (ports, protocol) = split(text).with_context(invalid)?;
    let ports = range(ports).with_context(invalid)?;
    Ok(ports.map(|number| Port { number, protocol }).collect())
}

/// The ports, and what is spoken there.
fn split(text: &str) -> Option<(&str, Protocol)> {
    match text.split_once('/') {
        None => Some((text, Protocol::Tcp)),
        Some((ports, protocol)) => Some((ports, protocol.parse().ok()?)),
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn every_way_to_say_it() {
        let texts = [
            "80",
            "80/udp",
            "8080:80",
            ":80",
            "127.0.0.1:8080:80/tcp",
            "127.0.0.1::80",
            "8000-8002:80",
            "8000-8001:80-81/udp",
            "80-81",
        ];
        let line = |mapping: &PortMapping| {
            let (first, last) = mapping.host_ports;
            format!("{}:{first}-{last} -> {}", mapping.host_address, mapping.inside)
        };
        let all: Vec<String> = texts
            .iter()
            .map(|text| {
                let mappings = publish(text).unwrap();
                let lines: Vec<String> = mappings.iter().map(line).collect();
                format!("{text}: {}", lines.join(", "))
            })
            .collect();
        expect![[r#"
            80: 0.0.0.0:0-0 -> 80/tcp
            80/udp: 0.0.0.0:0-0 -> 80/udp
            8080:80: 0.0.0.0:8080-8080 -> 80/tcp
            :80: 0.0.0.0:0-0 -> 80/tcp
            127.0.0.1:8080:80/tcp: 127.0.0.1:8080-8080 -> 80/tcp
            127.0.0.1::80: 127.0.0.1:0-0 -> 80/tcp
            8000-8002:80: 0.0.0.0:8000-8002 -> 80/tcp
            8000-8001:80-81/udp: 0.0.0.0:8000-8000 -> 80/udp, 0.0.0.0:8001-8001 -> 81/udp
            80-81: 0.0.0.0:0-0 -> 80/tcp, 0.0.0.0:0-0 -> 81/tcp"#]]
        .assert_eq(&all.join("\n"));
    }
}
