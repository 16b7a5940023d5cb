//! What is attached below the rootfs, in order: parents before what is in them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use container::Config;
use container::config::{self, MountKind};
use container::layout::{bundle, running};
use oci_spec::runtime::{Mount, MountBuilder};

use super::process::NOTIFY_SOCKET;
use crate::host::Host;

/// `gid` of terminals: the group `tty` of every distribution.
const TTY_GROUP: u32 = 5;

pub(super) fn build(config: &Config, host: &Host) -> Result<Vec<Mount>> {
    let mut list = kernel(config, host)?;
    if config.system_container {
        list.extend(system(config, host)?);
    } else {
        list.extend(network_files(config, host)?);
    }
    let mut asked = vec![];
    for (index, mount) in config.mounts.iter().enumerate() {
        asked.push(user(mount, index, host)?);
    }
    if let Some(channel) = &config.host_channel {
        let access = if channel.read_only { "ro" } else { "rw" };
        asked.push(bind(
            &channel.host_path,
            &channel.container_path,
            &["rbind", "rprivate", access],
        )?);
    }
    // What somebody asks to have on one of our places takes it.
    list.retain(|ours| !asked.iter().any(|theirs| theirs.destination() == ours.destination()));
    asked.sort_by_key(|mount| mount.destination().components().count());
    list.extend(asked);
    for path in &config.ns_change_files {
        // The runtime makes these last: bound on themselves, writable again.
        list.push(mount("proc", path, path, &["nosuid", "noexec", "nodev"])?);
    }
    Ok(list)
}

fn kernel(config: &Config, host: &Host) -> Result<Vec<Mount>> {
    let sealed = ["nosuid", "noexec", "nodev"];
    let read_only = if config.privileged { "rw" } else { "ro" };
    let cgroup = if config.privileged || config.system_container { "rw" } else { "ro" };
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let group = format!("gid={TTY_GROUP}");
    // A group that has no id inside cannot own anything there.
    if config.user_remap.is_none_or(|remap| remap.size > TTY_GROUP) {
        terminals.push(&group);
    }
    let dev_size = if config.system_container { half(config) } else { Some("size=65536k".into()) };
    let dev: Vec<&str> =
        ["nosuid", "strictatime", "mode=755"].into_iter().chain(dev_size.as_deref()).collect();
    let mut list = vec![
        mount("proc", "proc", "/proc", &sealed)?,
        mount("tmpfs", "tmpfs", "/dev", &dev)?,
        mount("devpts", "devpts", "/dev/pts", &terminals)?,
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", read_only])?,
        mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", cgroup])?,
    ];
    match config.namespaces.ipc.as_deref() {
        None => {
            let size = format!("size={}k", config.shm_size / 1024);
            list.push(mount("mqueue", "mqueue", "/dev/mqueue", &sealed)?);
            let options = ["nosuid", "noexec", "nodev", "mode=1777", &size];
            list.push(mount("tmpfs", "shm", "/dev/shm", &options)?);
        }
        Some(sharing) => {
            // Queues and shared memory go together: both are names of the IPC world.
            let root = match sharing {
                "host" => PathBuf::from("/"),
                other => PathBuf::from(format!("/proc/{}/root", host.joined(other)?)),
            };
            for path in ["dev/mqueue", "dev/shm"] {
                let options = ["rbind", "nosuid", "noexec", "nodev"];
                list.push(bind(&root.join(path), &Path::new("/").join(path), &options)?);
            }
        }
    }
    Ok(list)
}

/// Places an init writes to before it has a chance to mount anything itself.
fn system(config: &Config, host: &Host) -> Result<Vec<Mount>> {
    let half = half(config);
    let tmpfs = |path: &str, options: &[&str]| {
        let options: Vec<&str> = options.iter().copied().chain(half.as_deref()).collect();
        mount("tmpfs", "tmpfs", path, &options)
    };
    let host_files = host.paths.bundle.join(bundle::HOST);
    let notify = host.paths.state.join(running::NOTIFY);
    Ok(vec![
        tmpfs("/run", &["nosuid", "nodev", "mode=755"])?,
        tmpfs("/run/lock", &["nosuid", "noexec", "nodev", "mode=755"])?,
        tmpfs("/tmp", &["nosuid", "nodev", "mode=1777"])?,
        bind(&host_files, Path::new("/run/host"), &["bind", "ro", "nosuid", "noexec", "nodev"])?,
        bind(&notify, Path::new(NOTIFY_SOCKET), &["bind", "rw", "nosuid", "noexec", "nodev"])?,
    ])
}

/// Ours, on top of the rootfs's: it may be read-only, or another container's as well.
fn network_files(config: &Config, host: &Host) -> Result<Vec<Mount>> {
    let files = [
        (bundle::HOSTNAME, "/etc/hostname"),
        (bundle::HOSTS, "/etc/hosts"),
        (bundle::RESOLV_CONF, "/etc/resolv.conf"),
    ];
    let access = if config.read_only { "ro" } else { "rw" };
    let options = ["bind", "rprivate", access];
    files
        .iter()
        .map(|(file, path)| bind(&host.paths.bundle.join(file), Path::new(path), &options))
        .collect()
}

/// Half of the memory limit, so that files cannot take all of it.
fn half(config: &Config) -> Option<String> {
    config.resources.memory.map(|memory| format!("size={}k", memory / 2048))
}

fn user(asked: &config::Mount, index: usize, host: &Host) -> Result<Mount> {
    let options: Vec<&str> = asked.options.iter().map(String::as_str).collect();
    match asked.kind {
        MountKind::Bind | MountKind::Volume => bind(&asked.source, &asked.destination, &options),
        MountKind::Squashfs => {
            let place = host.paths.state.join(running::image(index));
            bind(&place, &asked.destination, &options)
        }
        MountKind::Tmpfs => mount("tmpfs", "tmpfs", &asked.destination, &options),
    }
}

fn bind(source: &Path, destination: &Path, options: &[&str]) -> Result<Mount> {
    mount("bind", source, destination, options)
}

fn mount(
    kind: &str,
    source: impl Into<PathBuf>,
    destination: impl Into<PathBuf>,
    options: &[&str],
) -> Result<Mount> {
    let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    let mount = MountBuilder::default()
        .typ(kind)
        .source(source.into())
        .destination(destination.into())
        .options(options)
        .build()?;
    Ok(mount)
}
