//! The table, as nft(8) reads it (pure).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::leases::Entry;

/// Bridges, and the network of each: `10.98.0.0/24`.
pub(in super::super) type Networks = BTreeMap<String, String>;

/// What makes the table lead to `entries`, whatever it was before; without any there is none.
pub(super) fn script(table: &str, entries: &[Entry], networks: &Networks) -> String {
    // Only what is there can be deleted, and adding makes it so.
    let mut script = format!("add table ip {table}\ndelete table ip {table}\n");
    if entries.is_empty() {
        return script;
    }
    let _ = write!(script, "table ip {table} {{\n{}}}\n", body(entries, networks));
    script
}

fn body(entries: &[Entry], networks: &Networks) -> String {
    let (mut at_all, mut at_one) = (vec![], vec![]);
    for entry in entries {
        for port in &entry.ports {
            let (inside, protocol) = (port.inside.number, port.inside.protocol);
            let (host, number) = (port.host.ip(), port.host.port());
            let target = format!("{} . {inside}", entry.address);
            match host.is_unspecified() {
                true => at_all.push(format!("{protocol} . {number} : {target}")),
                false => at_one.push(format!("{host} . {protocol} . {number} : {target}")),
            }
        }
    }
    let names: Vec<String> = networks.keys().map(|name| format!("\"{name}\"")).collect();
    let names = names.join(", ");
    // Answers to 127.0.0.1 would stay inside, and those within a network would go past the host:
    // whoever asked would not know them.
    let back: String = networks
        .iter()
        .map(|(bridge, network)| {
            format!(
                "\t\tct status dnat oifname \"{bridge}\" ip saddr {{ 127.0.0.0/8, {network} }} \
                 masquerade\n"
            )
        })
        .collect();
    format!(
        "\
\tmap at_one_address {{
\t\ttype ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
{}\t}}
\tmap at_all_addresses {{
\t\ttype inet_proto . inet_service : ipv4_addr . inet_service
{}\t}}
\tchain published {{
\t\tdnat to ip daddr . meta l4proto . th dport map @at_one_address
\t\tdnat to meta l4proto . th dport map @at_all_addresses
\t}}
\tchain from_outside {{
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\tip daddr != 127.0.0.0/8 fib daddr type local jump published
\t}}
\tchain from_here {{
\t\ttype nat hook output priority -100; policy accept;
\t\tfib daddr type local jump published
\t}}
\tchain back {{
\t\ttype nat hook postrouting priority srcnat; policy accept;
{back}\t}}
\tchain loopback_is_ours {{
\t\ttype filter hook prerouting priority raw; policy accept;
\t\tiifname {{ {names} }} ip daddr 127.0.0.0/8 drop
\t}}
",
        elements(&at_one),
        elements(&at_all)
    )
}

fn elements(list: &[String]) -> String {
    match list.is_empty() {
        true => String::new(),
        false => format!("\t\telements = {{ {} }}\n", list.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use container::config::PublishedPort;
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_table_of_two_bridges() {
        let entry = |bridge: &str, address: [u8; 4], ports: &[(&str, &str)]| Entry {
            bridge: bridge.into(),
            address: Ipv4Addr::from(address),
            id: "a".repeat(64).parse().unwrap(),
            ports: ports
                .iter()
                .map(|(inside, host)| PublishedPort {
                    inside: inside.parse().unwrap(),
                    host: host.parse().unwrap(),
                })
                .collect(),
        };
        let entries = [
            entry("br7", [192, 168, 77, 2], &[("80/tcp", "0.0.0.0:8080")]),
            entry("isula0", [10, 98, 0, 2], &[("53/udp", "127.0.0.1:53"), ("80", "0.0.0.0:80")]),
        ];
        let networks = [("br7", "192.168.77.0/29"), ("isula0", "10.98.0.0/24")];
        let networks = networks.map(|(name, network)| (name.into(), network.into())).into();
        expect![[r#"
            add table ip isula
            delete table ip isula
            table ip isula {
            	map at_one_address {
            		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
            		elements = { 127.0.0.1 . udp . 53 : 10.98.0.2 . 53 }
            	}
            	map at_all_addresses {
            		type inet_proto . inet_service : ipv4_addr . inet_service
            		elements = { tcp . 8080 : 192.168.77.2 . 80, tcp . 80 : 10.98.0.2 . 80 }
            	}
            	chain published {
            		dnat to ip daddr . meta l4proto . th dport map @at_one_address
            		dnat to meta l4proto . th dport map @at_all_addresses
            	}
            	chain from_outside {
            		type nat hook prerouting priority dstnat; policy accept;
            		ip daddr != 127.0.0.0/8 fib daddr type local jump published
            	}
            	chain from_here {
            		type nat hook output priority -100; policy accept;
            		fib daddr type local jump published
            	}
            	chain back {
            		type nat hook postrouting priority srcnat; policy accept;
            		ct status dnat oifname "br7" ip saddr { 127.0.0.0/8, 192.168.77.0/29 } masquerade
            		ct status dnat oifname "isula0" ip saddr { 127.0.0.0/8, 10.98.0.0/24 } masquerade
            	}
            	chain loopback_is_ours {
            		type filter hook prerouting priority raw; policy accept;
            		iifname { "br7", "isula0" } ip daddr 127.0.0.0/8 drop
            	}
            }
        "#]]
        .assert_eq(&script("isula", &entries, &networks));
    }

    #[test]
    fn the_last_one_takes_the_table_with_it() {
        let script = script("isula", &[], &Networks::new());
        assert_eq!(script, "add table ip isula\ndelete table ip isula\n");
    }
}
