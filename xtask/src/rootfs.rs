//! A Debian with systemd, made once by mmdebstrap and never written to again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, step};

pub(crate) const SUITE: &str = "bookworm";
const PACKAGES: &[&str] =
    &["systemd", "systemd-sysv", "dbus", "procps", "iproute2", "kmod", "login", "passwd"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The rootfs, made if it is not there.
pub(crate) fn get() -> Result<PathBuf> {
    let ingredients = format!("1 {SUITE} {}", PACKAGES.join(","));
    cache::get("rootfs", &ingredients, |root| {
        step::step(&format!("making a Debian {SUITE} rootfs (kept in {})", root.display()));
        mmdebstrap(root, SUITE, PACKAGES)?;
        // Empty, not absent: systemd takes an absent one for the first boot and runs all presets.
        fs::write(root.join("etc/machine-id"), "").context("empty /etc/machine-id")?;
        fs::write(root.join("etc/hostname"), "localhost\n").context("write /etc/hostname")?;
        Ok(())
    })
}

/// Runs mmdebstrap in a mount namespace of its own: however it ends, no mount is left.
fn mmdebstrap(root: &Path, suite: &str, packages: &[&str]) -> Result<()> {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "mmdebstrap", "--mode=root", "--quiet"])
        .args(["--variant=minbase", &format!("--include={}", packages.join(","))])
        .arg(format!("--keyring={KEYRING}"))
        .args(["--aptopt=APT::Install-Recommends \"false\""])
        .args(
            ["man", "doc", "locale", "info"]
                .map(|kind| format!("--dpkgopt=path-exclude=/usr/share/{kind}/*")),
        )
        .arg(suite)
        .arg(root)
        .args(sources(suite)?);
    step::output(&mut command).map(drop)
}

/// apt lines of a suite, on the mirror that this machine itself uses.
pub(crate) fn sources(suite: &str) -> Result<Vec<String>> {
    let mut query = Command::new("apt-get");
    query.args(["indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]);
    Ok(lines(suite, &step::output(&mut query)?))
}

fn lines(suite: &str, targets: &str) -> Vec<String> {
    let debian = ["bullseye", "bookworm", "trixie", "forky", "sid"];
    let find = |suffix: &str| {
        targets.lines().filter_map(|line| line.split_once(' ')).find_map(|(uri, codename)| {
            debian.iter().any(|name| codename == format!("{name}{suffix}")).then_some(uri)
        })
    };
    let main = find("").unwrap_or("http://deb.debian.org/debian");
    let security = find("-security").unwrap_or("http://deb.debian.org/debian-security");
    let mut lines = vec![format!("deb {main} {suite} main")];
    if !suite.contains('-') && suite != "sid" {
        lines.push(format!("deb {security} {suite}-security main"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_this_machines_own() {
        let targets = "http://other.example/apt jammy\n\
                       http://mirror.example/debian bookworm\n\
                       http://mirror.example/security bookworm-security\n";
        let expected = [
            "deb http://mirror.example/debian trixie main",
            "deb http://mirror.example/security trixie-security main",
        ];
        assert_eq!(lines("trixie", targets), expected);
        assert_eq!(lines("bookworm-backports", targets).len(), 1);
    }

    #[test]
    fn without_one_it_is_debians() {
        assert_eq!(lines("bookworm", "")[0], "deb http://deb.debian.org/debian bookworm main");
    }
}
