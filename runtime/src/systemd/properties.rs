//! What a scope is told about its container, as properties (systemd.resource-control(5)).
//!
//! systemd writes what it knows of a unit into the cgroup again when it reloads its configuration,
//! and its defaults for what it does not know. Limits are read from the cgroup, where they are in
//! force already: nothing is converted twice. Upper bounds of single disks and limits that systemd
//! has no property for are not its business, and it leaves them alone.
//!
//! Device rules are told on v1 only, where systemd writes into the same controller. On v2 ours are
//! a program of their own, which it does not touch; a second one of its making would have to agree
//! with each device that is added later.

use std::collections::BTreeMap;
use std::path::Path;

use linux::Errno;
use linux::cgroup::devices::Kind;
use linux::cgroup::{Cgroup, DeviceRule, DeviceRules};
use zbus::Variant;

use super::message::Property;
use crate::error::During as _;
use crate::{Error, Result};

/// Without a bound.
const INFINITY: u64 = u64::MAX;

/// Annotations that are properties begin so; podman gives two of them.
const ANNOTATION: &str = "org.systemd.property.";

/// The limits of the cgroup. Of controllers that it has not there are none.
pub(super) fn limits(cgroup: &Cgroup) -> Result<Vec<Property>> {
    let mut all = Vec::new();
    for (controller, file, turn) in TABLE {
        let Some(directory) = cgroup.controller_dir(controller) else { continue };
        // systemd knows cpusets in the v2 tree only, where files of the same name are.
        if controller == "cpuset" && Some(directory) != cgroup.unified_dir() {
            continue;
        }
        if let Some(text) = read(directory, file)? {
            all.extend(turn(&text));
        }
    }
    all.extend(cpu_time_v1(cgroup)?);
    all.extend(io_weight(cgroup)?);
    Ok(all)
}

fn read(directory: &Path, file: &str) -> Result<Option<String>> {
    match linux::file::read(directory.join(file)) {
        Err(error) if error.is(Errno::NOENT) => Ok(None),
        text => Ok(Some(String::from_utf8_lossy(&text?).trim().to_owned())),
    }
}

type Turn = fn(&str) -> Vec<Property>;

/// A controller, a file of its v2 or v1 interface, and what that says.
const TABLE: [(&str, &str, Turn); 14] = [
    ("memory", "memory.max", |text| bound("MemoryMax", text)),
    ("memory", "memory.high", |text| bound("MemoryHigh", text)),
    ("memory", "memory.low", |text| bound("MemoryLow", text)),
    ("memory", "memory.min", |text| bound("MemoryMin", text)),
    ("memory", "memory.swap.max", |text| bound("MemorySwapMax", text)),
    ("memory", "memory.limit_in_bytes", |text| bound("MemoryMax", text)),
    ("pids", "pids.max", |text| bound("TasksMax", text)),
    ("cpu", "cpu.weight", |text| bound("CPUWeight", text)),
    ("cpu", "cpu.shares", |text| bound("CPUShares", text)),
    ("cpu", "cpu.max", cpu_time),
    ("cpuset", "cpuset.cpus", |text| set("AllowedCPUs", text)),
    ("cpuset", "cpuset.mems", |text| set("AllowedMemoryNodes", text)),
    ("blkio", "blkio.weight", |text| bound("BlockIOWeight", text)),
    ("blkio", "blkio.bfq.weight", |text| bound("BlockIOWeight", text)),
];

fn property(name: &str, value: impl Into<Variant<'static>>) -> Property {
    (name.to_owned(), value.into())
}

/// A number; the v1 memory controller says "no bound" as the largest multiple of a page.
fn bound(name: &str, text: &str) -> Vec<Property> {
    let value = match text.parse::<u64>() {
        _ if text == "max" => Some(INFINITY),
        Ok(value) if value >= i64::MAX as u64 - 0xffff => Some(INFINITY),
        value => value.ok(),
    };
    value.map(|value| property(name, value)).into_iter().collect()
}

/// "QUOTA PERIOD" in microseconds; systemd wants the quota of a second.
fn cpu_time(text: &str) -> Vec<Property> {
    let Some((quota, period)) = text.split_once(' ') else { return Vec::new() };
    let Ok(period) = period.parse::<u64>() else { return Vec::new() };
    let quota = match quota.parse::<u64>() {
        Ok(quota) => quota.saturating_mul(1_000_000) / period.max(1),
        Err(_) => INFINITY,
    };
    vec![property("CPUQuotaPerSecUSec", quota), property("CPUQuotaPeriodUSec", period)]
}

fn cpu_time_v1(cgroup: &Cgroup) -> Result<Vec<Property>> {
    let Some(directory) = cgroup.controller_dir("cpu") else { return Ok(Vec::new()) };
    let (quota, period) =
        (read(directory, "cpu.cfs_quota_us")?, read(directory, "cpu.cfs_period_us")?);
    Ok(quota
        .zip(period)
        .map_or(Vec::new(), |(quota, period)| cpu_time(&format!("{quota} {period}"))))
}

/// "default WEIGHT" of the v2 tree. systemd has one weight and makes that of BFQ of it.
fn io_weight(cgroup: &Cgroup) -> Result<Vec<Property>> {
    let (Some(directory), Some(unified)) = (cgroup.controller_dir("io"), cgroup.unified_dir())
    else {
        return Ok(Vec::new());
    };
    if directory != unified {
        return Ok(Vec::new());
    }
    let default = |text: Option<String>| -> Option<u64> {
        text?.lines().find_map(|line| line.strip_prefix("default "))?.trim().parse().ok()
    };
    let bfq = default(read(directory, "io.bfq.weight")?);
    let weight = bfq.map(of_bfq).or(default(read(directory, "io.weight")?));
    Ok(weight.map(|weight| property("IOWeight", weight)).into_iter().collect())
}

/// The weight of 1 to 10000 that systemd turns into this one of 1 to 1000 (BFQ_WEIGHT() of its
/// cgroup-setup): up to 100 they are the same, and from there on 11 steps are one.
fn of_bfq(weight: u64) -> u64 {
    if weight <= 100 { weight } else { 100 + (weight - 100) * 11 }
}

/// "0-2,7" as bits, the first in the lowest of the first byte.
fn set(name: &str, text: &str) -> Vec<Property> {
    let mut bits = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
            return Vec::new();
        };
        for number in first..=last.min(1 << 16) {
            if bits.len() <= number / 8 {
                bits.resize(number / 8 + 1, 0_u8);
            }
            bits[number / 8] |= 1 << (number % 8);
        }
    }
    // Empty is what the parent has.
    if bits.is_empty() { Vec::new() } else { vec![property(name, bits)] }
}

/// The device rules of a v1 controller.
pub(super) fn devices(rules: &DeviceRules) -> Result<Vec<Property>> {
    let Some(grants) = rules.grants().step(|| "tell systemd of device rules".into())? else {
        let none: Vec<(String, String)> = Vec::new();
        return Ok(vec![property("DevicePolicy", "auto"), property("DeviceAllow", none)]);
    };
    let mut list = Vec::new();
    for rule in &grants {
        list.push((name_of(rule)?, rule.access.to_string()));
    }
    // What was there is taken away by an empty list, not by another one.
    let none: Vec<(String, String)> = Vec::new();
    Ok(vec![
        property("DevicePolicy", "strict"),
        property("DeviceAllow", none),
        property("DeviceAllow", list),
    ])
}

fn name_of(rule: &DeviceRule) -> Result<String> {
    let kind = match rule.kind {
        Kind::Block => "block",
        Kind::Char | Kind::All => "char",
    };
    match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => Ok(format!("/dev/{kind}/{major}:{minor}")),
        (Some(major), None) => Ok(format!("{kind}-{major}")),
        (None, None) => Ok(format!("{kind}-*")),
        (None, Some(_)) => Err(Error::config(
            "linux.resources.devices",
            format!(
                "has \"{rule}\", which systemd has no words for; name the major number, or have \
                 the engine use cgroupfs"
            ),
        )),
    }
}

/// The properties that annotations name: those that do no harm, the others by an error.
pub(super) fn annotated(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let mut all = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else { continue };
        let refuse = |reason: &str| Error::config(format!("annotations[{key:?}]"), reason);
        all.push(match name {
            "KillSignal" => {
                let number = text.strip_prefix("int32 ").unwrap_or(text).trim().parse::<i32>();
                property(name, number.map_err(|_| refuse("is not the number of a signal"))?)
            }
            "TimeoutStopUSec" => {
                let number = text.strip_prefix("uint64 ").unwrap_or(text).trim().parse::<u64>();
                property(name, number.map_err(|_| refuse("is not a number of microseconds"))?)
            }
            "CollectMode" => match text.trim_matches(['\'', '"']) {
                text @ ("inactive" | "inactive-or-failed") => property(name, text.to_owned()),
                _ => return Err(refuse("is not inactive or inactive-or-failed")),
            },
            _ => {
                return Err(refuse(
                    "is not honoured; leave it out (KillSignal, TimeoutStopUSec and CollectMode \
                     are)",
                ));
            }
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
