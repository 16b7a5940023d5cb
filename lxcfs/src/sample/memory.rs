//! Memory and swap of one cgroup.
//!
//! Documentation/admin-guide/cgroup-v1/memory.rst 5.2, cgroup-v2.rst. v1 writes "no limit" as the largest page-aligned signed number.

use super::MemoryStat;
use crate::text;

/// From here on a v1 limit means "none": `PAGE_COUNTER_MAX` pages of any page size up to 64 KiB.
const V1_NO_LIMIT: u64 = (1 << 63) - (64 << 10);

/// Everything `meminfo` and `swaps` say, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemorySample {
    /// The lowest limit from the cgroup up to the root; `None` without any.
    pub limit: Option<u64>,
    /// What is charged to the cgroup.
    pub usage: u64,
    /// How it is made up.
    pub stat: MemoryStat,
    /// Swap, where the kernel accounts for it.
    pub swap: Option<SwapSample>,
    /// Huge pages of the default size, where the cgroup limits them.
    pub huge_pages: Option<HugePages>,
}

/// The limits that v1 has worked out up the tree already and tells in `memory.stat`: of memory, and
/// of memory and swap together.
pub fn parse_v1_limits(stat: &[u8]) -> (Option<u64>, Option<u64>) {
    let mut limits = (None, None);
    for (key, value) in text::pairs(stat) {
        match key {
            b"hierarchical_memory_limit" => limits.0 = limit_of_number(value),
            b"hierarchical_memsw_limit" => limits.1 = limit_of_number(value),
            _ => {}
        }
    }
    limits
}

/// The text of a limit file of either version; `None` is "no limit".
pub fn parse_limit(file: &[u8]) -> Option<u64> {
    text::number(file).and_then(limit_of_number)
}

fn limit_of_number(value: u64) -> Option<u64> {
    (value < V1_NO_LIMIT).then_some(value)
}

/// Swap of one cgroup, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwapSample {
    /// The lowest limit up the tree: of swap alone (v2), of memory and swap together (v1).
    pub limit: Option<u64>,
    /// What is swapped out.
    pub used: u64,
    /// v1 `memory.swappiness` is 0: nothing more will be swapped out.
    pub closed: bool,
}

impl SwapSample {
    /// Total and free, given the host's total.
    ///
    /// The v1 limit counts memory too, and is still taken whole: the kernel may swap out more
    /// than limit minus memory limit. A cgroup whose limit was lowered below what it has in swap
    /// shows a full device, never a number below zero.
    pub fn total_and_free(&self, host_total: u64) -> (u64, u64) {
        let allowed = if self.closed { 0 } else { self.limit.unwrap_or(u64::MAX).min(host_total) };
        let total = allowed.max(self.used);
        (total, total - self.used)
    }
}

/// Huge pages of the default size: limit and usage in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HugePages {
    /// The lowest limit up the tree.
    pub limit: u64,
    /// What is in use.
    pub usage: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_tells_its_limits_with_the_statistics() {
        let stat = b"rss 1\nhierarchical_memory_limit 4096\nhierarchical_memsw_limit \
                     9223372036854771712\ntotal_rss 1\n";
        assert_eq!(parse_v1_limits(stat), (Some(4096), None));
        assert_eq!(parse_v1_limits(b"garbage"), (None, None));
    }

    #[test]
    fn no_limit_has_three_spellings() {
        assert_eq!(parse_limit(b"max\n"), None);
        assert_eq!(parse_limit(b"9223372036854771712\n"), None);
        assert_eq!(parse_limit(b"9223372036854710272\n"), None, "64 KiB pages");
        assert_eq!(parse_limit(b"536870912\n"), Some(536_870_912));
        assert_eq!(parse_limit(b"0\n"), Some(0));
    }

    #[test]
    fn swap_left_over_after_the_limit_fell_shows_as_full() {
        let swap = SwapSample { limit: Some(0), used: 4096, closed: false };
        assert_eq!(swap.total_and_free(1 << 30), (4096, 0));
        let swap = SwapSample { limit: Some(1 << 40), used: 4096, closed: false };
        assert_eq!(swap.total_and_free(8192), (8192, 4096));
        let swap = SwapSample { limit: None, used: 4096, closed: true };
        assert_eq!(swap.total_and_free(8192), (4096, 0));
    }
}
