//! `/etc/hosts`, `/etc/resolv.conf` and host names.

use std::net::Ipv4Addr;

use anyhow::{Result, bail, ensure};
use container::config::{BridgePort, NetworkFiles, PortMapping};

use super::Findings;
use crate::cli::args::NamespaceArgs;

/// The bridge of the engine's own.
pub const OWN_BRIDGE: &str = "isula0";

/// sethostname(2) takes 64 bytes, a label of the domain name system 63.
const HOSTNAME_MAX: usize = 63;

/// A host name: labels of letters, digits and hyphens, joined with dots.
pub fn hostname(name: &str) -> Result<String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    ensure!(
        name.len() <= HOSTNAME_MAX && name.split('.').all(label),
        "Invalid container hostname ({name}), only [a-zA-Z0-9-] labels joined with dots and less \
         than 64 bytes are allowed."
    );
    Ok(name.to_owned())
}

/// The bridge that a word of `--net` means.
pub fn bridge_name(text: &str) -> Option<&str> {
    match text {
        "bridge" | "default" => Some(OWN_BRIDGE),
        _ => text.strip_prefix("bridge="),
    }
}

/// `--net bridge[=NAME]` with `--ip`, `--mac-address` and what is published.
pub fn bridge(args: &NamespaceArgs, publish: Vec<PortMapping>) -> Result<Option<BridgePort>> {
    let Some(name) = args.net.as_deref().and_then(bridge_name) else {
        let given = [
            ("--ip", args.ip.is_some()),
            ("--mac-address", args.mac_address.is_some()),
            ("--publish", !args.publish.is_empty()),
            ("--publish-all", args.publish_all),
        ];
        for (option, given) in given {
            ensure!(!given, "{option} is for --net bridge; add that or drop {option}");
        }
        return Ok(None);
    };
    // IFNAMSIZ of linux/if.h, the end of the string included.
    let valid = (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':')
        && !name.starts_with('.');
    ensure!(valid, "--net bridge={name}: that is no name of a link");
    let address = args.ip.as_deref().map(|text| match text.parse::<Ipv4Addr>() {
        Ok(address) => Ok(address),
        Err(_) => bail!("Invalid ip address '{text}'; write an IPv4 address"),
    });
    let mac = args.mac_address.as_deref().map(mac).transpose()?;
    Ok(Some(BridgePort { bridge: name.to_owned(), address: address.transpose()?, mac, publish }))
}

/// Six bytes in hexadecimal, joined with colons; of one link, not of a group.
fn mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .filter(|part| part.len() == 2)
        .map_while(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    match <[u8; 6]>::try_from(bytes) {
        Ok(mac) if mac[0] & 1 == 0 && mac != [0; 6] && text.len() == 17 => Ok(mac),
        _ => bail!("Invalid mac address '{text}'; write one such as 02:42:0a:62:00:02"),
    }
}

/// The lines that were asked for.
pub fn files(args: &NamespaceArgs, found: &mut Findings) -> NetworkFiles {
    NetworkFiles {
        extra_hosts: found.each(&args.add_host, extra_host),
        dns: found.each(&args.dns, name_server),
        dns_options: args.dns_opt.clone(),
        dns_search: found.each(&args.dns_search, search),
    }
}

fn extra_host(text: &str) -> Result<String> {
    let (name, address) = match text.split_once(':') {
        Some((name, address)) if !name.is_empty() => (name, address),
        _ => bail!("Invalid extra hosts specification '{text}'. unsupported format"),
    };
    ensure!(address.parse::<Ipv4Addr>().is_ok(), "Invalid host ip address '{address}'.");
    ensure!(
        !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#'),
        "Invalid extra hosts specification '{text}'. unsupported format"
    );
    Ok(text.to_owned())
}

fn name_server(text: &str) -> Result<String> {
    ensure!(text.parse::<Ipv4Addr>().is_ok(), "Invalid dns ip address '{text}'.");
    Ok(text.to_owned())
}

fn search(text: &str) -> Result<String> {
    ensure!(
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()),
        "Invalid dns search domain '{text}'; write a domain, or . for none"
    );
    Ok(text.to_owned())
}
