//! What a cgroup may be told, in plain values: the `linux.resources` of the OCI runtime
//! specification, parsed and typed.
//!
//! Errors name a member as that document does, so that whoever wrote it finds it.

use std::fmt;

use super::devices::DeviceRules;
use crate::device::DeviceNumber;

/// A bound that can be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// No bound.
    Max,
    /// At most this much.
    At(u64),
}

impl Bound {
    /// As a v1 file takes it.
    pub(super) fn v1(self) -> String {
        match self {
            Self::Max => "-1".to_owned(),
            Self::At(value) => value.to_string(),
        }
    }

    /// The number, where there is one.
    pub fn at(self) -> Option<u64> {
        match self {
            Self::Max => None,
            Self::At(value) => Some(value),
        }
    }
}

/// As a v2 file takes it.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::At(value) => value.fmt(f),
        }
    }
}

/// Everything that can be set; what is `None` or empty stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// `cpu`, without the CPUs to run on.
    pub cpu: Cpu,
    /// `cpu.cpus` and `cpu.mems`.
    pub cpuset: Cpuset,
    /// `memory`.
    pub memory: Memory,
    /// `pids.limit`.
    pub pids: Option<Bound>,
    /// `blockIO`.
    pub block: Block,
    /// `hugepageLimits`.
    pub huge_pages: Vec<HugePages>,
    /// `rdma`.
    pub rdma: Vec<Rdma>,
    /// `network`.
    pub network: Network,
    /// `unified`: files of the v2 cgroup and what to write to them.
    pub unified: Vec<(String, String)>,
    /// `devices`: replaces all rules.
    pub devices: Option<DeviceRules>,
}

/// CPU time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cpu {
    /// Weight among siblings in v1 terms, 2 to 262144, 1024 being usual.
    pub shares: Option<u64>,
    /// CPU time within a period.
    pub quota_us: Option<Bound>,
    /// Length of a period.
    pub period_us: Option<u64>,
    /// Time that may be saved up from earlier periods.
    pub burst_us: Option<u64>,
    /// Run only when nothing else wants to.
    pub idle: Option<bool>,
    /// Realtime CPU time within a period; -1 for no bound.
    pub realtime_runtime_us: Option<i64>,
    /// Length of a period for realtime.
    pub realtime_period_us: Option<u64>,
}

/// Where to run, as lists like `0-3,8`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cpuset {
    /// CPUs.
    pub cpus: Option<String>,
    /// Memory nodes.
    pub mems: Option<String>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Most it may use.
    pub limit: Option<Bound>,
    /// What it is left with when others need some.
    pub reservation: Option<Bound>,
    /// Memory and swap together, as v1 counts.
    pub swap: Option<Bound>,
    /// Kernel memory.
    pub kernel: Option<Bound>,
    /// Socket buffers.
    pub kernel_tcp: Option<Bound>,
    /// Tendency to swap, 0 to 100 (200 from Linux 5.8).
    pub swappiness: Option<u64>,
    /// Stop instead of killing a process when it is full.
    pub disable_oom_killer: Option<bool>,
    /// Refuse a limit below what is in use.
    pub check_before_update: bool,
}

/// Disk traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// Share among siblings, 10 to 1000.
    pub weight: Option<u16>,
    /// Share of the cgroup's own processes against its children.
    pub leaf_weight: Option<u16>,
    /// Shares for one disk.
    pub devices: Vec<DeviceWeight>,
    /// Upper bounds for one disk.
    pub throttles: Vec<Throttle>,
}

/// Share of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceWeight {
    /// Which disk.
    pub device: DeviceNumber,
    /// As [`Block::weight`]; 0: as other disks.
    pub weight: Option<u16>,
    /// As [`Block::leaf_weight`].
    pub leaf_weight: Option<u16>,
}

/// Upper bound of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Which disk.
    pub device: DeviceNumber,
    /// What is counted.
    pub kind: ThrottleKind,
    /// In a second; 0 lifts the bound.
    pub rate: u64,
}

/// What a throttle counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleKind {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Reads.
    ReadOperations,
    /// Writes.
    WriteOperations,
}

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugePages {
    /// `2MB`, `1GB`.
    pub page_size: String,
    /// In bytes.
    pub limit: u64,
}

/// Handles of one RDMA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdma {
    /// `mlx5_0`.
    pub device: String,
    /// Device handles.
    pub handles: Option<u32>,
    /// Objects.
    pub objects: Option<u32>,
}

/// Marks of outgoing packets (v1 only).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// `net_cls.classid`.
    pub class_id: Option<u32>,
    /// `net_prio.ifpriomap`: link and priority.
    pub priorities: Vec<(String, u32)>,
}
