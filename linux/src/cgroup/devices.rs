//! Which devices the processes of a cgroup may use: rules, and what they mean.
//!
//! Pure. Rules are a list in which the last match wins, for each of read, write and mknod on its
//! own; what no rule matches is denied. [`program`](super::program) turns the list into the v2
//! program, `exceptions` into what a v1 controller can hold.

use std::fmt;
use std::str::FromStr;

use crate::error::{Errno, Error, Result};

/// Set of accesses: read, write, mknod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Access(u8);

impl Access {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Making a node.
    pub const MKNOD: Self = Self(1);
    /// Opening for reading.
    pub const READ: Self = Self(2);
    /// Opening for writing.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// The bits as `struct bpf_cgroup_dev_ctx` has them (BPF_DEVCG_ACC_*).
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// Whether no access is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is here and not there.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromStr for Access {
    type Err = Error;

    /// `r`, `w` and `m` in any order, each once at most, at least one.
    fn from_str(text: &str) -> Result<Self> {
        let mut access = Self::NONE;
        for letter in text.chars() {
            let one = match letter {
                'r' => Self::READ,
                'w' => Self::WRITE,
                'm' => Self::MKNOD,
                _ => Self::NONE,
            };
            if one.is_empty() || !access.and(one).is_empty() {
                access = Self::NONE;
                break;
            }
            access = access.or(one);
        }
        if access.is_empty() {
            return Err(Error::new(format!("device access {text:?}"), Errno::INVAL)
                .with_hint("use a combination of r, w and m"));
        }
        Ok(access)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (one, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")] {
            if !self.and(one).is_empty() {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// Which devices a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Block and character devices.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// One line: who, what, and whether.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceRule {
    /// Granted or taken away.
    pub allow: bool,
    /// Block, character or both.
    pub kind: Kind,
    /// `None`: every major number.
    pub major: Option<u32>,
    /// `None`: every minor number.
    pub minor: Option<u32>,
    /// The accesses meant.
    pub access: Access,
}

impl DeviceRule {
    /// Every access to every device.
    pub const fn everything(allow: bool) -> Self {
        Self { allow, kind: Kind::All, major: None, minor: None, access: Access::ALL }
    }

    /// A grant of `access` to devices `major:minor`.
    pub const fn allow(kind: Kind, major: Option<u32>, minor: Option<u32>, access: Access) -> Self {
        Self { allow: true, kind, major, minor, access }
    }

    /// Whether it decides about every device, if perhaps not about every access.
    pub(super) fn matches_every_device(&self) -> bool {
        self.kind == Kind::All && self.major.is_none() && self.minor.is_none()
    }
}

/// As a v1 controller reads it, without saying whether it allows: `c 1:3 rwm`.
impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".into(), |n| n.to_string());
        let kind = match self.kind {
            Kind::All => 'a',
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        write!(f, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

/// Rules in order; the last one that matches decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceRules(Vec<DeviceRule>);

impl DeviceRules {
    /// The rules in the order given.
    pub fn new(rules: Vec<DeviceRule>) -> Self {
        Self(rules)
    }

    /// What a container may do with devices when nobody asks for more: make any node, use the
    /// harmless ones (the default devices of the OCI runtime specification, pseudo-terminals).
    pub fn baseline() -> Vec<DeviceRule> {
        let char = |major, minor| DeviceRule::allow(Kind::Char, Some(major), minor, Access::ALL);
        vec![
            DeviceRule::allow(Kind::Char, None, None, Access::MKNOD),
            DeviceRule::allow(Kind::Block, None, None, Access::MKNOD),
            char(1, Some(3)), // null
            char(1, Some(5)), // zero
            char(1, Some(7)), // full
            char(1, Some(8)), // random
            char(1, Some(9)), // urandom
            char(5, Some(0)), // tty
            char(5, Some(2)), // ptmx
            char(136, None),  // pts
        ]
    }

    /// The rules, first to last.
    pub fn rules(&self) -> &[DeviceRule] {
        &self.0
    }

    /// Adds a rule that wins over all before it.
    pub fn push(&mut self, rule: DeviceRule) {
        self.0.push(rule);
    }

    /// Of `access` to this device, what the rules grant.
    pub fn granted(&self, kind: Kind, major: u32, minor: u32, access: Access) -> Access {
        let mut granted = Access::NONE;
        for rule in &self.0 {
            let matches = (rule.kind == Kind::All || rule.kind == kind)
                && rule.major.is_none_or(|number| number == major)
                && rule.minor.is_none_or(|number| number == minor);
            match (matches, rule.allow) {
                (false, _) => {}
                (true, true) => granted = granted.or(rule.access),
                (true, false) => granted = granted.without(rule.access),
            }
        }
        granted.and(access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_parsed_and_printed() {
        for (input, printed) in [("rwm", "rwm"), ("mr", "rm"), ("w", "w")] {
            assert_eq!(input.parse::<Access>().unwrap().to_string(), printed);
        }
        for input in ["", "x", "rr", "rwmr"] {
            let error = input.parse::<Access>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "device access {input:?}: invalid argument (EINVAL); \
                     use a combination of r, w and m"
                )
            );
        }
    }

    #[test]
    fn a_rule_prints_as_the_controller_reads_it() {
        let rule = DeviceRule::allow(Kind::Block, Some(8), None, Access::READ.or(Access::MKNOD));
        assert_eq!(rule.to_string(), "b 8:* rm");
        assert_eq!(DeviceRule::everything(false).to_string(), "a *:* rwm");
    }

    #[test]
    fn the_last_match_wins_for_each_access() {
        let mut rules = DeviceRules::new(DeviceRules::baseline());
        rules.push(DeviceRule {
            allow: false,
            ..DeviceRule::allow(Kind::Char, Some(1), Some(3), Access::WRITE)
        });
        let granted =
            |major, minor| rules.granted(Kind::Char, major, minor, Access::ALL).to_string();
        assert_eq!(granted(1, 3), "rm");
        assert_eq!(granted(1, 5), "rwm");
        assert_eq!(granted(136, 77), "rwm");
        assert_eq!(granted(10, 229), "m");
    }
}
