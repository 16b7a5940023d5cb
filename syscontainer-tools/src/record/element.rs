//! The elements of a record under one kind of name, for who does not ask which kind they are:
//! `device /dev/xvdb`, `path /data`, `nic eth1`, `route {..}`, each by what it is called inside.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{BindEntry, DeviceEntry, LimitEntry, NicEntry, Record, RouteEntry};
use crate::device::LimitKind;

impl DeviceEntry {
    pub(crate) fn element(&self) -> String {
        format!("device {}", self.path_in_container)
    }
}

impl BindEntry {
    pub(crate) fn element(&self) -> String {
        match crate::path::parsed(self) {
            Ok(mapping) => format!("path {}", mapping.container_path.display()),
            Err(_) => format!("path {}", self.0),
        }
    }
}

impl NicEntry {
    pub(crate) fn element(&self) -> String {
        format!("nic {}", self.ctr_nic_name)
    }
}

impl RouteEntry {
    pub(crate) fn element(&self) -> String {
        format!("route {}", crate::route::plan::shown(self))
    }
}

impl Record {
    /// Each element's name, and all that is recorded of it, in the order in which they are applied.
    pub(crate) fn elements(&self) -> Vec<(String, String)> {
        fn text(entry: &impl Serialize) -> String {
            serde_json::to_string(entry).unwrap_or_default()
        }
        let mut all = Vec::new();
        all.extend(self.devices.iter().map(|device| (device.element(), text(device))));
        for kind in LimitKind::ALL {
            let name = |limit: &LimitEntry| format!("{} {}", kind.name(), limit.path);
            all.extend(kind.of(self).iter().map(|limit| (name(limit), text(limit))));
        }
        all.extend(self.binds.iter().map(|bind| (bind.element(), text(bind))));
        all.extend(self.nics.iter().map(|nic| (nic.element(), text(nic))));
        all.extend(self.routes.iter().map(|route| (route.element(), text(route))));
        all
    }

    /// The part of it whose names are kept. Limits stay with their device.
    pub(crate) fn part(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut part = self.clone();
        part.devices.retain(|device| keep(&device.element()));
        for kind in LimitKind::ALL {
            let is_of = |limit: &LimitEntry, device: &DeviceEntry| {
                (device.major, device.minor) == (limit.major, limit.minor)
            };
            kind.of_mut(&mut part).retain(|limit| {
                let mut its = self.devices.iter().filter(|device| is_of(limit, device)).peekable();
                its.peek().is_none() || its.any(|device| keep(&device.element()))
            });
        }
        part.binds.retain(|bind| keep(&bind.element()));
        part.bind_sources.retain(|source| keep(&format!("path {}", source.path)));
        part.nics.retain(|nic| keep(&nic.element()));
        part.routes.retain(|route| keep(&route.element()));
        part
    }

    /// It, with what it has and `before` had not marked as what a start goes on without.
    pub(crate) fn with_new_optional(&self, before: &Self) -> Self {
        let known: BTreeSet<String> = before.elements().into_iter().map(|(name, _)| name).collect();
        let mut marked = self.clone();
        let names = self.elements().into_iter().map(|(name, _)| name);
        marked.may_fail.extend(names.filter(|name| !known.contains(name)));
        marked
    }

    /// Forgets the marks of what is not in it any more.
    pub(super) fn prune(&mut self) {
        if self.may_fail.is_empty() {
            return;
        }
        let names: BTreeSet<String> = self.elements().into_iter().map(|(name, _)| name).collect();
        self.may_fail.retain(|name| names.contains(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_limits_of_its_devices() {
        let device = |inside: &str, minor| DeviceEntry {
            path_in_container: inside.into(),
            minor,
            ..DeviceEntry::default()
        };
        let limit = |minor| LimitEntry { minor, ..LimitEntry::default() };
        let record = Record {
            devices: vec![device("/dev/a", 1), device("/dev/b", 2), device("/dev/c", 2)],
            read_bps: vec![limit(1), limit(2)],
            binds: vec![BindEntry("/h:/m".into())],
            ..Record::default()
        };
        let part = record.part(|name| name != "device /dev/a" && name != "device /dev/b");
        assert_eq!((part.devices.len(), part.binds.len()), (1, 1));
        assert_eq!(part.read_bps, [limit(2)], "another device still has it");
        assert_eq!(record.part(|_| false).read_bps, []);
    }

    #[test]
    fn marks_go_with_their_elements() {
        let before = Record { binds: vec![BindEntry("/h:/m".into())], ..Record::default() };
        let mut next = before.clone();
        next.binds.push(BindEntry("/h:/n:ro".into()));
        let mut marked = next.with_new_optional(&before);
        assert_eq!(marked.may_fail.iter().collect::<Vec<_>>(), ["path /n"]);
        marked.binds.pop();
        marked.prune();
        assert!(marked.may_fail.is_empty());
    }
}
