//! `/etc/hostname`, `/etc/hosts`, `/etc/resolv.conf`.
//!
//! An ordinary container gets files of ours bound on top. A system container owns its files: ours
//! go into the rootfs where there is nothing yet, and what was asked for by option is added to
//! what is there. Everything in the rootfs goes through its descriptor; where a file cannot be
//! written (read-only, a link out of the way) the guest keeps its own.

use std::fs;

use anyhow::Result;
use container::config::NetworkFiles;
use container::layout::bundle;
use container::state::Lease;
use container::{Config, Container};
use linux::root::Root;
use rustix::io::Errno;
use tracing::warn;

const FILE_MAX: usize = 10 << 20;

/// Fills the rootfs of a system container.
pub(super) fn fill_rootfs(root: &Root, config: &Config, owner: (u32, u32)) -> Result<()> {
    let asked = &config.network_files;
    edit(root, "etc/hostname", owner, |text| match text.trim() {
        "" | "localhost" => format!("{}\n", config.hostname),
        _ => text.to_owned(),
    })?;
    edit(root, "etc/hosts", owner, |text| hosts(text, &config.hostname, asked))?;
    edit(root, "etc/resolv.conf", owner, |text| resolv_conf(text, asked))?;
    link_mtab(root)
}

/// Writes the files that are bound on an ordinary container's.
pub(super) fn write_bundle(
    container: &Container,
    config: &Config,
    lease: Option<&Lease>,
) -> Result<()> {
    let mut asked = config.network_files.clone();
    asked.extra_hosts.extend(lease.map(|lease| format!("{}:{}", config.hostname, lease.address)));
    let asked = &asked;
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let files = [
        (bundle::HOSTNAME, format!("{}\n", config.hostname)),
        (bundle::HOSTS, hosts("", &config.hostname, asked)),
        (bundle::RESOLV_CONF, resolv_conf(&resolver, asked)),
    ];
    for (name, text) in files {
        super::put(&container.path(name), &text)?;
    }
    Ok(())
}

/// Replaces a file's text if the new one differs.
fn edit(root: &Root, path: &str, owner: (u32, u32), new: impl Fn(&str) -> String) -> Result<()> {
    let old = match root.read_file(path, FILE_MAX) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.is(Errno::NOENT) => String::new(),
        Err(error) => return skip(path, error),
    };
    let text = new(&old);
    if text == old {
        return Ok(());
    }
    match root.write_lasting(path, text, 0o644, Some(owner)) {
        Ok(()) => Ok(()),
        Err(error) => skip(path, error),
    }
}

/// What the guest made of the place is its own affair; a host that is out of space is not.
fn skip(path: &str, error: linux::Error) -> Result<()> {
    let of_the_guest = [
        Errno::ROFS,
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::ISDIR,
        Errno::INVAL,
        Errno::FBIG,
        Errno::XDEV,
        Errno::NXIO,
        Errno::ACCESS,
        Errno::PERM,
    ];
    if of_the_guest.iter().any(|&errno| error.is(errno)) {
        warn!(path, %error, "left the rootfs's file as it is");
        return Ok(());
    }
    Err(error.into())
}

/// mount(8) and others still ask for it.
fn link_mtab(root: &Root) -> Result<()> {
    match root.stat_no_follow("etc/mtab") {
        Err(error) if error.is(Errno::NOENT) => {}
        _ => return Ok(()),
    }
    match root.symlink("/proc/mounts", "etc/mtab") {
        Ok(_) => Ok(()),
        Err(error) => skip("etc/mtab", error),
    }
}

/// The lines that are there, then those that are missing.
fn hosts(old: &str, hostname: &str, asked: &NetworkFiles) -> String {
    let mut text = old.to_owned();
    if text.trim().is_empty() {
        text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
        if hostname != "localhost" {
            text.push_str(&format!("127.0.1.1\t{hostname}\n"));
        }
    }
    for entry in &asked.extra_hosts {
        let Some((name, address)) = entry.split_once(':') else { continue };
        let there = text.lines().any(|line| {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            words.next() == Some(address) && words.any(|word| word == name)
        });
        if !there {
            end_line(&mut text);
            text.push_str(&format!("{address}\t{name}\n"));
        }
    }
    text
}

/// What was asked for replaces the lines of its kind; the others stay.
fn resolv_conf(old: &str, asked: &NetworkFiles) -> String {
    let ours = [
        ("nameserver", asked.dns.clone()),
        ("search", joined(&asked.dns_search)),
        ("options", joined(&asked.dns_options)),
    ];
    let is_replaced = |line: &str| {
        let word = line.split_whitespace().next().unwrap_or_default();
        ours.iter().any(|(key, values)| *key == word && !values.is_empty())
    };
    if ours.iter().all(|(_, values)| values.is_empty()) {
        return old.to_owned();
    }
    let mut text = String::new();
    for line in old.lines().filter(|line| !is_replaced(line)) {
        text.push_str(line);
        text.push('\n');
    }
    for (key, values) in ours {
        for value in values {
            // "." says: search nowhere.
            if !(key == "search" && value == ".") {
                text.push_str(&format!("{key} {value}\n"));
            }
        }
    }
    text
}

fn joined(words: &[String]) -> Vec<String> {
    if words.is_empty() { vec![] } else { vec![words.join(" ")] }
}

fn end_line(text: &mut String) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn asked() -> NetworkFiles {
        NetworkFiles {
            extra_hosts: vec!["db:10.0.0.7".into()],
            dns: vec!["10.0.0.1".into(), "10.0.0.2".into()],
            dns_options: vec!["ndots:2".into()],
            dns_search: vec!["example.org".into()],
        }
    }

    #[test]
    fn hosts_are_added_once() {
        let text = hosts("", "web", &asked());
        expect![[r#"
            127.0.0.1	localhost
            ::1	localhost ip6-localhost ip6-loopback
            127.0.1.1	web
            10.0.0.7	db
        "#]]
        .assert_eq(&text);
        assert_eq!(hosts(&text, "web", &asked()), text);
        assert_eq!(hosts("1.2.3.4 x", "web", &asked()), "1.2.3.4 x\n10.0.0.7\tdb\n");
        assert_eq!(hosts("1.2.3.4 x", "web", &NetworkFiles::default()), "1.2.3.4 x");
    }

    #[test]
    fn resolver_lines_of_the_same_kind_are_replaced() {
        let text = resolv_conf("# by hand\nnameserver 8.8.8.8\nsortlist 10.0.0.0\n", &asked());
        expect![[r#"
            # by hand
            sortlist 10.0.0.0
            nameserver 10.0.0.1
            nameserver 10.0.0.2
            search example.org
            options ndots:2
        "#]]
        .assert_eq(&text);
        assert_eq!(resolv_conf(&text, &asked()), text);
        assert_eq!(resolv_conf("x\n", &NetworkFiles::default()), "x\n");
    }
}
