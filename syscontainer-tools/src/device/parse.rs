//! `host[:container][:permissions]`, as the device commands take it. Text in, values out.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::path::clean;

/// What the device cgroup lets a container do with a device: a subset of read, write, mknod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevicePermissions {
    read: bool,
    write: bool,
    mknod: bool,
}

/// One device argument. An absent container path means: as on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceArgument {
    /// Absent only in a removal, which may name the container's side alone.
    pub host_path: Option<PathBuf>,
    pub container_path: Option<PathBuf>,
    pub permissions: DevicePermissions,
}

/// Why an argument names no device. The texts are the predecessor's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed to parse device: {argument}, {reason}")]
pub struct DeviceError {
    argument: String,
    reason: String,
}

impl DevicePermissions {
    /// Read, write and mknod: the default.
    pub const ALL: Self = Self { read: true, write: true, mknod: true };

    /// Parses letters of `rwm`, each at most once, at least one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut permissions = Self { read: false, write: false, mknod: false };
        for letter in text.chars() {
            let field = match letter {
                'r' => &mut permissions.read,
                'w' => &mut permissions.write,
                'm' => &mut permissions.mknod,
                _ => return None,
            };
            if std::mem::replace(field, true) {
                return None;
            }
        }
        (!text.is_empty()).then_some(permissions)
    }
}

impl fmt::Display for DevicePermissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')];
        letters.iter().filter(|(set, _)| *set).try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// Parses what `add-device` takes.
///
/// # Errors
/// When the host path is missing, a path is not absolute, or a permission is none.
pub fn parse_addition(argument: &str) -> Result<DeviceArgument, DeviceError> {
    let parsed = parse(argument)?;
    if parsed.host_path.is_none() {
        return Err(fail(argument, format!("invalid device specification: {argument}")));
    }
    Ok(parsed)
}

/// Parses what `remove-device` takes: either side may be empty.
///
/// # Errors
/// When both sides are empty, a path is not absolute, or a permission is none.
pub fn parse_removal(argument: &str) -> Result<DeviceArgument, DeviceError> {
    let parsed = parse(argument)?;
    if parsed.host_path.is_none() && parsed.container_path.is_none() {
        return Err(fail(
            argument,
            "either of host path and container path should be assigned".into(),
        ));
    }
    Ok(parsed)
}

fn parse(argument: &str) -> Result<DeviceArgument, DeviceError> {
    let parts: Vec<&str> = argument.split(':').collect();
    let (host, container, permissions) = match parts[..] {
        [host] => (host, "", None),
        // A device named like a permission would need its full path, which starts with a slash.
        [host, second] => match DevicePermissions::parse(second) {
            Some(permissions) => (host, "", Some(permissions)),
            None => (host, second, None),
        },
        [host, container, ""] => (host, container, None),
        [host, container, third] => match DevicePermissions::parse(third) {
            Some(permissions) => (host, container, Some(permissions)),
            None => return Err(fail(argument, format!("invalid permission: {third}"))),
        },
        _ => return Err(fail(argument, format!("invalid device specification: {argument}"))),
    };
    let side = |path: &str, name: &str| match path {
        "" => Ok(None),
        path if path.starts_with('/') => Ok(Some(clean(Path::new(path)))),
        path => Err(fail(argument, format!("{name} should be an absolute path: {path}"))),
    };
    Ok(DeviceArgument {
        host_path: side(host, "hostpath")?,
        container_path: side(container, "containerpath")?,
        permissions: permissions.unwrap_or(DevicePermissions::ALL),
    })
}

fn fail(argument: &str, reason: String) -> DeviceError {
    DeviceError { argument: argument.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(parsed: Result<DeviceArgument, DeviceError>, expected: &Expect) {
        let side =
            |path: Option<PathBuf>| path.map_or("-".into(), |path| path.display().to_string());
        let text = match parsed {
            Ok(device) => {
                let (host, container) = (side(device.host_path), side(device.container_path));
                format!("{host} {container} {}", device.permissions)
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn the_second_part_is_a_permission_if_it_can_be_one() {
        check(parse_addition("/dev/sdb"), &expect!["/dev/sdb - rwm"]);
        check(parse_addition("/dev/sdb:rw"), &expect!["/dev/sdb - rw"]);
        check(parse_addition("/dev/sdb:/dev/xvdb"), &expect!["/dev/sdb /dev/xvdb rwm"]);
        check(parse_addition("/dev/sdb:/dev/xvdb:r"), &expect!["/dev/sdb /dev/xvdb r"]);
        check(parse_addition("/dev/sdb::mr"), &expect!["/dev/sdb - rm"]);
        check(parse_addition("/dev/sdb:/dev/xvdb:"), &expect!["/dev/sdb /dev/xvdb rwm"]);
        check(parse_addition("/dev/../dev//sdb"), &expect!["/dev/sdb - rwm"]);
    }

    #[test]
    fn what_is_refused_says_why() {
        check(
            parse_addition("dev/sdb"),
            &expect![
                "Failed to parse device: dev/sdb, hostpath should be an absolute path: dev/sdb"
            ],
        );
        check(
            parse_addition("/dev/sdb:rr"),
            &expect![
                "Failed to parse device: /dev/sdb:rr, containerpath should be an absolute path: rr"
            ],
        );
        check(
            parse_addition("/dev/sdb:/dev/x:rx"),
            &expect!["Failed to parse device: /dev/sdb:/dev/x:rx, invalid permission: rx"],
        );
        check(
            parse_addition("/a:/b:r:w"),
            &expect!["Failed to parse device: /a:/b:r:w, invalid device specification: /a:/b:r:w"],
        );
        check(
            parse_addition(":/dev/x"),
            &expect!["Failed to parse device: :/dev/x, invalid device specification: :/dev/x"],
        );
        check(
            parse_removal(":"),
            &expect![
                "Failed to parse device: :, either of host path and container path should be assigned"
            ],
        );
    }

    #[test]
    fn a_removal_may_name_one_side() {
        check(parse_removal(":/dev/x"), &expect!["- /dev/x rwm"]);
        check(parse_removal("/dev/x"), &expect!["/dev/x - rwm"]);
    }

    proptest! {
        #[test]
        fn no_argument_panics(argument in "\\PC*") {
            let _ = parse_addition(&argument);
            let _ = parse_removal(&argument);
        }

        #[test]
        fn permissions_print_as_they_parse(text in "r?w?m?") {
            if let Some(permissions) = DevicePermissions::parse(&text) {
                prop_assert_eq!(permissions.to_string(), text);
            }
        }
    }
}
