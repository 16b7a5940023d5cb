//! Limits.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct ResourceArgs {
    /// Make its cgroup below this one [default: /isulad]
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// Limit memory, for example 512m; at least 4m
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Limit memory and swap together; -1 is no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_swap: Option<String>,
    /// Reclaim above this when the host is short
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<String>,
    /// Prefer swapping, 0 to 100; -1 is the host's
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub memory_swappiness: Option<String>,
    /// Limit kernel memory (cgroup v1 before Linux 5.16)
    #[arg(long, value_name = "SIZE")]
    pub kernel_memory: Option<String>,
    /// Wait instead of being killed when out of memory
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// Be killed earlier or later, -1000 to 1000
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub oom_score_adj: Option<String>,
    /// Weigh CPU time against other containers
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cpu_shares: Option<String>,
    /// Set the period of --cpu-quota in microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub cpu_period: Option<String>,
    /// Limit CPU time in each period, in microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub cpu_quota: Option<String>,
    /// Limit CPU time, for example 1.5
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// Set the real-time period in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_rt_period: Option<String>,
    /// Limit real-time CPU time in each period
    #[arg(long, value_name = "US")]
    pub cpu_rt_runtime: Option<String>,
    /// Run on these CPUs only, for example 0-3,5
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Use memory of these nodes only
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Limit the number of tasks; 0 or less is no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<String>,
    /// Limit the number of open files; 0 or less is no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub files_limit: Option<String>,
    /// Limit open files by controller (default) or rlimit
    ///
    /// The files controller is part of openEuler's kernels; rlimit limits each process, not all of
    /// them together.
    #[arg(long, value_name = "MODE")]
    pub files_limit_mode: Option<String>,
    /// Weigh block I/O, 10 to 1000
    #[arg(long, value_name = "N")]
    pub blkio_weight: Option<String>,
    /// Weigh block I/O of one device; repeatable
    #[arg(long, value_name = "PATH:N")]
    pub blkio_weight_device: Vec<String>,
    /// Limit reading, bytes a second; repeatable
    ///
    /// Example: --device-read-bps /dev/sda:1mb
    #[arg(long, value_name = "PATH:SIZE")]
    pub device_read_bps: Vec<String>,
    /// Limit writing, bytes a second; repeatable
    #[arg(long, value_name = "PATH:SIZE")]
    pub device_write_bps: Vec<String>,
    /// Limit reading, operations a second; repeatable
    #[arg(long, value_name = "PATH:N")]
    pub device_read_iops: Vec<String>,
    /// Limit writing, operations a second; repeatable
    #[arg(long, value_name = "PATH:N")]
    pub device_write_iops: Vec<String>,
    /// Limit huge pages; repeatable
    ///
    /// Example: --hugetlb-limit 2MB:32MB
    #[arg(long, value_name = "[PAGESIZE:]SIZE")]
    pub hugetlb_limit: Vec<String>,
}
