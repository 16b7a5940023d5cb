//! Memory and swap of one cgroup.
//!
//! Documentation/admin-guide/cgroup-v1/memory.rst 5.2 (memory.stat, `total_*`), cgroup-v2.rst
//! (memory.stat). v1 writes "no limit" as the largest page-aligned signed number.

use super::Version;
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

/// `memory.stat`, one field a meaning, whatever the two versions call it. Bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the line of meminfo with that name")]
pub struct MemoryStat {
    pub cached: u64,
    pub anon: u64,
    pub shmem: u64,
    pub mapped: u64,
    pub dirty: u64,
    pub writeback: u64,
    pub active_anon: u64,
    pub inactive_anon: u64,
    pub active_file: u64,
    pub inactive_file: u64,
    pub unevictable: u64,
    pub anon_huge: u64,
    pub shmem_huge: u64,
    pub file_huge: u64,
    pub slab_reclaimable: u64,
    pub slab_unreclaimable: u64,
    pub kernel_stack: u64,
    pub page_tables: u64,
    pub sec_page_tables: u64,
    pub percpu: u64,
    pub vmalloc: u64,
    pub swap_cached: u64,
    pub zswap: u64,
    pub zswapped: u64,
    /// v1 only: the lowest limit up the tree, which the kernel has worked out already.
    pub hierarchical_limit: Option<u64>,
    /// v1 only: the same for memory and swap together.
    pub hierarchical_memsw_limit: Option<u64>,
}

impl MemoryStat {
    /// Reads `memory.stat`. Keys are compared whole: `file` is a prefix of `file_mapped`.
    pub fn parse(version: Version, stat: &[u8]) -> MemoryStat {
        let mut parsed = MemoryStat::default();
        for (key, value) in text::pairs(stat) {
            match version {
                Version::V1 => parsed.set_v1(key, value),
                Version::V2 => parsed.set_v2(key, value),
            }
        }
        parsed
    }

    fn set_v1(&mut self, key: &[u8], value: u64) {
        let field = match key {
            b"total_cache" => &mut self.cached,
            b"total_rss" => &mut self.anon,
            b"total_shmem" => &mut self.shmem,
            b"total_mapped_file" => &mut self.mapped,
            b"total_dirty" => &mut self.dirty,
            b"total_writeback" => &mut self.writeback,
            b"total_active_anon" => &mut self.active_anon,
            b"total_inactive_anon" => &mut self.inactive_anon,
            b"total_active_file" => &mut self.active_file,
            b"total_inactive_file" => &mut self.inactive_file,
            b"total_unevictable" => &mut self.unevictable,
            b"total_rss_huge" => &mut self.anon_huge,
            b"total_swapcached" => &mut self.swap_cached,
            b"hierarchical_memory_limit" => {
                self.hierarchical_limit = limit_of_number(value);
                return;
            }
            b"hierarchical_memsw_limit" => {
                self.hierarchical_memsw_limit = limit_of_number(value);
                return;
            }
            _ => return,
        };
        *field = value;
    }

    fn set_v2(&mut self, key: &[u8], value: u64) {
        let field = match key {
            b"file" => &mut self.cached,
            b"anon" => &mut self.anon,
            b"shmem" => &mut self.shmem,
            b"file_mapped" => &mut self.mapped,
            b"file_dirty" => &mut self.dirty,
            b"file_writeback" => &mut self.writeback,
            b"active_anon" => &mut self.active_anon,
            b"inactive_anon" => &mut self.inactive_anon,
            b"active_file" => &mut self.active_file,
            b"inactive_file" => &mut self.inactive_file,
            b"unevictable" => &mut self.unevictable,
            b"anon_thp" => &mut self.anon_huge,
            b"shmem_thp" => &mut self.shmem_huge,
            b"file_thp" => &mut self.file_huge,
            b"slab_reclaimable" => &mut self.slab_reclaimable,
            b"slab_unreclaimable" => &mut self.slab_unreclaimable,
            b"kernel_stack" => &mut self.kernel_stack,
            b"pagetables" => &mut self.page_tables,
            b"sec_pagetables" => &mut self.sec_page_tables,
            b"percpu" => &mut self.percpu,
            b"vmalloc" => &mut self.vmalloc,
            b"swapcached" => &mut self.swap_cached,
            b"zswap" => &mut self.zswap,
            b"zswapped" => &mut self.zswapped,
            _ => return,
        };
        *field = value;
    }
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
    fn whole_keys_only() {
        let stat = MemoryStat::parse(
            Version::V2,
            b"anon 5\nanon_thp 2\nfile 100\nfile_mapped 30\nfile_dirty 7\nfile_writeback 3\n",
        );
        assert_eq!((stat.anon, stat.anon_huge, stat.cached), (5, 2, 100));
        assert_eq!((stat.mapped, stat.dirty, stat.writeback), (30, 7, 3));
        let stat = MemoryStat::parse(Version::V1, b"rss 1\ntotal_rss 4\ntotal_rss_huge 2\n");
        assert_eq!((stat.anon, stat.anon_huge), (4, 2));
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
