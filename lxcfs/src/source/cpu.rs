//! Reads what a container may use of the CPUs (at most 100 ms old) and has used (at each call).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{CgroupFile, Place, Places, Trees, optional};
use crate::{
    cpuset::CpuSet,
    host::Host,
    sample::{
        CpuBudget, CpuUsage, Version,
        cpu::{parse_cfs, parse_cpu_max},
    },
};

/// The CPU files of one container, whichever hierarchies they are in.
#[derive(Debug)]
pub struct CpuSource {
    usage: Option<Usage>,
    throttled: Option<(Version, CgroupFile)>,
    quotas: Vec<Quota>,
    masks: Vec<CgroupFile>,
    budget: Mutex<Option<(Instant, Arc<CpuBudget>)>>,
}

#[derive(Debug)]
enum Usage {
    /// v2 `cpu.stat` has everything.
    Stat(CgroupFile),
    /// v1 `cpuacct.stat`: what was used, to the nanosecond, shared out to user and system in ticks
    /// (cputime_adjust() of the kernel). `cpuacct.usage_user` and its like only count the timer's
    /// interrupts, and are off by a tenth where CPUs are contended.
    Acct(CgroupFile),
}

#[derive(Debug)]
enum Quota {
    Max(CgroupFile),
    Cfs(CgroupFile, CgroupFile),
}

impl CpuSource {
    /// The files of the cgroups at `places`.
    pub fn new(places: &Places) -> CpuSource {
        let usage = match (&places.cpuacct, &places.unified) {
            (Some(place), _) => Some(Usage::Acct(place.file("cpuacct.stat"))),
            // cpu.stat is there without the cpu controller too (cgroup-v2.rst, CPU).
            (None, Some(place)) => Some(Usage::Stat(place.file("cpu.stat"))),
            (None, None) => None,
        };
        let throttled = match (&usage, &places.cpu) {
            (Some(Usage::Acct(_)), Some(cpu)) => Some((cpu.version, cpu.file("cpu.stat"))),
            _ => None,
        };
        let quota = |level: Place| match level.version {
            Version::V1 => {
                Quota::Cfs(level.file("cpu.cfs_quota_us"), level.file("cpu.cfs_period_us"))
            }
            Version::V2 => Quota::Max(level.file("cpu.max")),
        };
        let mask = |level: Place| match level.version {
            Version::V1 => level.file("cpuset.effective_cpus"),
            Version::V2 => level.file("cpuset.cpus.effective"),
        };
        CpuSource {
            usage,
            throttled,
            quotas: places.cpu.iter().flat_map(Place::upwards).map(quota).collect(),
            masks: places.cpuset.iter().flat_map(Place::upwards).map(mask).collect(),
            budget: Mutex::new(None),
        }
    }

    /// What the container may use. Without any bound that is the host's CPUs.
    pub fn budget(
        &self,
        trees: &Trees,
        host: &Host,
        with_quota: bool,
        fresh: Duration,
    ) -> linux::Result<Arc<CpuBudget>> {
        let kept = self.budget.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, budget)) = kept.filter(|(read, _)| read.elapsed() < fresh) {
            return Ok(budget);
        }
        let mut file = Vec::with_capacity(4096);
        // The effective mask of the nearest level that has one follows hotplug and the parents.
        let mask = self.masks.iter().find_map(|level| {
            optional(level, trees, &mut file)?;
            CpuSet::parse(&file).filter(|mask| !mask.is_empty())
        });
        let mask = match mask {
            Some(mask) => mask,
            None => host.online()?,
        };
        let quotas = self.quotas.iter().filter(|_| with_quota);
        let quota = quotas.filter_map(|level| level.read(trees, &mut file)).min();
        let budget = Arc::new(CpuBudget::new(&mask, quota));
        *self.budget.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::clone(&budget)));
        Ok(budget)
    }

    /// What the container has used; `None` where no hierarchy tells.
    pub fn usage(&self, trees: &Trees) -> linux::Result<Option<CpuUsage>> {
        let mut file = Vec::with_capacity(1024);
        let mut usage = match &self.usage {
            None => return Ok(None),
            Some(Usage::Stat(stat)) => {
                stat.read(trees, &mut file)?;
                return Ok(Some(CpuUsage::parse_stat(&file)));
            }
            Some(Usage::Acct(stat)) => {
                stat.read(trees, &mut file)?;
                CpuUsage::parse_acct(&file)
            }
        };
        if let Some((version, stat)) = &self.throttled
            && optional(stat, trees, &mut file).is_some()
        {
            usage.throttled = CpuUsage::parse_throttled(&file, *version);
        }
        Ok(Some(usage))
    }
}

impl Quota {
    fn read(&self, trees: &Trees, file: &mut Vec<u8>) -> Option<u64> {
        match self {
            Quota::Max(max) => {
                optional(max, trees, file)?;
                parse_cpu_max(file)
            }
            Quota::Cfs(quota, period) => {
                optional(quota, trees, file)?;
                let split = file.len();
                period.read(trees, file).ok()?;
                parse_cfs(&file[..split], &file[split..])
            }
        }
    }
}
