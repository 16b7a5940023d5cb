//! Device nodes, and the rules that say which may be opened.

use std::path::PathBuf;

use anyhow::Result;
use container::Config;
use linux::device::DeviceKind;
use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};

use crate::host::Host;

/// A device of the host that goes into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFact {
    pub container_path: PathBuf,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub access: String,
}

/// null, zero, full, tty, console, ptmx, random, urandom, every pts, tun.
const ALLOWED: &[(i64, Option<i64>)] = &[
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (1, Some(8)),
    (1, Some(9)),
    (136, None),
    (10, Some(200)),
];
const FUSE: (i64, Option<i64>) = (10, Some(229));

pub(super) fn nodes(config: &Config, host: &Host) -> Result<Vec<LinuxDevice>> {
    let remap = config.user_remap;
    host.devices
        .iter()
        .map(|fact| {
            // A device of a container with ids of its own belongs to its root.
            let (uid, gid) = if remap.is_some() { (0, 0) } else { (fact.uid, fact.gid) };
            let device = LinuxDeviceBuilder::default()
                .path(&fact.container_path)
                .typ(kind(fact.kind))
                .major(fact.major)
                .minor(fact.minor)
                .file_mode(fact.mode & 0o777)
                .uid(uid)
                .gid(gid)
                .build()?;
            Ok(device)
        })
        .collect()
}

/// In the order they take effect; the last that matches decides.
pub(super) fn rules(config: &Config, host: &Host) -> Result<Vec<LinuxDeviceCgroup>> {
    if config.privileged {
        return Ok(vec![rule(true, LinuxDeviceType::A, None, None, "rwm")?]);
    }
    let mut rules = vec![
        rule(false, LinuxDeviceType::A, None, None, "rwm")?,
        rule(true, LinuxDeviceType::C, None, None, "m")?,
        rule(true, LinuxDeviceType::B, None, None, "m")?,
    ];
    for &(major, minor) in ALLOWED {
        rules.push(rule(true, LinuxDeviceType::C, Some(major), minor, "rwm")?);
    }
    // runc on v1 cannot take one device out of all that may be made; open it nobody can in any case.
    if config.system_container && config.runtime.is_none() {
        rules.push(rule(false, LinuxDeviceType::C, Some(FUSE.0), FUSE.1, "rwm")?);
    }
    for fact in &host.devices {
        let (major, minor) = (i64::from(fact.major), i64::from(fact.minor));
        rules.push(rule(true, kind(fact.kind), Some(major), Some(minor), &fact.access)?);
    }
    for text in &config.resources.device_cgroup_rules {
        rules.extend(written(text)?);
    }
    Ok(rules)
}

/// `c 10:229 rwm`, checked when the container was made.
fn written(text: &str) -> Result<Option<LinuxDeviceCgroup>> {
    let words: Vec<&str> = text.split(' ').collect();
    let [letter, number, access] = words[..] else { return Ok(None) };
    let Some((major, minor)) = number.split_once(':') else { return Ok(None) };
    let kind = match letter {
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => LinuxDeviceType::A,
    };
    Ok(Some(rule(true, kind, major.parse().ok(), minor.parse().ok(), access)?))
}

fn kind(kind: DeviceKind) -> LinuxDeviceType {
    match kind {
        DeviceKind::Block => LinuxDeviceType::B,
        DeviceKind::Char => LinuxDeviceType::C,
        DeviceKind::Fifo => LinuxDeviceType::P,
    }
}

fn rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> Result<LinuxDeviceCgroup> {
    let mut rule =
        LinuxDeviceCgroupBuilder::default().allow(allow).typ(kind).access(access).build()?;
    rule.set_major(major).set_minor(minor);
    Ok(rule)
}
