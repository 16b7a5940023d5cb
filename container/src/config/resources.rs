//! What a container may use.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Limits; `None` is the kernel's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Relative weight.
    pub cpu_shares: Option<u64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds in each period; negative is no limit.
    pub cpu_quota: Option<i64>,
    /// Thousand millionths of a CPU, when it was asked that way.
    pub nano_cpus: Option<u64>,
    /// Microseconds of real time in each real-time period.
    pub cpu_rt_runtime: Option<i64>,
    /// Microseconds.
    pub cpu_rt_period: Option<u64>,
    /// List of CPUs.
    pub cpuset_cpus: Option<String>,
    /// List of memory nodes.
    pub cpuset_mems: Option<String>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes below which nothing is reclaimed first.
    pub memory_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Bytes of kernel memory.
    pub kernel_memory: Option<i64>,
    /// Out of memory it waits instead of being killed.
    pub oom_kill_disable: bool,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Tasks; negative is no limit.
    pub pids_limit: Option<i64>,
    /// Open files.
    pub files_limit: Option<i64>,
    /// That is a limit of each process, and among `ulimits`; else it needs the `files` controller.
    pub files_limit_by_process: bool,
    /// 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Weight of one device.
    pub blkio_weight_device: Vec<DeviceValue>,
    /// Bytes a second.
    pub device_read_bps: Vec<DeviceValue>,
    /// Bytes a second.
    pub device_write_bps: Vec<DeviceValue>,
    /// Operations a second.
    pub device_read_iops: Vec<DeviceValue>,
    /// Operations a second.
    pub device_write_iops: Vec<DeviceValue>,
    /// Bytes of huge pages by page size.
    pub hugetlb: Vec<Hugetlb>,
    /// Resource limits of its processes.
    pub ulimits: Vec<Ulimit>,
    /// Further device rules, as they were written.
    pub device_cgroup_rules: Vec<String>,
}

/// A number for one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceValue {
    /// Node on the host.
    pub path: PathBuf,
    /// The number.
    pub value: u64,
}

/// A limit on huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hugetlb {
    /// As the kernel writes it: `2MB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// A resource limit; `u64::MAX` is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, ...
    pub name: String,
    /// What is in force.
    pub soft: u64,
    /// What it may be raised to.
    pub hard: u64,
}
