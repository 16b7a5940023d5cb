//! What has to be known of a bundle's `config.json` once its container runs.
//!
//! A few members, read leniently: other engines write documents that are newer or older than the
//! types of the `oci-spec` crate, and here nothing is written back.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::file;
use crate::layout::bundle;

/// The members that are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// Where the tree is.
    #[serde(deserialize_with = "null_is_none")]
    pub root: RootPath,
    /// The program.
    #[serde(deserialize_with = "null_is_none")]
    pub process: Process,
    /// What is Linux's.
    #[serde(deserialize_with = "null_is_none")]
    pub linux: Linux,
    /// Programs that are run at turns of its life.
    #[serde(deserialize_with = "null_is_none")]
    pub hooks: Hooks,
}

/// `root`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RootPath {
    /// Absolute, or relative to the bundle.
    pub path: PathBuf,
}

/// `process`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Process {
    /// `KEY=VALUE`.
    #[serde(deserialize_with = "null_is_none")]
    pub env: Vec<String>,
}

/// `linux`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Linux {
    /// Path in each hierarchy, or `slice:prefix:name`.
    pub cgroups_path: Option<String>,
    /// Limits.
    #[serde(deserialize_with = "null_is_none")]
    pub resources: Resources,
    /// The security label of its mounts.
    pub mount_label: Option<String>,
}

/// `linux.resources`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Device rules; the last that matches wins. `None`: no device is guarded by the document.
    pub devices: Option<Vec<DeviceAccess>>,
}

/// An element of `linux.resources.devices`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DeviceAccess {
    /// Granted or taken away.
    pub allow: bool,
    /// `a`, `b`, `c`; absent: `a`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Absent or -1: every one.
    pub major: Option<i64>,
    /// Absent or -1: every one.
    pub minor: Option<i64>,
    /// Of `rwm`; absent: all.
    pub access: Option<String>,
}

/// `hooks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hooks {
    /// Before the program starts.
    #[serde(deserialize_with = "null_is_none")]
    pub prestart: Vec<Hook>,
    /// The newer word for it.
    #[serde(deserialize_with = "null_is_none")]
    pub create_runtime: Vec<Hook>,
}

/// A program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Where it is.
    pub path: PathBuf,
}

/// Some engines write `null` for what is not there.
fn null_is_none<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Spec {
    /// Reads the document of the bundle at `dir`.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(bundle::SPEC);
        file::read_json(&path)?
            .ok_or_else(|| Error::Corrupt { path, reason: "there is no such file".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_members_and_nulls_are_no_hindrance() {
        let text = r#"{"ociVersion":"9","root":{"path":"rootfs","x":1},"process":{"env":["A=b"]},
            "linux":{"cgroupsPath":"/isulad/x","resources":{"devices":[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":-1}]},"future":{}},
            "hooks":{"prestart":null,"createRuntime":[{"path":"/h"}]}}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        assert_eq!(spec.root.path, Path::new("rootfs"));
        let devices = spec.linux.resources.devices.unwrap();
        assert_eq!((devices[0].allow, devices[1].minor), (false, Some(-1)));
        assert_eq!(spec.hooks.create_runtime[0].path, Path::new("/h"));
    }
}
