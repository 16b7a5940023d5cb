//! `/etc/hosts`, `/etc/resolv.conf` and host names.

use std::net::Ipv4Addr;

use anyhow::{Result, bail, ensure};
use container::config::NetworkFiles;

use super::Findings;
use crate::cli::args::NamespaceArgs;

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
