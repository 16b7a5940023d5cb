//! What a device command makes of a record: who is in whose way, what goes with what.

use std::path::Path;

use super::apply::number;
use super::limit::{self, number as limited};
use super::{DeviceArgument, LimitKind, QosLimit, host};
use crate::error::{Error, Result};
use crate::record::{DeviceEntry, LimitEntry, Record};

/// What a removal comes to.
#[derive(Debug)]
pub struct Removal {
    /// The record without it.
    pub next: Record,
    /// The devices that are no more in it.
    pub devices: Vec<DeviceEntry>,
    /// Their limits.
    pub limits: Vec<(LimitKind, LimitEntry)>,
}

/// What `add-device` of one argument makes of `record`, and the devices that are new in it.
///
/// # Errors
/// The host has no such device, or its place in the container is taken.
pub fn add(
    record: &Record,
    argument: &DeviceArgument,
    follow_partitions: bool,
) -> Result<(Record, Vec<DeviceEntry>)> {
    let host_path = argument.host_path.as_deref().unwrap_or(Path::new(""));
    let parse = |error: Error| {
        error.wrap(|reason| format!("Failed to parse device: {}, {reason}", host_path.display()))
    };
    let node = host::node(host_path).map_err(parse)?;
    let container_path = argument.container_path.as_deref().unwrap_or(host_path);
    let container_path = container_path
        .to_str()
        .ok_or_else(|| Error::Usage(format!("{container_path:?} is not UTF-8")))?;
    let permissions = argument.permissions.to_string();
    let disk = host::entry(host_path, container_path, &permissions, &node)?;
    let mut new = vec![disk];
    if follow_partitions {
        let partitions = host::partitions(&new[0], &node)?;
        new.extend(partitions);
    }
    let mut next = record.clone();
    for device in &new {
        check_container_path(&device.path_in_container)?;
        let taken = |known: &DeviceEntry| known.path_in_container == device.path_in_container;
        if next.devices.iter().any(taken) {
            return Err(Error::Conflict(format!(
                "device {}:{} has been already added into container",
                device.path_on_host, device.path_in_container
            )));
        }
        next.devices.push(device.clone());
    }
    Ok((next, new))
}

/// What `remove-device` of one argument makes of `record`, and what is no more in it.
///
/// # Errors
/// Nothing of the kind is recorded.
pub fn remove(
    record: &Record,
    argument: &DeviceArgument,
    follow_partitions: bool,
) -> Result<Removal> {
    let shown = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    };
    let (host, inside) = (shown(&argument.host_path), shown(&argument.container_path));
    let is_meant = |device: &DeviceEntry| {
        (host.is_empty() || device.path_on_host == host)
            && (inside.is_empty() || device.path_in_container == inside)
    };
    let mut gone: Vec<DeviceEntry> =
        record.devices.iter().filter(|device| is_meant(device)).cloned().collect();
    if gone.is_empty() {
        return Err(Error::Conflict(format!(
            "Device pair({host}:{inside}) is not added by syscontainer-tools, can not remove it, \
             please check input parameter."
        )));
    }
    if follow_partitions {
        let disks: Vec<String> = gone.iter().map(|disk| disk.path_on_host.clone()).collect();
        let follows = |device: &&DeviceEntry| disks.contains(&device.parent) && !is_meant(device);
        gone.extend(record.devices.iter().filter(follows).cloned());
    }
    let mut next = record.clone();
    next.devices.retain(|device| !gone.contains(device));
    let mut lifted = Vec::new();
    for kind in LimitKind::ALL {
        let of_none = |limit: &LimitEntry| {
            let is_its =
                |device: &DeviceEntry| (device.major, device.minor) == (limit.major, limit.minor);
            gone.iter().any(is_its) && !next.devices.iter().any(is_its)
        };
        let (out, kept): (Vec<_>, Vec<_>) = kind.of(record).iter().cloned().partition(of_none);
        *kind.of_mut(&mut next) = kept;
        lifted.extend(out.into_iter().map(|limit| (kind, limit)));
    }
    Ok(Removal { next, devices: gone, limits: lifted })
}

/// What `limits` make of `record`. Each must be of a whole disk that is recorded.
///
/// # Errors
/// It is not; the text is the predecessor's.
pub fn limits(record: &Record, limits: &[QosLimit]) -> Result<Record> {
    let mut next = record.clone();
    for wanted in limits {
        let path = wanted.device.display();
        let node = host::node(&wanted.device)
            .map_err(|error| error.wrap(|reason| format!("{path}: {reason}")))?;
        if node.kind != linux::device::DeviceKind::Block {
            return Err(Error::Usage("cannot set Qos of a char device".into()));
        }
        limit::check_whole_disk(node.number)?;
        let is_its = |device: &DeviceEntry| number(device) == node.number;
        if !record.devices.iter().any(is_its) {
            return Err(Error::Conflict(format!(
                "device {path} was not added to container or not in add-device args"
            )));
        }
        let entry = LimitEntry {
            major: node.number.major,
            minor: node.number.minor,
            path: path.to_string(),
            value: wanted.value.to_string(),
        };
        let list = wanted.kind.of_mut(&mut next);
        match list.iter_mut().find(|known| limited(known) == node.number) {
            Some(known) => *known = entry,
            None => list.push(entry),
        }
    }
    Ok(next)
}

/// What is listed: without `all`, a partition whose disk is listed is not.
#[must_use]
pub fn listed(record: &Record, all: bool) -> Vec<DeviceEntry> {
    let is_part = |device: &DeviceEntry| {
        let is_disk = |disk: &DeviceEntry| disk.path_on_host == device.parent;
        !device.parent.is_empty() && record.devices.iter().any(is_disk)
    };
    let shown = record.devices.iter().filter(|device| all || !is_part(device));
    // The keys of the list are the predecessor's; `inspect` shows the rest.
    shown.map(|device| DeviceEntry { identity: None, ..device.clone() }).collect()
}

/// Paths at which a node can be of no use, or of harm.
fn check_container_path(path: &str) -> Result<()> {
    let inside = Path::new(path);
    let reason = if inside.file_name().is_none() || inside == Path::new("/dev") {
        "it is a directory that the container needs"
    } else if inside.starts_with("/proc") || inside.starts_with("/sys") {
        "it belongs to the kernel"
    } else {
        return Ok(());
    };
    Err(Error::Usage(format!("container path {path}: {reason}; name another one")))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::{parse_addition, parse_limit, parse_removal};
    use super::*;

    fn added(record: &Record, argument: &str) -> Result<Record> {
        add(record, &parse_addition(argument).unwrap(), false).map(|(next, _)| next)
    }

    fn removed(record: &Record, argument: &str, follow: bool) -> String {
        match remove(record, &parse_removal(argument).unwrap(), follow) {
            Ok(Removal { devices, limits: lifted, .. }) => {
                let gone: Vec<_> = devices.iter().map(|d| d.path_in_container.as_str()).collect();
                let lifted =
                    lifted.iter().map(|(kind, limit)| format!("{} {}", kind.name(), limit.value));
                format!("{gone:?} {:?}", lifted.collect::<Vec<_>>())
            }
            Err(error) => error.to_string(),
        }
    }

    fn refused(result: Result<Record>, expected: &Expect) {
        expected.assert_eq(&result.unwrap_err().to_string());
    }

    fn disk(host: &str, inside: &str, minor: u32, parent: &str) -> DeviceEntry {
        DeviceEntry {
            kind: "b".into(),
            major: 8,
            minor,
            path_on_host: host.into(),
            path_in_container: inside.into(),
            cgroup_permissions: "rwm".into(),
            parent: parent.into(),
            identity: None,
        }
    }

    fn with_disk() -> Record {
        Record {
            devices: vec![
                disk("/dev/sdb", "/dev/xvdb", 16, ""),
                disk("/dev/sdb1", "/dev/xvdb1", 17, "/dev/sdb"),
                disk("/dev/sdc1", "/dev/xvdc1", 33, "/dev/sdc"),
            ],
            read_bps: vec![LimitEntry {
                major: 8,
                minor: 16,
                path: "/dev/sdb".into(),
                value: "1024".into(),
            }],
            ..Record::default()
        }
    }

    #[test]
    fn a_device_may_have_several_names_and_a_name_one_device() {
        let one = added(&Record::default(), "/dev/null:/dev/n1:rw").unwrap();
        let two = added(&one, "/dev/null:/dev/n2").unwrap();
        assert_eq!(two.devices.len(), 2);
        assert_eq!(two.devices[0].cgroup_permissions, "rw");
        refused(
            added(&two, "/dev/zero:/dev/n1"),
            &expect!["device /dev/zero:/dev/n1 has been already added into container"],
        );
    }

    #[test]
    fn what_cannot_be_added_is_told() {
        let add = |argument| added(&Record::default(), argument);
        refused(
            add("/etc/hostname"),
            &expect!["Failed to parse device: /etc/hostname, not a device"],
        );
        refused(
            add("/dev/nonexistent"),
            &expect![
                "Failed to parse device: /dev/nonexistent, lstat /dev/nonexistent: no such file or directory"
            ],
        );
        refused(
            add("/dev/null:/proc/x"),
            &expect!["container path /proc/x: it belongs to the kernel; name another one"],
        );
        refused(
            add("/dev/null:/dev"),
            &expect![
                "container path /dev: it is a directory that the container needs; name another one"
            ],
        );
    }

    #[test]
    fn a_removal_takes_partitions_and_limits_along() {
        let record = with_disk();
        let check = |argument, follow, expected: &Expect| {
            expected.assert_eq(&removed(&record, argument, follow));
        };
        check("/dev/sdb", false, &expect![[r#"["/dev/xvdb"] ["read bps 1024"]"#]]);
        check("/dev/sdb", true, &expect![[r#"["/dev/xvdb", "/dev/xvdb1"] ["read bps 1024"]"#]]);
        check(":/dev/xvdc1", false, &expect![[r#"["/dev/xvdc1"] []"#]]);
        check(
            "/dev/sdb:/dev/other",
            false,
            &expect![
                "Device pair(/dev/sdb:/dev/other) is not added by syscontainer-tools, can not remove it, please check input parameter."
            ],
        );
    }

    #[test]
    fn a_partition_on_its_own_is_listed() {
        let names = |all| -> Vec<String> {
            listed(&with_disk(), all).into_iter().map(|device| device.path_on_host).collect()
        };
        assert_eq!(names(false), ["/dev/sdb", "/dev/sdc1"]);
        assert_eq!(names(true), ["/dev/sdb", "/dev/sdb1", "/dev/sdc1"]);
    }

    #[test]
    fn limits_are_of_disks_that_are_there() {
        let limit = |argument| {
            super::limits(&with_disk(), &[parse_limit(LimitKind::ReadBps, argument).unwrap()])
        };
        refused(limit("/dev/null:1m"), &expect!["cannot set Qos of a char device"]);
        refused(
            limit("/dev/nonexistent:1m"),
            &expect!["/dev/nonexistent: lstat /dev/nonexistent: no such file or directory"],
        );
    }
}
