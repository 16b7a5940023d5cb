//! `linux.sysctl`: only keys that belong to a namespace of the container, written by fd.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use linux::error::Context as _;
use linux::ns::Kind;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::error::During as _;
use crate::namespaces::Namespaces;
use crate::{Error, Result};

/// Keys of the ipc namespace outside of fs.mqueue (ipc_namespaces(7)).
const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// A key below /proc/sys and its value.
pub(crate) type Setting = (String, String);

/// The settings in the order of their keys, or the first that would reach beyond the container.
pub(crate) fn check(
    wanted: &HashMap<String, String>,
    namespaces: &Namespaces,
) -> Result<Vec<Setting>> {
    let mut settings = Vec::with_capacity(wanted.len());
    for (key, value) in wanted {
        let member = || format!("linux.sysctl.{key}");
        let path = linux::sysctl::path_of(key)
            .ok()
            .and_then(|path| Some(path.strip_prefix("/proc/sys").ok()?.to_str()?.to_owned()))
            .ok_or_else(|| Error::config(member(), "is no name of a kernel parameter"))?;
        let kind = owner(&path).ok_or_else(|| {
            Error::config(member(), "belongs to the whole host; set it there, not in a container")
        })?;
        if !namespaces.has(kind) {
            return Err(Error::config(
                member(),
                format!("needs a {} namespace that is not the host's", kind.proc_name()),
            ));
        }
        settings.push((path, value.clone()));
    }
    settings.sort();
    Ok(settings)
}

/// Writes `settings` below `procfs`, a proc filesystem of the container that nothing is mounted
/// on: a key cannot lead anywhere else.
pub(crate) fn apply(procfs: BorrowedFd<'_>, settings: &[Setting]) -> Result<()> {
    for (key, value) in settings {
        write(procfs, key, value).step(|| format!("set sysctl {key} to {value:?}"))?;
    }
    Ok(())
}

fn write(procfs: BorrowedFd<'_>, key: &str, value: &str) -> Result<()> {
    let path = format!("sys/{key}");
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = openat2(procfs, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), within)
        .during(|| format!("open /proc/{path}"))?;
    rustix::io::write(&file, value.as_bytes()).during(|| format!("write /proc/{path}"))?;
    Ok(())
}

fn owner(path: &str) -> Option<Kind> {
    if path.starts_with("net/") {
        Some(Kind::Net)
    } else if path.starts_with("fs/mqueue/") || IPC.contains(&path) {
        Some(Kind::Ipc)
    } else if matches!(path, "kernel/hostname" | "kernel/domainname") {
        Some(Kind::Uts)
    } else if path == "kernel/pid_max" && linux::sysctl::pid_max_is_namespaced() {
        Some(Kind::Pid)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
