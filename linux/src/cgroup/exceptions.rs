//! What a v1 devices controller can hold: one answer for every device, and exceptions to it.
//!
//! Pure. The controller knows no order of rules, so the list is run once to the state it ends in.
//! It differs from the list in two ways (security/device_cgroup.c): an exception is taken back only
//! by its exact numbers, and an open for reading and writing must be covered by one exception.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::devices::{Access, DeviceRule, DeviceRules, Kind};
use crate::error::{Errno, Error, Result};

/// Devices an exception is about; never [`Kind::All`].
type Key = (Kind, Option<u32>, Option<u32>);

/// The state of one controller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Exceptions {
    /// What holds for a device without an exception.
    pub(super) default_allow: bool,
    list: BTreeMap<Key, Access>,
}

impl Exceptions {
    /// The state that decides as `rules` do, or which rule has none.
    ///
    /// A rule that takes only mknod back from a part of a wildcard is passed over: the node may be
    /// made then, and still not be opened.
    pub(super) fn from_rules(rules: &DeviceRules) -> Result<Self> {
        let mut state = Self::default();
        for rule in rules.rules() {
            if rule.matches_every_device() && rule.access == Access::ALL {
                state = Self { default_allow: rule.allow, list: BTreeMap::new() };
                continue;
            }
            let kinds: &[Kind] = match rule.kind {
                Kind::All => &[Kind::Block, Kind::Char],
                Kind::Block => &[Kind::Block],
                Kind::Char => &[Kind::Char],
            };
            for kind in kinds {
                let key = (*kind, rule.major, rule.minor);
                if rule.allow == state.default_allow {
                    state.remove(key, rule)?;
                } else {
                    state.add(key, rule.access);
                }
            }
        }
        if !state.default_allow {
            state.cover_open_for_both();
        }
        Ok(state)
    }

    /// The text of `devices.list`. Exceptions to a general permission are not shown by the kernel.
    pub(super) fn from_list(text: &str) -> Option<Self> {
        let mut state = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
            let number = |text: &str| match text {
                "*" => Some(None),
                digits => digits.parse().ok().map(Some),
            };
            let (major, minor) = numbers.split_once(':')?;
            let kind = match kind {
                "a" => return Some(Self { default_allow: true, list: BTreeMap::new() }),
                "b" => Kind::Block,
                "c" => Kind::Char,
                _ => return None,
            };
            state.add((kind, number(major)?, number(minor)?), access.parse().ok()?);
        }
        Some(state)
    }

    /// Whether one exception, or the default, lets all of `rule` through.
    pub(super) fn lets_through(&self, rule: &DeviceRule) -> bool {
        let key = (rule.kind, rule.major, rule.minor);
        let covering = |(&k, &access): (&Key, &Access)| {
            covers(k, key) && access.and(rule.access) == rule.access
        };
        self.default_allow || self.list.iter().any(covering)
    }

    /// Lines for `devices.allow` (or `devices.deny` where the default is to allow) that are in
    /// `self` and not in `other`.
    pub(super) fn lines_beyond(&self, other: &Self) -> Vec<String> {
        let missing = self.list.iter().map(|(key, access)| {
            let there = other.list.get(key).copied().unwrap_or_default();
            (key, access.without(there))
        });
        missing
            .filter(|(_, access)| !access.is_empty())
            .map(|(&(kind, major, minor), access)| {
                DeviceRule::allow(kind, major, minor, access).to_string()
            })
            .collect()
    }

    fn add(&mut self, key: Key, access: Access) {
        if access.is_empty() {
            return;
        }
        let entry = self.list.entry(key).or_default();
        *entry = entry.or(access);
    }

    fn remove(&mut self, key: Key, rule: &DeviceRule) -> Result<()> {
        let met: Vec<Key> = self.list.keys().copied().filter(|&k| meet(k, key).is_some()).collect();
        for other in met {
            let Entry::Occupied(mut entry) = self.list.entry(other) else { continue };
            let shared = entry.get().and(rule.access);
            if covers(key, other) {
                let rest = entry.get().without(rule.access);
                *entry.get_mut() = rest;
                if rest.is_empty() {
                    entry.remove();
                }
            } else if !(shared.is_empty() || !self.default_allow && shared == Access::MKNOD) {
                let (kind, major, minor) = other;
                let wildcard = DeviceRule::allow(kind, major, minor, shared);
                let verb = if rule.allow { "allow" } else { "deny" };
                let call = format!("device rule \"{verb} {rule}\" within \"{wildcard}\"");
                return Err(Error::new(call, Errno::OPNOTSUPP).with_hint(
                    "cgroup v1 cannot except a part of a wildcard; list the devices one by one",
                ));
            }
        }
        Ok(())
    }

    /// Where one exception lets a device be read and another lets it be written, adds one for both.
    fn cover_open_for_both(&mut self) {
        let open = Access::READ.or(Access::WRITE);
        loop {
            let mut more = Vec::new();
            for (&a, &first) in &self.list {
                for (&b, &second) in &self.list {
                    let both = first.or(second).and(open);
                    let one_suffices = first.and(open) == both || second.and(open) == both;
                    let Some(key) = meet(a, b).filter(|_| !one_suffices) else { continue };
                    let covered =
                        |(&k, &access): (&Key, &Access)| covers(k, key) && access.and(both) == both;
                    if !self.list.iter().any(covered) {
                        more.push((key, both));
                    }
                }
            }
            if more.is_empty() {
                return;
            }
            for (key, access) in more {
                self.add(key, access);
            }
        }
    }
}

impl DeviceRules {
    /// The same as a list of what is allowed, for those who know nothing else; `None` if that is
    /// every device.
    ///
    /// # Errors
    /// It has no such form: something is taken away from a general permission, or from a part of a
    /// wildcard.
    pub fn grants(&self) -> Result<Option<Vec<DeviceRule>>> {
        let state = Exceptions::from_rules(self)?;
        if !state.default_allow {
            let rule = |(&(kind, major, minor), &access): (&Key, &Access)| {
                DeviceRule::allow(kind, major, minor, access)
            };
            return Ok(Some(state.list.iter().map(rule).collect()));
        }
        match state.lines_beyond(&Exceptions::default()).first() {
            None => Ok(None),
            Some(line) => {
                let call = format!("device rule \"deny {line}\" after one that allows all");
                Err(Error::new(call, Errno::OPNOTSUPP)
                    .with_hint("list the devices that are allowed one by one"))
            }
        }
    }
}

fn covers((kind, major, minor): Key, other: Key) -> bool {
    kind == other.0
        && (major.is_none() || major == other.1)
        && (minor.is_none() || minor == other.2)
}

/// The devices both speak of.
fn meet((kind, major, minor): Key, other: Key) -> Option<Key> {
    let number = |a: Option<u32>, b: Option<u32>| match (a, b) {
        (Some(a), Some(b)) => (a == b).then_some(Some(a)),
        (a, b) => Some(a.or(b)),
    };
    (kind == other.0)
        .then(|| Some((kind, number(major, other.1)?, number(minor, other.2)?)))
        .flatten()
}

#[cfg(test)]
mod tests;
