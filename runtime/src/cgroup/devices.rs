//! `linux.resources.devices` as device rules. Pure.

use linux::cgroup::devices::{Access, DeviceRule, DeviceRules, Kind};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::refuse;
use crate::Result;

/// The listed rules in their order, on the ground that nothing is allowed, and after them what
/// every container may use.
pub(super) fn rules(listed: &[LinuxDeviceCgroup]) -> Result<DeviceRules> {
    let mut rules = vec![DeviceRule::everything(false)];
    for (index, entry) in listed.iter().enumerate() {
        rules.push(rule(index, entry)?);
    }
    rules.extend(DeviceRules::baseline());
    Ok(DeviceRules::new(rules))
}

fn rule(index: usize, entry: &LinuxDeviceCgroup) -> Result<DeviceRule> {
    let member = |name: &str| format!("linux.resources.devices[{index}].{name}");
    let kind = match entry.typ().unwrap_or_default() {
        LinuxDeviceType::A => Kind::All,
        LinuxDeviceType::B => Kind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
        LinuxDeviceType::P => {
            return Err(refuse(member("type"), "is \"p\", a FIFO; use a, b or c"));
        }
    };
    let number = |name: &str, value: Option<i64>| match value {
        // Some engines write "any" as -1, as the v1 interface once did.
        None | Some(-1) => Ok(None),
        Some(value) => match u32::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(refuse(member(name), format!("is {value}; use 0 to 4294967295"))),
        },
    };
    let access = match entry.access().as_deref() {
        None | Some("") => Access::ALL,
        Some(text) => text.parse().map_err(|_| {
            refuse(member("access"), format!("is {text:?}; use a combination of r, w and m"))
        })?,
    };
    Ok(DeviceRule {
        allow: entry.allow(),
        kind,
        major: number("major", entry.major())?,
        minor: number("minor", entry.minor())?,
        access,
    })
}
