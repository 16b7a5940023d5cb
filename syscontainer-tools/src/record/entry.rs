//! The elements of a record: names and types as the predecessor wrote them, its texts unchanged by
//! reading and writing.

use serde::{Deserialize, Serialize};

/// A path: `host:container:options`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BindEntry(pub String);

/// What a path led to when it was added: the mount inside is known by it, whatever became of the
/// path since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindSource {
    /// The path inside.
    pub path: String,
    /// The file system of the source, as stat(2) says it.
    pub dev: u64,
    /// The source in it.
    pub ino: u64,
}

/// A device node and its rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceEntry {
    /// `b` or `c`.
    #[serde(rename = "Type")]
    pub kind: String,
    pub minor: u32,
    pub major: u32,
    /// As it was typed; may be a symlink.
    pub path_on_host: String,
    pub path_in_container: String,
    /// A subset of `rwm`.
    pub cgroup_permissions: String,
    /// The host path of the whole disk, for a partition that came with it.
    pub parent: String,
    /// What the device is called by itself, which a kernel name is not: `sda` and `sdb` may swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<DeviceIdentity>,
}

/// A name that stays with a disk across boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceIdentity {
    /// `wwid`, `dm-uuid` or `serial`: where in sysfs the value stands.
    pub by: String,
    pub value: String,
}

/// A limit of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitEntry {
    pub major: u32,
    pub minor: u32,
    /// The host device as it was typed.
    pub path: String,
    /// A decimal number.
    pub value: String,
}

/// A link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NicEntry {
    /// The first address with its prefix length.
    pub ip: String,
    pub mac: String,
    pub mtu: u32,
    pub qlen: u32,
    /// `veth` or `eth`.
    #[serde(rename = "Type")]
    pub kind: String,
    pub bridge: String,
    pub host_nic_name: String,
    pub ctr_nic_name: String,
    /// Further addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Bits a second into the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_rate: Option<u64>,
    /// The same out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_rate: Option<u64>,
}

/// A route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteEntry {
    pub dest: String,
    pub src: String,
    pub gw: String,
    pub dev: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
}
