//! Gathers [`Host`]: what has to be looked up for one container.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use container::config::Resources;
use container::{Config, Container, Store};
use linux::device::{DeviceKind, stat_device};
use linux::root::Root;
use rustix::time::ClockId;

use super::users;
use crate::host::{Clocks, Host, Paths};
use crate::request::mounts::{DeviceMapping, device};
use crate::request::resources::page_size;
use crate::spec::DeviceFact;

/// Everything that the document of `config` depends on.
pub fn gather(store: &Store, container: &Container, config: &Config, root: &Root) -> Result<Host> {
    check_cpus(&config.resources)?;
    check_files_limit(&config.resources)?;
    check_sysctls(config)?;
    Ok(Host {
        paths: Paths {
            bundle: container.dir.clone(),
            state: container.state_dir.clone(),
            rootfs: super::image::rootfs_place(container, config),
        },
        identity: users::resolve(root, &config.process.user, &config.process.group_add)?,
        joined: joined(store, config)?,
        devices: devices(config)?,
        block_devices: block_devices(&config.resources)?,
        huge_page: huge_page()?,
        lxcfs_hook: super::lxcfs::hook(config)?,
        kernel: linux::kernel::version(),
        clocks: clocks(),
    })
}

fn clocks() -> Clocks {
    let seconds = |clock| rustix::time::clock_gettime(clock).tv_sec;
    Clocks { monotonic_s: seconds(ClockId::Monotonic), boottime_s: seconds(ClockId::Boottime) }
}

fn joined(store: &Store, config: &Config) -> Result<BTreeMap<String, i32>> {
    let asked = &config.namespaces;
    let words = [&asked.net, &asked.pid, &asked.ipc, &asked.uts];
    let mut joined = BTreeMap::new();
    for word in words.into_iter().flatten() {
        let Some(name) = word.strip_prefix("container:") else { continue };
        let other = store.find(name)?;
        let Some(pid) = other.state()?.pid else {
            bail!("Can not join namespace of a non running container {name}");
        };
        joined.insert(word.clone(), pid);
    }
    Ok(joined)
}

fn devices(config: &Config) -> Result<Vec<DeviceFact>> {
    let mut facts = vec![];
    if config.privileged {
        let everything = DeviceMapping {
            host_path: "/dev".into(),
            container_path: "/dev".into(),
            access: "rwm".to_owned(),
        };
        collect(&everything, &mut facts)?;
        facts.retain(|fact| !is_made_by_the_runtime(&fact.container_path));
    }
    for text in &config.devices {
        let mapping = device(text)?;
        let before = facts.len();
        collect(&mapping, &mut facts)?;
        ensure!(facts.len() > before, "device {}: no device there", mapping.host_path.display());
    }
    Ok(facts)
}

/// A node, or every node below a directory.
fn collect(mapping: &DeviceMapping, facts: &mut Vec<DeviceFact>) -> Result<()> {
    let path = &mapping.host_path;
    let metadata = fs::metadata(path).with_context(|| format!("stat device {}", path.display()))?;
    if !metadata.is_dir() {
        facts.extend(fact(path, &mapping.container_path, &mapping.access)?);
        return Ok(());
    }
    let act = || format!("list devices below {}", path.display());
    for entry in fs::read_dir(path).with_context(act)? {
        let entry = entry.with_context(act)?;
        let kind = entry.file_type().with_context(act)?;
        // Links lead to nodes that are found under their own names, or out of /dev.
        if kind.is_symlink() || SKIPPED.contains(&entry.path().to_str().unwrap_or_default()) {
            continue;
        }
        let below = DeviceMapping {
            host_path: entry.path(),
            container_path: mapping.container_path.join(entry.file_name()),
            access: mapping.access.clone(),
        };
        if kind.is_dir() {
            collect(&below, facts)?;
        } else if is_node(&entry.path()) {
            facts.extend(fact(&below.host_path, &below.container_path, &below.access)?);
        }
    }
    Ok(())
}

/// Filesystems of their own, not directories of nodes.
const SKIPPED: &[&str] = &["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console"];
const OF_THE_RUNTIME: &[&str] =
    &["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"];

fn is_made_by_the_runtime(path: &Path) -> bool {
    OF_THE_RUNTIME.iter().any(|name| path == Path::new("/dev").join(name))
}

fn is_node(path: &Path) -> bool {
    stat_device(path).is_ok_and(|node| node.kind != DeviceKind::Fifo)
}

fn fact(path: &Path, inside: &Path, access: &str) -> Result<Option<DeviceFact>> {
    let node = stat_device(path)?;
    Ok(Some(DeviceFact {
        container_path: inside.to_owned(),
        kind: node.kind,
        major: node.number.major,
        minor: node.number.minor,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        access: access.to_owned(),
    }))
}

/// The numbers of the block devices that limits name.
pub fn block_devices(asked: &Resources) -> Result<BTreeMap<PathBuf, (u32, u32)>> {
    let lists = [
        &asked.blkio_weight_device,
        &asked.device_read_bps,
        &asked.device_write_bps,
        &asked.device_read_iops,
        &asked.device_write_iops,
    ];
    let mut numbers = BTreeMap::new();
    for value in lists.into_iter().flatten() {
        let node = stat_device(&value.path)?;
        ensure!(
            node.kind == DeviceKind::Block,
            "{} is not a block device; limits are for disks",
            value.path.display()
        );
        numbers.insert(value.path.clone(), (node.number.major, node.number.minor));
    }
    Ok(numbers)
}

/// What the kernel would refuse with EINVAL, in words.
pub fn check_cpus(asked: &Resources) -> Result<()> {
    let lists = [
        (&asked.cpuset_cpus, "/sys/devices/system/cpu/online", "CPUs"),
        (&asked.cpuset_mems, "/sys/devices/system/node/online", "memory nodes"),
    ];
    for (wanted, path, what) in lists {
        let Some(wanted) = wanted else { continue };
        // Without NUMA there is one node, and no file that says so.
        let online = fs::read_to_string(path).unwrap_or_else(|_| "0".to_owned());
        let online = online.trim();
        let available = ranges(online);
        let there = |n: u32| available.iter().any(|&(first, last)| (first..=last).contains(&n));
        let all = ranges(wanted).iter().all(|&(first, last)| (first..=last).all(there));
        ensure!(
            all,
            "Requested {what} are not available - requested {wanted}, available: {online}."
        );
    }
    Ok(())
}

/// `0-3,5`; what is not a number is not there.
fn ranges(list: &str) -> Vec<(u32, u32)> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    list.split(',').filter_map(range).collect()
}

/// The `files` controller is openEuler's own; no limit needs no controller.
fn check_files_limit(asked: &Resources) -> Result<()> {
    if asked.files_limit_by_process || asked.files_limit.is_none_or(|limit| limit <= 0) {
        return Ok(());
    }
    let controllers = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let known = controllers.lines().any(|line| line.split_whitespace().next() == Some("files"));
    ensure!(
        known,
        "Your kernel does not support files limit capabilities, files limit discarded.; limit \
         each process instead: --files-limit-mode rlimit"
    );
    bail!(
        "--files-limit by the files controller is not supported; limit each process instead: \
         --files-limit-mode rlimit"
    )
}

fn check_sysctls(config: &Config) -> Result<()> {
    for (key, value) in &config.sysctls {
        ensure!(
            key.replace('/', ".") != "kernel.pid_max" || linux::sysctl::pid_max_is_namespaced(),
            "Sysctl '{key}={value}' is not kernel namespaced, it cannot be changed; it needs Linux \
             6.14, bound the processes with --pids-limit instead"
        );
    }
    Ok(())
}

fn huge_page() -> Result<String> {
    let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let kibibytes = text.lines().find_map(|line| {
        let value = line.strip_prefix("Hugepagesize:")?.trim().strip_suffix("kB")?;
        value.trim().parse::<u64>().ok()
    });
    Ok(kibibytes.map(|kibibytes| page_size(kibibytes << 10)).unwrap_or_default())
}
