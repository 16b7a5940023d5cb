//! What comes from Debian's packages, in one place.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::step;

/// To build the tools.
pub(crate) const BUILD: &[&str] = &["gcc", "libc6-dev", "libseccomp-dev", "pkg-config"];
/// To make a Debian rootfs.
pub(crate) const ROOTFS: &[&str] = &["mmdebstrap", "debian-archive-keyring"];
/// What the tests look at the kernel with, and the busybox they put into containers.
pub(crate) const TESTS: &[&str] = &["busybox-static", "iproute2", "procps"];

/// Installs those of `packages` that are missing.
pub(crate) fn install(packages: &[&[&str]]) -> Result<()> {
    let missing = missing(&packages.concat())?;
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "install {}: not root; run this as root, or: apt-get install {}",
        missing.join(", "),
        missing.join(" ")
    );
    step::step(&format!("installing {}", missing.join(", ")));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    step::output(&mut apt(&["update"]))?;
    let mut install = apt(&["install", "-y", "--no-install-recommends"]);
    step::output(install.args(&missing)).map(drop)
}

fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status} ${Package}\n"]).args(packages);
    let output = match query.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("no dpkg-query: this is not Debian; install the like of: {}", packages.join(" "))
        }
        Err(error) => return Err(error).context("start dpkg-query"),
    };
    Ok(not_installed(packages, &String::from_utf8_lossy(&output.stdout)))
}

fn not_installed<'a>(packages: &[&'a str], answer: &str) -> Vec<&'a str> {
    let is_installed = |package: &str| {
        answer.lines().any(|line| line.split_once(' ') == Some(("installed", package)))
    };
    packages.iter().copied().filter(|package| !is_installed(package)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_and_unknown_packages_are_missing() {
        let answer = "installed gcc\nconfig-files iproute2\n";
        assert_eq!(not_installed(&["gcc", "iproute2", "procps"], answer), ["iproute2", "procps"]);
    }
}
