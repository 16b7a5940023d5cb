//! Scheduling policy, I/O priority, CPU affinity, execution domain and memory policy of a process.

use linux::attributes::{IoClass, MemoryMode, Scheduling};
use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType,
    MemoryPolicyModeType, Scheduler,
};

use crate::{Error, Result};

/// Reads `process.scheduler`.
pub(super) fn scheduling(spec: &Scheduler) -> Result<Scheduling> {
    let refuse = |reason: String| Error::config("process.scheduler", reason);
    let policy = *spec.policy();
    let realtime =
        matches!(policy, LinuxSchedulerPolicy::SchedFifo | LinuxSchedulerPolicy::SchedRr);
    let deadline = policy == LinuxSchedulerPolicy::SchedDeadline;
    let nice = spec.nice().unwrap_or(0);
    let priority = spec.priority().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(refuse(format!("nice {nice} is not between -20 and 19")));
    }
    if spec.nice().is_some_and(|nice| nice != 0) && (realtime || deadline) {
        return Err(refuse(format!("{policy} has no nice value; remove it")));
    }
    if realtime && !(1..=99).contains(&priority) {
        return Err(refuse(format!("{policy} needs a priority between 1 and 99")));
    }
    if !realtime && priority != 0 {
        return Err(refuse(format!("{policy} has no priority; remove it")));
    }
    let times = [*spec.runtime(), *spec.deadline(), *spec.period()];
    if !deadline && times.iter().any(|time| time.is_some_and(|time| time != 0)) {
        return Err(refuse(format!(
            "runtime, deadline and period belong to SCHED_DEADLINE, not to {policy}"
        )));
    }
    let mut flags = 0;
    for flag in spec.flags().iter().flatten() {
        // SCHED_FLAG_* of linux/sched.h.
        flags |= match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            // The specification has no member for the clamp value that these announce.
            LinuxSchedulerFlag::SchedFlagUtilClampMin
            | LinuxSchedulerFlag::SchedFlagUtilClampMax => {
                return Err(refuse(format!("{flag} comes without a value; remove it")));
            }
        };
    }
    Ok(Scheduling {
        // SCHED_* of linux/sched.h.
        policy: match policy {
            LinuxSchedulerPolicy::SchedOther => 0,
            LinuxSchedulerPolicy::SchedFifo => 1,
            LinuxSchedulerPolicy::SchedRr => 2,
            LinuxSchedulerPolicy::SchedBatch => 3,
            LinuxSchedulerPolicy::SchedIso => {
                return Err(refuse("Linux has no SCHED_ISO; choose another policy".into()));
            }
            LinuxSchedulerPolicy::SchedIdle => 5,
            LinuxSchedulerPolicy::SchedDeadline => 6,
        },
        flags,
        nice,
        priority: priority.unsigned_abs(),
        runtime_ns: times[0].unwrap_or(0),
        deadline_ns: times[1].unwrap_or(0),
        period_ns: times[2].unwrap_or(0),
    })
}

/// Reads `process.ioPriority`.
pub(super) fn io_priority(spec: &LinuxIOPriority) -> Result<(IoClass, u8)> {
    let level = u8::try_from(spec.priority()).ok().filter(|level| *level < 8).ok_or_else(|| {
        Error::config(
            "process.ioPriority",
            format!("priority {} is not between 0 and 7", spec.priority()),
        )
    })?;
    Ok((
        match spec.class() {
            IOPriorityClass::IoprioClassRt => IoClass::RealTime,
            IOPriorityClass::IoprioClassBe => IoClass::BestEffort,
            IOPriorityClass::IoprioClassIdle => IoClass::Idle,
        },
        level,
    ))
}

/// Reads `linux.personality`: the argument of personality(2).
pub(super) fn personality(spec: &LinuxPersonality) -> Result<u32> {
    if let Some(flag) = spec.flags().iter().flatten().next() {
        // The specification reserves the member and defines no value for it.
        return Err(Error::config(
            "linux.personality.flags",
            format!("{flag:?} is not defined by the specification; remove it"),
        ));
    }
    Ok(match spec.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

/// What set_mempolicy(2) is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemoryPolicy {
    pub(super) mode: MemoryMode,
    pub(super) flags: u32,
    pub(super) nodes: Vec<u32>,
}

/// Reads `linux.memoryPolicy`.
pub(super) fn memory_policy(spec: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    let refuse = |reason: String| Error::config("linux.memoryPolicy", reason);
    let nodes = match spec.nodes().as_deref() {
        Some(list) => number_list(list, 1024)
            .ok_or_else(|| refuse(format!("nodes {list:?} is not a list like 0-3,8")))?,
        None => Vec::new(),
    };
    let mode = match spec.mode() {
        MemoryPolicyModeType::MpolDefault => MemoryMode::Default,
        MemoryPolicyModeType::MpolPreferred => MemoryMode::Preferred,
        MemoryPolicyModeType::MpolBind => MemoryMode::Bind,
        MemoryPolicyModeType::MpolInterleave => MemoryMode::Interleave,
        MemoryPolicyModeType::MpolLocal => MemoryMode::Local,
        MemoryPolicyModeType::MpolPreferredMany => MemoryMode::PreferredMany,
        MemoryPolicyModeType::MpolWeightedInterleave => MemoryMode::WeightedInterleave,
    };
    let takes_none = matches!(mode, MemoryMode::Default | MemoryMode::Local);
    if takes_none && !nodes.is_empty() {
        return Err(refuse(format!("{} takes no nodes; remove them", spec.mode())));
    }
    if !takes_none && nodes.is_empty() && mode != MemoryMode::Preferred {
        return Err(refuse(format!("{} needs nodes", spec.mode())));
    }
    let mut flags = 0;
    for flag in spec.flags().iter().flatten() {
        // MPOL_F_* of linux/mempolicy.h.
        flags |= match flag {
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        };
    }
    Ok(MemoryPolicy { mode, flags, nodes })
}

/// The CPUs a process of `exec` runs on before and after it joined the container's cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    pub(crate) initial: Option<Vec<u32>>,
    pub(crate) last: Option<Vec<u32>>,
}

/// Reads `process.execCPUAffinity`.
pub(crate) fn affinity(spec: &ExecCPUAffinity) -> Result<Affinity> {
    let list = |member: &str, list: &Option<String>| {
        list.as_deref()
            .map(|list| {
                number_list(list, 8192).filter(|cpus| !cpus.is_empty()).ok_or_else(|| {
                    Error::config(
                        format!("process.execCPUAffinity.{member}"),
                        format!("{list:?} is not a list like 0-3,8"),
                    )
                })
            })
            .transpose()
    };
    Ok(Affinity {
        initial: list("initial", spec.initial())?,
        last: list("final", spec.cpu_affinity_final())?,
    })
}

/// `0-3,8`, each below `bound`.
fn number_list(list: &str, bound: u32) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= bound {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests;
