//! `--sysctl` and `--ns-change-opt`: kernel settings that belong to a namespace.

use anyhow::{Result, bail, ensure};

const KERNEL: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.pid_max",
];

/// `KEY=VALUE` with a key of a namespace.
pub fn parse(text: &str) -> Result<(String, String)> {
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        bail!("Invalid sysctl option '{text}'");
    };
    // net/ipv4/conf/eth0.1/forwarding: with slashes, dots are part of a name (sysctl(8)).
    let dotted = if key.contains('/') { key.replace('/', ".") } else { key.to_owned() };
    let listed = KERNEL.contains(&dotted.as_str())
        || dotted.starts_with("net.")
        || dotted.starts_with("fs.mqueue.");
    ensure!(listed && !dotted.contains(".."), "Sysctl '{text}' is not whitelist");
    Ok((key.to_owned(), value.to_owned()))
}

/// The files and directories that `net` and `ipc` name, in the order the guide shows them.
const NET: &[&str] = &["/proc/sys/net"];
const IPC: &[&str] = &[
    "/proc/sys/kernel/shmmax",
    "/proc/sys/kernel/shmmni",
    "/proc/sys/kernel/shmall",
    "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/kernel/msgmax",
    "/proc/sys/kernel/msgmni",
    "/proc/sys/kernel/msgmnb",
    "/proc/sys/kernel/sem",
    "/proc/sys/fs/mqueue",
];

/// The paths that become writable; a word counts once.
pub fn ns_change_files(text: &str) -> Result<Vec<String>> {
    let words: Vec<&str> = text.split(',').collect();
    let known = words.iter().all(|word| matches!(*word, "net" | "ipc"));
    ensure!(
        known && words.len() <= 2,
        "invalid ns-change-opt pararm:{text}; use net, ipc or net,ipc"
    );
    let mut files = vec![];
    for (word, paths) in [("net", NET), ("ipc", IPC)] {
        if words.contains(&word) {
            files.extend(paths.iter().map(|&path| path.to_owned()));
        }
    }
    Ok(files)
}
