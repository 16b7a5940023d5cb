//! Reads a `MemorySample`: usage and statistics at each call, limits at most 100 ms old.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{CgroupFile, Place, Trees, optional};
use crate::{
    sample::{HugePages, MemorySample, MemoryStat, SwapSample, Version, memory},
    text,
};

/// The files of one container's memory cgroup.
#[derive(Debug)]
pub struct MemorySource {
    version: Version,
    stat: CgroupFile,
    usage: CgroupFile,
    kernel: CgroupFile,
    swap_usage: CgroupFile,
    swappiness: CgroupFile,
    /// v2: the limit files from the cgroup up. v1 has the result in `memory.stat`.
    limits: Vec<CgroupFile>,
    swap_limits: Vec<CgroupFile>,
    huge: Option<HugeSource>,
    bounds: Mutex<Option<(Instant, Arc<Bounds>)>>,
}

/// What changes only when somebody changes it.
#[derive(Debug, Default)]
struct Bounds {
    limit: Option<u64>,
    swap_limit: Option<u64>,
    swap_accounted: bool,
    closed: bool,
    huge_limit: Option<u64>,
}

#[derive(Debug)]
struct HugeSource {
    limits: Vec<CgroupFile>,
    usage: CgroupFile,
}

impl MemorySource {
    /// The files of the cgroup at `place`; `huge` is its hugetlb cgroup and the default page size.
    pub fn new(place: &Place, huge: Option<(&Place, &str)>) -> MemorySource {
        let up = |name: &str| place.upwards().map(|level| level.file(name)).collect::<Vec<_>>();
        let huge = huge.map(|(place, size)| {
            let (limit, usage) = match place.version {
                Version::V1 => ("limit_in_bytes", "usage_in_bytes"),
                Version::V2 => ("max", "current"),
            };
            HugeSource {
                limits: place
                    .upwards()
                    .map(|level| level.file(&format!("hugetlb.{size}.{limit}")))
                    .collect(),
                usage: place.file(&format!("hugetlb.{size}.{usage}")),
            }
        });
        let (usage, swap_usage, limits, swap_limits) = match place.version {
            Version::V1 => {
                ("memory.usage_in_bytes", "memory.memsw.usage_in_bytes", Vec::new(), Vec::new())
            }
            Version::V2 => {
                ("memory.current", "memory.swap.current", up("memory.max"), up("memory.swap.max"))
            }
        };
        MemorySource {
            version: place.version,
            stat: place.file("memory.stat"),
            usage: place.file(usage),
            kernel: place.file("memory.kmem.usage_in_bytes"),
            swap_usage: place.file(swap_usage),
            swappiness: place.file("memory.swappiness"),
            limits,
            swap_limits,
            huge,
            bounds: Mutex::new(None),
        }
    }

    /// Reads the sample. `fresh` is how old the limits may be.
    pub fn sample(&self, trees: &Trees, fresh: Duration) -> linux::Result<MemorySample> {
        let mut file = Vec::with_capacity(4096);
        self.stat.read(trees, &mut file)?;
        let mut stat = MemoryStat::parse(&String::from_utf8_lossy(&file), self.version);
        let (v1_limit, v1_swap_limit) = memory::parse_v1_limits(&file);
        file.clear();
        self.usage.read(trees, &mut file)?;
        let usage = text::number(&file).unwrap_or(0);
        let bounds = self.bounds(trees, fresh, &mut file);
        let number = |source: &CgroupFile, file: &mut Vec<u8>| {
            optional(source, trees, file).and_then(|()| text::number(file))
        };

        let (limit, swap) = match self.version {
            Version::V1 => {
                // Accounting for kernel memory may be off (cgroup.memory=nokmem): it reads 0 then.
                stat.slab_unreclaimable = number(&self.kernel, &mut file).unwrap_or(0);
                let swap = bounds.swap_accounted.then(|| SwapSample {
                    limit: v1_swap_limit,
                    used: number(&self.swap_usage, &mut file).unwrap_or(0).saturating_sub(usage),
                    closed: bounds.closed,
                });
                (v1_limit, swap)
            }
            Version::V2 => {
                let swap = bounds.swap_accounted.then(|| SwapSample {
                    limit: bounds.swap_limit,
                    used: number(&self.swap_usage, &mut file).unwrap_or(0),
                    closed: false,
                });
                (bounds.limit, swap)
            }
        };
        let huge_pages = bounds.huge_limit.and_then(|limit| {
            let usage = number(&self.huge.as_ref()?.usage, &mut file)?;
            Some(HugePages { limit, usage })
        });
        Ok(MemorySample { limit, usage, stat, swap, huge_pages })
    }

    fn bounds(&self, trees: &Trees, fresh: Duration, file: &mut Vec<u8>) -> Arc<Bounds> {
        let kept = self.bounds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, bounds)) = kept.filter(|(read, _)| read.elapsed() < fresh) {
            return bounds;
        }
        let mut lowest = |files: &[CgroupFile]| {
            files
                .iter()
                .filter_map(|level| {
                    optional(level, trees, file).and_then(|()| memory::parse_limit(file))
                })
                .min()
        };
        let limit = lowest(&self.limits);
        let swap_limit = lowest(&self.swap_limits);
        let huge_limit = self.huge.as_ref().and_then(|huge| lowest(&huge.limits));
        let bounds = Arc::new(Bounds {
            limit,
            swap_limit,
            huge_limit,
            swap_accounted: optional(&self.swap_usage, trees, file).is_some(),
            closed: self.version == Version::V1
                && optional(&self.swappiness, trees, file)
                    .is_some_and(|()| text::number(file) == Some(0)),
        });
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::clone(&bounds)));
        bounds
    }
}
