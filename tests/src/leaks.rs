//! What a world can leave behind, seen from outside the product: mounts, links, loop devices,
//! cgroups, sockets. Processes are in [`crate::processes`].

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;

use crate::need;

/// Where the host's systemd mounts something for as long as one of its units runs.
const CREDENTIALS: &str = "/run/credentials/";

/// The mounts of this thread's namespace, each as "MOUNT POINT (TYPE)", but for those that come from
/// the host at any time.
pub fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            Some(format!("{} ({})", left.split(' ').nth(4)?, right.split(' ').next()?))
        })
        .filter(|mount| !mount.starts_with(CREDENTIALS))
        .collect()
}

/// The network links of this thread's namespace.
pub fn links() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    text.lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

/// The unix sockets of this thread's namespace that have a name, but for those that the kernel chose:
/// `@` and five digits, of whoever connects to its service manager (unix(7), "Autobind feature").
pub fn sockets() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|name| !(name.starts_with('@') && name.len() == 6))
        .map(str::to_owned)
        .collect()
}

/// Loop devices whose backing file lies under `dir`.
pub fn loops(dir: &Path) -> Vec<String> {
    let Ok(devices) = fs::read_dir("/sys/block") else { return Vec::new() };
    devices
        .flatten()
        .filter_map(|device| {
            let file = fs::read_to_string(device.path().join("loop/backing_file")).ok()?;
            Path::new(file.trim())
                .starts_with(dir)
                .then(|| format!("{} on {}", device.file_name().to_string_lossy(), file.trim()))
        })
        .collect()
}

/// The mount points of all cgroup hierarchies, v1 and v2.
pub fn hierarchies() -> Vec<PathBuf> {
    [need::mounted("cgroup"), need::mounted("cgroup2")].concat()
}

/// Every cgroup below one of that name, in every hierarchy, the deepest first.
pub fn cgroups_below(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        descend(&hierarchy.join(name), &mut found);
    }
    found
}

fn descend(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())) {
        descend(&entry.path(), found);
        found.push(entry.path());
    }
}

/// Removes the cgroups of this name, or of this name and a number, with all below them.
pub fn remove_cgroups(name: &str) -> Result<()> {
    ensure!(name.starts_with("sysc-test-"), "not a cgroup of the tests: {name}");
    for hierarchy in hierarchies() {
        let Ok(entries) = fs::read_dir(&hierarchy) else { continue };
        for entry in entries.flatten() {
            let found = entry.file_name().to_string_lossy().into_owned();
            if found != name && !found.starts_with(&format!("{name}-")) {
                continue;
            }
            let mut below = Vec::new();
            descend(&entry.path(), &mut below);
            below.push(entry.path());
            for dir in below {
                match rustix::fs::unlinkat(rustix::fs::CWD, &dir, rustix::fs::AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("remove the cgroup {}", dir.display()));
                    }
                }
            }
        }
    }
    Ok(())
}
