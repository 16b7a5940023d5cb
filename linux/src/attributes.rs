//! What the scheduler, the I/O scheduler and the memory allocator know about a process, and the
//! execution domain of a thread.
//!
//! sched_setattr(2), ioprio_set(2), sched_setaffinity(2), set_mempolicy(2), personality(2).

use rustix::thread::CpuSet;

use crate::process::Pid;
use crate::raw::attributes as raw;
use crate::{Context, Errno, Error, Result};

/// The arguments of sched_setattr(2), under the names it has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`: -20 to 19.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`: 1 to 99.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, as are the next two.
    pub runtime_ns: u64,
    /// From the start of a period to when the runtime must have been had.
    pub deadline_ns: u64,
    /// How often the runtime is wanted.
    pub period_ns: u64,
}

/// `IOPRIO_CLASS_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoClass {
    /// Before all others.
    RealTime,
    /// By level, 0 to 7.
    BestEffort,
    /// Only when nobody else wants the disk.
    Idle,
}

/// `MPOL_*` of set_mempolicy(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryMode {
    /// Memory of the node the thread runs on.
    Default,
    /// From one node first.
    Preferred,
    /// From these nodes only.
    Bind,
    /// From these in turn.
    Interleave,
    /// Memory of the node the thread runs on, whatever the process policy.
    Local,
    /// From these nodes first (5.15).
    PreferredMany,
    /// From these in turn, by their weights (6.9).
    WeightedInterleave,
}

/// Sets the scheduling policy of `pid`, or of the calling thread.
pub fn set_scheduling(pid: Option<Pid>, scheduling: &Scheduling) -> Result<()> {
    raw::sched_setattr(pid, scheduling)
        .during(|| format!("set the scheduling policy to {}", policy_name(scheduling.policy)))
        .map_err(|error| match error.errno() {
            Errno::PERM => error.with_hint(
                "it needs CAP_SYS_NICE on the host, and with real-time group scheduling a runtime \
                 in the cgroup's cpu.rt_runtime_us",
            ),
            _ => error,
        })
}

fn policy_name(policy: u32) -> String {
    match policy {
        0 => "SCHED_OTHER".into(),
        1 => "SCHED_FIFO".into(),
        2 => "SCHED_RR".into(),
        3 => "SCHED_BATCH".into(),
        5 => "SCHED_IDLE".into(),
        6 => "SCHED_DEADLINE".into(),
        other => other.to_string(),
    }
}

/// Sets the I/O priority of `pid`, or of the calling thread.
pub fn set_io_priority(pid: Option<Pid>, class: IoClass, level: u8) -> Result<()> {
    let number = match class {
        IoClass::RealTime => 1,
        IoClass::BestEffort => 2,
        IoClass::Idle => 3,
    };
    raw::ioprio_set(pid, number, level)
        .during(|| format!("set the I/O priority to {class:?} {level}"))
        .map_err(|error| match error.errno() {
            Errno::PERM => {
                error.with_hint("the real-time class needs CAP_SYS_ADMIN or CAP_SYS_NICE")
            }
            _ => error,
        })
}

/// Runs the calling thread on these CPUs only. The kernel leaves out those its cgroup does not
/// have, and refuses when none is left.
pub fn set_affinity(cpus: &[u32]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        let index = usize::try_from(cpu).unwrap_or(usize::MAX);
        if index >= CpuSet::MAX_CPU {
            return Err(Error::new(format!("run on CPU {cpu}"), Errno::INVAL));
        }
        set.set(index);
    }
    rustix::thread::sched_setaffinity(None, &set)
        .during(|| format!("run on CPUs {cpus:?}"))
        .map_err(|error| match error.errno() {
            Errno::INVAL => error.with_hint("none of them is online and in the cgroup's cpuset"),
            _ => error,
        })
}

/// Sets the execution domain of the calling thread: 0 for `PER_LINUX`, 8 for `PER_LINUX32`.
pub fn set_personality(domain: u32) -> Result<()> {
    raw::personality(domain).during(|| format!("set the execution domain to {domain:#x}"))
}

/// Sets where the calling thread's memory comes from. `flags` are `MPOL_F_*`.
pub fn set_memory_policy(mode: MemoryMode, flags: u32, nodes: &[u32]) -> Result<()> {
    let number = match mode {
        MemoryMode::Default => 0,
        MemoryMode::Preferred => 1,
        MemoryMode::Bind => 2,
        MemoryMode::Interleave => 3,
        MemoryMode::Local => 4,
        MemoryMode::PreferredMany => 5,
        MemoryMode::WeightedInterleave => 6,
    };
    raw::set_mempolicy(number | flags, nodes)
        .during(|| format!("set the memory policy to {mode:?} of nodes {nodes:?}"))
        .map_err(|error| match error.errno() {
            Errno::INVAL => {
                error.with_hint("no such node has memory, or the kernel knows no such mode or flag")
            }
            _ => error,
        })
}
