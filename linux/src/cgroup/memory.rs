//! Memory and swap: limits, and how much is in use of what.
//!
//! v1 bounds memory, and memory with swap together (`memsw`); v2 bounds memory and swap apart. Here
//! and in the specification the second number is always the sum.
//! Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst "Memory Interface Files".

use super::kernfs::read_text;
use super::plan::{Plan, Setting, unsupported};
use super::resources::{Bound, Memory};
use super::{Cgroup, Place, Version};
use crate::error::{Context, Errno, Error, Result};

mod stat;

pub use stat::MemoryStat;

/// What v1 shows for "no limit": the largest page count in bytes (PAGE_COUNTER_MAX), a multiple of
/// the page size, hence the margin.
const V1_UNLIMITED: u64 = i64::MAX as u64 - 64 * 1024;

/// Swap of a cgroup, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwapUsage {
    /// In use.
    pub usage: u64,
    /// The tightest bound of the cgroup and those above it: of memory and swap together for v1,
    /// of swap alone for v2.
    pub limit: Option<u64>,
    /// Whether the bound is on the sum.
    pub limit_includes_memory: bool,
}

/// Events since the cgroup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEvents {
    /// Processes killed because the limit was reached.
    pub oom_kills: u64,
    /// Times the limit was reached.
    pub limit_hits: u64,
}

impl Cgroup {
    pub(super) fn plan_memory(&self, memory: &Memory, plan: &mut Plan) -> Result<()> {
        let Some(member) = first_member(memory) else { return Ok(()) };
        let place = self.place_for(member, "memory")?;
        if memory.check_before_update {
            check_usage(place, memory)?;
        }
        match place.hierarchy.version {
            Version::V1 => plan_v1(place, memory, plan),
            Version::V2 => plan_v2(place, memory, plan)?,
        }
        Ok(())
    }

    /// The tightest memory limit of the cgroup and those above it, in bytes.
    pub fn memory_limit(&self) -> Result<Option<u64>> {
        let Some(place) = self.place_with("memory") else { return Ok(None) };
        match place.hierarchy.version {
            Version::V1 => tightest(place, "memory.limit_in_bytes"),
            Version::V2 => tightest(place, "memory.max"),
        }
    }

    /// Memory charged to the cgroup and those below it, in bytes.
    pub fn memory_usage(&self) -> Result<Option<u64>> {
        self.memory_number("memory.usage_in_bytes", "memory.current")
    }

    /// The most that was ever in use, in bytes (v2: from Linux 5.19).
    pub fn memory_peak(&self) -> Result<Option<u64>> {
        self.memory_number("memory.max_usage_in_bytes", "memory.peak")
    }

    /// What the memory is used for.
    pub fn memory_stat(&self) -> Result<Option<MemoryStat>> {
        let Some(place) = self.place_with("memory") else { return Ok(None) };
        let path = place.dir.join("memory.stat");
        let text = read_text(&path).during(|| format!("read {}", path.display()))?;
        Ok(Some(MemoryStat::parse(&text, place.hierarchy.version)))
    }

    /// Swap, where the kernel accounts for it.
    pub fn swap(&self) -> Result<Option<SwapUsage>> {
        let Some(place) = self.place_with("memory") else { return Ok(None) };
        match place.hierarchy.version {
            Version::V1 => {
                let Some(sum) = number(place, "memory.memsw.usage_in_bytes")? else {
                    return Ok(None);
                };
                let memory = number(place, "memory.usage_in_bytes")?.unwrap_or(0);
                Ok(Some(SwapUsage {
                    // Two files, read one after the other.
                    usage: sum.saturating_sub(memory),
                    limit: tightest(place, "memory.memsw.limit_in_bytes")?,
                    limit_includes_memory: true,
                }))
            }
            Version::V2 => {
                let Some(usage) = number(place, "memory.swap.current")? else { return Ok(None) };
                let limit = tightest(place, "memory.swap.max")?;
                Ok(Some(SwapUsage { usage, limit, limit_includes_memory: false }))
            }
        }
    }

    /// How often the limit was met.
    pub fn memory_events(&self) -> Result<MemoryEvents> {
        let Some(place) = self.place_with("memory") else { return Ok(MemoryEvents::default()) };
        let text = |file: &str| {
            let path = place.dir.join(file);
            read_text(&path).during(|| format!("read {}", path.display()))
        };
        match place.hierarchy.version {
            Version::V1 => Ok(MemoryEvents {
                oom_kills: super::cpu::keyed(&text("memory.oom_control")?, "oom_kill"),
                limit_hits: number(place, "memory.failcnt")?.unwrap_or(0),
            }),
            Version::V2 => {
                let text = text("memory.events")?;
                Ok(MemoryEvents {
                    oom_kills: super::cpu::keyed(&text, "oom_kill"),
                    limit_hits: super::cpu::keyed(&text, "max"),
                })
            }
        }
    }

    fn memory_number(&self, v1: &str, v2: &str) -> Result<Option<u64>> {
        let Some(place) = self.place_with("memory") else { return Ok(None) };
        match place.hierarchy.version {
            Version::V1 => number(place, v1),
            Version::V2 => number(place, v2),
        }
    }
}

/// A file of one number; `None` where there is no such file (the top, an older kernel).
fn number(place: &Place, file: &str) -> Result<Option<u64>> {
    let path = place.dir.join(file);
    match read_text(&path) {
        Ok(text) => Ok(text.parse().ok()),
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        Err(errno) => Err(Error::new(format!("read {}", path.display()), errno)),
    }
}

fn tightest(place: &Place, file: &str) -> Result<Option<u64>> {
    let mut tightest = None;
    for dir in place.up_the_tree() {
        let limit = match read_text(&dir.join(file)) {
            Ok(text) => parse_limit(&text),
            Err(Errno::NOENT | Errno::NODEV) => None,
            Err(errno) => {
                return Err(Error::new(format!("read {}", dir.join(file).display()), errno));
            }
        };
        tightest = [tightest, limit].into_iter().flatten().min();
    }
    Ok(tightest)
}

/// `max` of v2 is not a number; the largest number of v1 is no limit.
fn parse_limit(text: &str) -> Option<u64> {
    text.parse().ok().filter(|&limit| limit < V1_UNLIMITED)
}

fn first_member(memory: &Memory) -> Option<&'static str> {
    let set = [
        (memory.limit.is_some(), "memory.limit"),
        (memory.reservation.is_some(), "memory.reservation"),
        (memory.swap.is_some(), "memory.swap"),
        (memory.kernel.is_some(), "memory.kernel"),
        (memory.kernel_tcp.is_some(), "memory.kernelTCP"),
        (memory.swappiness.is_some(), "memory.swappiness"),
        (memory.disable_oom_killer.is_some(), "memory.disableOOMKiller"),
    ];
    set.into_iter().find(|(is_set, _)| *is_set).map(|(_, member)| member)
}

/// Without this, lowering a v2 limit below what is in use kills.
fn check_usage(place: &Place, memory: &Memory) -> Result<()> {
    let (usage, sum) = match place.hierarchy.version {
        Version::V1 => {
            (number(place, "memory.usage_in_bytes")?, number(place, "memory.memsw.usage_in_bytes")?)
        }
        Version::V2 => {
            let usage = number(place, "memory.current")?;
            let swap = number(place, "memory.swap.current")?;
            (usage, usage.zip(swap).map(|(usage, swap)| usage + swap))
        }
    };
    for (member, bound, used) in
        [("memory.limit", memory.limit, usage), ("memory.swap", memory.swap, sum)]
    {
        let (Some(limit), Some(used)) = (bound.and_then(Bound::at), used) else { continue };
        if used > limit {
            let call = format!("linux.resources.{member}: set to {limit} with {used} in use");
            return Err(Error::new(call, Errno::BUSY)
                .with_hint("memory.checkBeforeUpdate forbids it; free some or leave that out"));
        }
    }
    Ok(())
}

fn plan_v1(place: &Place, memory: &Memory, plan: &mut Plan) {
    let dir = &place.dir;
    if let Some(kernel) = memory.kernel {
        plan.push(dir, kernel_v1(kernel));
    }
    // Without a word about swap, lifting the one bound lifts the other that holds it down.
    let swap = match (memory.limit, memory.swap) {
        (Some(Bound::Max), None) if dir.join("memory.memsw.limit_in_bytes").exists() => {
            Some(Bound::Max)
        }
        (_, swap) => swap,
    };
    let limits = [
        memory.limit.map(|b| Setting::new("memory.limit", "memory.limit_in_bytes", b.v1())),
        swap.map(|b| Setting::new("memory.swap", "memory.memsw.limit_in_bytes", b.v1())),
    ];
    plan.group(dir, limits.into_iter().flatten());
    let others = [
        memory.reservation.map(|bound| {
            Setting::new("memory.reservation", "memory.soft_limit_in_bytes", bound.v1())
        }),
        memory.kernel_tcp.map(|bound| {
            Setting::new("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", bound.v1())
        }),
        memory.swappiness.map(|n| Setting::new("memory.swappiness", "memory.swappiness", n)),
        memory.disable_oom_killer.map(|disable| {
            Setting::new("memory.disableOOMKiller", "memory.oom_control", u8::from(disable))
                .named("oom_kill_disable")
        }),
    ];
    plan.extend(dir, others.into_iter().flatten());
}

/// Kernels from 5.16 on take a value and do nothing with it.
fn kernel_v1(bound: Bound) -> Setting {
    let setting = Setting::new("memory.kernel", "memory.kmem.limit_in_bytes", bound.v1());
    match bound {
        Bound::Max => setting,
        Bound::At(_) => setting
            .confirmed("this kernel counts kernel memory towards memory.limit alone; leave it out"),
    }
}

fn plan_v2(place: &Place, memory: &Memory, plan: &mut Plan) -> Result<()> {
    let bounds = [("memory.kernel", memory.kernel), ("memory.kernelTCP", memory.kernel_tcp)];
    for (member, bound) in bounds {
        if let Some(Bound::At(value)) = bound {
            return Err(unsupported(
                member,
                value,
                "cgroup v2 counts kernel memory towards memory.limit alone; leave it out",
            ));
        }
    }
    if let Some(swappiness) = memory.swappiness {
        return Err(unsupported(
            "memory.swappiness",
            swappiness,
            "cgroup v2 has no such setting for a cgroup; leave it out",
        ));
    }
    if memory.disable_oom_killer == Some(true) {
        return Err(unsupported(
            "memory.disableOOMKiller",
            true,
            "cgroup v2 cannot stop a cgroup that is out of memory; leave it out",
        ));
    }
    // Swap first: a lower memory limit may need the room.
    plan.extend(&place.dir, swap_v2(place, memory)?);
    let others = [
        memory.limit.map(|bound| Setting::new("memory.limit", "memory.max", bound)),
        memory.reservation.map(|bound| Setting::new("memory.reservation", "memory.low", bound)),
    ];
    plan.extend(&place.dir, others.into_iter().flatten());
    Ok(())
}

/// The sum less the memory limit.
fn swap_v2(place: &Place, memory: &Memory) -> Result<Option<Setting>> {
    const MEMBER: &str = "memory.swap";
    const FILE: &str = "memory.swap.max";
    let Some(sum) = memory.swap else {
        // As with v1: no bound on memory, none on the sum.
        let lift = memory.limit == Some(Bound::Max) && place.dir.join(FILE).exists();
        return Ok(lift.then(|| Setting::new(MEMBER, FILE, Bound::Max)));
    };
    let bound = match sum {
        Bound::Max => Bound::Max,
        Bound::At(sum) => {
            let limit = match memory.limit {
                Some(bound) => bound.at(),
                None => number(place, "memory.max")?,
            };
            let swap = limit.and_then(|limit| sum.checked_sub(limit));
            Bound::At(swap.ok_or_else(|| {
                Error::new(format!("linux.resources.{MEMBER}: set to {sum}"), Errno::INVAL)
                    .with_hint(
                        "it counts memory and swap together: \
                         set memory.limit too, to no more than that",
                    )
            })?)
        }
    };
    // Without swap accounting there is nothing to bound if there is no swap either.
    let needless = bound == Bound::Max || bound == Bound::At(0) && !host_has_swap();
    if needless && !place.dir.join(FILE).exists() {
        return Ok(None);
    }
    Ok(Some(Setting::new(MEMBER, FILE, bound)))
}

fn host_has_swap() -> bool {
    // A header, and a line for each area.
    read_text("/proc/swaps".as_ref()).is_ok_and(|text| text.lines().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_has_two_spellings() {
        assert_eq!(parse_limit("max"), None);
        assert_eq!(parse_limit("9223372036854771712"), None, "4 KiB pages");
        assert_eq!(parse_limit("9223372036854710272"), None, "64 KiB pages");
        assert_eq!(parse_limit("4096"), Some(4096));
    }
}
