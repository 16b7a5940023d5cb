//! Which devices a container may use: what its bundle grants, and what was added. Pure.

use container::spec::{DeviceAccess, Spec};
use linux::cgroup::{Access, DeviceRule, DeviceRules, devices::Kind};

use crate::record::{DeviceEntry, Record};

/// The rules of the bundle, in the order the runtime has them, and then those of the record.
pub(crate) fn of(spec: &Spec, record: &Record) -> DeviceRules {
    let listed = spec.linux.resources.devices.as_deref().unwrap_or_default();
    let mut rules = vec![DeviceRule::everything(false)];
    rules.extend(listed.iter().filter_map(of_spec));
    rules.extend(DeviceRules::baseline());
    rules.extend(record.devices.iter().filter_map(of_entry));
    DeviceRules::new(rules)
}

/// The rule of one recorded device; none for one that is not understood, which is not applied.
pub(crate) fn of_entry(device: &DeviceEntry) -> Option<DeviceRule> {
    let kind = kind(&device.kind)?;
    let access = device.cgroup_permissions.parse().ok()?;
    Some(DeviceRule::allow(kind, Some(device.major), Some(device.minor), access))
}

/// What the runtime refuses it would not have started with.
fn of_spec(device: &DeviceAccess) -> Option<DeviceRule> {
    let kind = match device.kind.as_deref() {
        None | Some("a" | "") => Kind::All,
        Some("u") => Kind::Char,
        Some(letter) => kind(letter)?,
    };
    let number = |number: Option<i64>| match number {
        None | Some(-1) => Some(None),
        Some(number) => u32::try_from(number).ok().map(Some),
    };
    let access = match device.access.as_deref() {
        None | Some("") => Access::ALL,
        Some(text) => text.parse().ok()?,
    };
    let (major, minor) = (number(device.major)?, number(device.minor)?);
    Some(DeviceRule { allow: device.allow, kind, major, minor, access })
}

fn kind(letter: &str) -> Option<Kind> {
    match letter {
        "b" => Some(Kind::Block),
        "c" => Some(Kind::Char),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_comes_after_what_the_bundle_says() {
        let spec: Spec = serde_json::from_str(
            r#"{"linux":{"resources":{"devices":[{"allow":false},
               {"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
               {"allow":true,"type":"b","major":8,"minor":-1,"access":"r"}]}}}"#,
        )
        .unwrap();
        let device = DeviceEntry {
            kind: "b".into(),
            major: 8,
            minor: 16,
            cgroup_permissions: "rwm".into(),
            ..DeviceEntry::default()
        };
        let with = Record { devices: vec![device], ..Record::default() };
        let granted = |record: &Record, kind, major, minor| {
            of(&spec, record).granted(kind, major, minor, Access::ALL).to_string()
        };
        assert_eq!(granted(&with, Kind::Block, 8, 16), "rwm");
        assert_eq!(granted(&Record::default(), Kind::Block, 8, 16), "rm");
        assert_eq!(granted(&with, Kind::Char, 10, 229), "rwm");
        assert_eq!(granted(&with, Kind::Char, 10, 230), "m");
        assert_eq!(granted(&with, Kind::Char, 1, 3), "rwm");
    }
}
