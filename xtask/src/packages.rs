//! What comes from Debian's packages, in one place.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{rootfs, step};

/// To build the tools.
pub(crate) const BUILD: &[&str] = &["gcc", "libc6-dev", "libseccomp-dev", "pkg-config"];
/// To make a Debian rootfs.
pub(crate) const ROOTFS: &[&str] = &["mmdebstrap", "debian-archive-keyring"];
/// What the tests look at the kernel with, and the busybox they put into containers.
pub(crate) const TESTS: &[&str] = &[
    "busybox-static",
    "e2fsprogs",
    "iproute2",
    "nftables",
    "procps",
    "python3-psutil",
    "squashfs-tools",
    "strace",
];

/// The engines that run containers by our runtime in the tests.
pub(crate) const ENGINES: &[&str] = &["conmon", "containerd", "docker.io", "podman"];

/// Whom the benchmarks compare with.
pub(crate) const PEERS: &[&str] = &["crun", "lxcfs", "runc"];

/// To make and run the virtual machine, but for QEMU itself.
pub(crate) const VM: &[&str] = &["cpio", "e2fsprogs", "kmod", "xz-utils", "zstd"];

/// Installs QEMU. Where parts of it are here from backports already, the rest has to match them.
pub(crate) fn install_qemu() -> Result<()> {
    // The second makes its disks.
    const QEMU: [&str; 2] = ["qemu-system-x86", "qemu-utils"];
    if missing(&QEMU)?.is_empty() {
        return Ok(());
    }
    step::step("installing QEMU");
    step::output(&mut apt(&["update"]))?;
    let [system, utils] = QEMU;
    let install = ["install", "-y", "--no-install-recommends", system, utils];
    if step::output(apt(&["--simulate"]).args(install)).is_ok() {
        return step::output(&mut apt(&install)).map(drop);
    }
    let lists = std::env::temp_dir().join(format!("sysc-apt-{}", std::process::id()));
    std::fs::create_dir_all(lists.join("partial")).context("make a directory for apt")?;
    let suites = [rootfs::SUITE, "bookworm-backports"];
    let sources: Vec<String> = suites.into_iter().flat_map(rootfs::sources).flatten().collect();
    std::fs::write(lists.join("sources.list"), sources.join("\n") + "\n")
        .context("write apt sources")?;
    let options = [
        format!("Dir::Etc::sourcelist={}/sources.list", lists.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::lists={}", lists.display()),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let apt_private = |arguments: &[&str]| {
        let mut command = apt(&[]);
        command.args(options.iter().flat_map(|option| ["-o", option])).args(arguments);
        command
    };
    let installed = step::output(&mut apt_private(&["update"])).and_then(|_| {
        step::output(apt_private(&["-t", "bookworm-backports"]).args(install)).map(drop)
    });
    std::fs::remove_dir_all(&lists).context("remove apt's directory")?;
    installed
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

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
