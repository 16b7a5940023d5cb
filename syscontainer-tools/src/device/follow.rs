//! Keeps the partitions of a container's disks as the disks have them.

use std::path::Path;

use super::apply::number;
use super::host;
use crate::error::Result;
use crate::record::{DeviceEntry, Record};

/// The record with just the partitions that its whole disks have at this moment. A disk that is
/// gone is left as it is: it may come back.
///
/// # Errors
/// sysfs cannot be read.
pub fn follow_partitions(record: &Record) -> Result<Record> {
    let mut next = record.clone();
    for disk in record.devices.iter().filter(|device| is_whole_disk(device)) {
        let Ok(node) = host::node(Path::new(&disk.path_on_host)) else { continue };
        if node.number != number(disk) {
            continue;
        }
        let there = host::partitions(disk, &node)?;
        let is_its = |device: &DeviceEntry| device.parent == disk.path_on_host;
        // One that was added under a name of its own stays under it.
        let is_there = |device: &DeviceEntry| {
            there.iter().any(|partition| number(partition) == number(device))
        };
        next.devices.retain(|device| !is_its(device) || is_there(device));
        for partition in there {
            let known = |device: &DeviceEntry| {
                number(device) == number(&partition)
                    || device.path_in_container == partition.path_in_container
            };
            if !next.devices.iter().any(known) {
                next.devices.push(partition);
            }
        }
    }
    Ok(next)
}

fn is_whole_disk(device: &DeviceEntry) -> bool {
    device.kind == "b"
        && device.parent.is_empty()
        && linux::block::BlockDevice::of(number(device))
            .is_ok_and(|block| block.partition.is_none())
}
