//! The host's side of a device: its node, what it is called by itself, its partitions.

use std::path::{Path, PathBuf};

use linux::block::BlockDevice;
use linux::device::{DeviceKind, DeviceNode, stat_device};

use super::container_name;
use crate::error::{Error, Result};
use crate::record::{DeviceEntry, DeviceIdentity};

/// What the node at `path` stands for; links are followed.
///
/// # Errors
/// It is missing, or no block or character device. The texts are the predecessor's.
pub(crate) fn node(path: &Path) -> Result<DeviceNode> {
    match stat_device(path) {
        Ok(node) if node.kind != DeviceKind::Fifo => Ok(node),
        Ok(_) => Err(Error::Usage("not a device".into())),
        Err(error) if error.is(linux::Errno::NODEV) => Err(Error::Usage("not a device".into())),
        Err(error) if error.is(linux::Errno::NOENT) => {
            Err(Error::Usage(format!("lstat {}: no such file or directory", path.display())))
        }
        Err(error) => Err(error.into()),
    }
}

/// The entry of one device, with the numbers of this moment.
pub(crate) fn entry(
    host_path: &Path,
    container_path: &str,
    permissions: &str,
    node: &DeviceNode,
) -> Result<DeviceEntry> {
    let block = block_of(node)?;
    let parent = match &block {
        Some(block) => parent(host_path, block)?,
        None => String::new(),
    };
    Ok(DeviceEntry {
        kind: node.kind.letter().to_string(),
        major: node.number.major,
        minor: node.number.minor,
        path_on_host: text(host_path)?,
        path_in_container: container_path.to_owned(),
        cgroup_permissions: permissions.to_owned(),
        parent,
        identity: block.as_ref().and_then(identity),
    })
}

/// The partitions of the disk `disk`, each called as the kernel calls it after the disk.
///
/// # Errors
/// `disk` is no whole disk, or sysfs cannot be read.
pub(crate) fn partitions(disk: &DeviceEntry, node: &DeviceNode) -> Result<Vec<DeviceEntry>> {
    let Some(block) = block_of(node)? else {
        return Err(Error::Usage(format!(
            "Char device {} not support follow partition",
            disk.path_on_host
        )));
    };
    let mut entries = Vec::new();
    for partition in block.partitions()? {
        let name = container_name(&block.name, &partition.name, &disk.path_in_container);
        let Some(path_in_container) = name else { continue };
        let host_path = Path::new("/dev").join(partition.node_name()?);
        entries.push(DeviceEntry {
            kind: "b".into(),
            major: partition.number.major,
            minor: partition.number.minor,
            path_on_host: text(&host_path)?,
            path_in_container,
            cgroup_permissions: disk.cgroup_permissions.clone(),
            parent: disk.path_on_host.clone(),
            identity: identity(&partition),
        });
    }
    Ok(entries)
}

/// The device as it is on the host now: another boot may have given it other numbers.
///
/// # Errors
/// It is gone, or another device has its name.
pub(crate) fn refresh(recorded: &DeviceEntry) -> Result<DeviceEntry> {
    let path = Path::new(&recorded.path_on_host);
    let drop_it = || {
        format!(
            "drop it: isulad-tools remove-device CONTAINER {}:{}",
            recorded.path_on_host, recorded.path_in_container
        )
    };
    let node = node(path).map_err(|error| error.wrap(|text| format!("{text}; {}", drop_it())))?;
    if node.kind.letter().to_string() != recorded.kind {
        return Err(Error::Failed(format!(
            "{} is of another kind than the device that was added; {}",
            path.display(),
            drop_it()
        )));
    }
    let block = block_of(&node)?;
    if let Some(wanted) = &recorded.identity {
        let found = block.as_ref().and_then(|block| value(block, &wanted.by));
        if found.as_deref() != Some(&wanted.value) {
            let found = found.unwrap_or_else(|| "none".into());
            return Err(Error::Failed(format!(
                "{} is another disk than the one that was added: its {} is {found}, not {}; add \
                 disks by their links in /dev/disk/by-id, or {}",
                path.display(),
                wanted.by,
                wanted.value,
                drop_it()
            )));
        }
    }
    Ok(DeviceEntry { major: node.number.major, minor: node.number.minor, ..recorded.clone() })
}

fn block_of(node: &DeviceNode) -> Result<Option<BlockDevice>> {
    match node.kind {
        DeviceKind::Block => Ok(Some(BlockDevice::of(node.number)?)),
        _ => Ok(None),
    }
}

/// The node of the disk that a partition is of, beside the partition's own where there is one.
fn parent(host_path: &Path, block: &BlockDevice) -> Result<String> {
    let Some(disk) = block.disk()? else { return Ok(String::new()) };
    let beside: Option<PathBuf> = host_path.parent().map(|dir| dir.join(&disk.name));
    match beside.filter(|path| node(path).is_ok_and(|node| node.number == disk.number)) {
        Some(path) => text(&path),
        None => text(&Path::new("/dev").join(disk.node_name()?)),
    }
}

/// The steadiest of the names that sysfs has for a disk; a partition's is its disk's and its number.
fn identity(block: &BlockDevice) -> Option<DeviceIdentity> {
    ["wwid", "dm-uuid", "serial"]
        .into_iter()
        .find_map(|by| Some(DeviceIdentity { by: by.to_owned(), value: value(block, by)? }))
}

fn value(block: &BlockDevice, by: &str) -> Option<String> {
    let disk;
    let (whole, number) = match block.partition {
        Some(number) => {
            disk = block.disk().ok()??;
            (&disk, Some(number))
        }
        None => (block, None),
    };
    let files: &[&str] = match by {
        "wwid" => &["wwid", "device/wwid"],
        "dm-uuid" => &["dm/uuid"],
        "serial" => &["serial", "device/serial"],
        _ => &[],
    };
    let read = |file: &&str| linux::file::read_to_string(whole.sysfs_dir().join(file)).ok();
    let text = files.iter().find_map(read)?;
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    Some(match number {
        Some(number) => format!("{text}-part{number}"),
        None => text.to_owned(),
    })
}

fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::Usage(format!("{path:?} is not UTF-8 and cannot be recorded")))
}
