//! `memory.stat`, the same words for both versions.

use super::super::layout::Version;

/// What memory is used for, in bytes. A kernel that does not tell a number leaves it 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryStat {
    /// Not backed by a file.
    pub anon: u64,
    /// Page cache, shared memory included.
    pub file: u64,
    /// Shared memory and tmpfs.
    pub shmem: u64,
    /// Page cache that is mapped.
    pub mapped: u64,
    /// Page cache to be written.
    pub dirty: u64,
    /// Page cache being written.
    pub writeback: u64,
    /// Swapped and still in memory.
    pub swap_cached: u64,
    /// Anonymous, lately used.
    pub active_anon: u64,
    /// Anonymous, candidates for swap.
    pub inactive_anon: u64,
    /// Page cache, lately used.
    pub active_file: u64,
    /// Page cache, candidates for reclaim.
    pub inactive_file: u64,
    /// Locked or otherwise not to be reclaimed.
    pub unevictable: u64,
    /// Anonymous memory in huge pages.
    pub anon_huge: u64,
    /// Shared memory in huge pages.
    pub shmem_huge: u64,
    /// Page cache in huge pages.
    pub file_huge: u64,
    /// Kernel objects (v2).
    pub slab: u64,
    /// Those of them that can be reclaimed (v2).
    pub slab_reclaimable: u64,
    /// Those that cannot (v2).
    pub slab_unreclaimable: u64,
    /// Kernel stacks (v2).
    pub kernel_stack: u64,
    /// Page tables (v2).
    pub page_tables: u64,
    /// Page tables of virtual machines (v2).
    pub sec_page_tables: u64,
    /// Per-CPU memory (v2).
    pub percpu: u64,
    /// Kernel memory mapped page by page (v2).
    pub vmalloc: u64,
    /// Socket buffers (v2).
    pub sock: u64,
    /// Compressed swap in memory (v2).
    pub zswap: u64,
    /// What it holds, uncompressed (v2).
    pub zswapped: u64,
}

impl MemoryStat {
    /// Parses the text of the file. v1 tells each number twice; the one with `total_` includes the
    /// cgroups below, as v2's do.
    pub fn parse(text: &str, version: Version) -> Self {
        let mut stat = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(' ') else { continue };
            let Ok(value) = value.parse() else { continue };
            let field = match version {
                Version::V1 => stat.v1(key),
                Version::V2 => stat.v2(key),
            };
            if let Some(field) = field {
                *field = value;
            }
        }
        stat
    }

    fn v1(&mut self, key: &str) -> Option<&mut u64> {
        Some(match key.strip_prefix("total_")? {
            "rss" => &mut self.anon,
            "cache" => &mut self.file,
            "rss_huge" => &mut self.anon_huge,
            "shmem" => &mut self.shmem,
            "mapped_file" => &mut self.mapped,
            "dirty" => &mut self.dirty,
            "writeback" => &mut self.writeback,
            "swapcached" => &mut self.swap_cached,
            key => return self.lists(key),
        })
    }

    fn v2(&mut self, key: &str) -> Option<&mut u64> {
        Some(match key {
            "anon" => &mut self.anon,
            "file" => &mut self.file,
            "shmem" => &mut self.shmem,
            "file_mapped" => &mut self.mapped,
            "file_dirty" => &mut self.dirty,
            "file_writeback" => &mut self.writeback,
            "swapcached" => &mut self.swap_cached,
            "anon_thp" => &mut self.anon_huge,
            "shmem_thp" => &mut self.shmem_huge,
            "file_thp" => &mut self.file_huge,
            "slab" => &mut self.slab,
            "slab_reclaimable" => &mut self.slab_reclaimable,
            "slab_unreclaimable" => &mut self.slab_unreclaimable,
            "kernel_stack" => &mut self.kernel_stack,
            "pagetables" => &mut self.page_tables,
            "sec_pagetables" => &mut self.sec_page_tables,
            "percpu" => &mut self.percpu,
            "vmalloc" => &mut self.vmalloc,
            "sock" => &mut self.sock,
            "zswap" => &mut self.zswap,
            "zswapped" => &mut self.zswapped,
            key => return self.lists(key),
        })
    }

    /// Named alike in both.
    fn lists(&mut self, key: &str) -> Option<&mut u64> {
        Some(match key {
            "active_anon" => &mut self.active_anon,
            "inactive_anon" => &mut self.inactive_anon,
            "active_file" => &mut self.active_file,
            "inactive_file" => &mut self.inactive_file,
            "unevictable" => &mut self.unevictable,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_matched_whole_and_with_the_cgroups_below() {
        let v1 = "cache 1\nrss 2\nrss_huge 3\ntotal_cache 10\ntotal_rss 20\ntotal_rss_huge 30\n\
                  total_mapped_file 40\ntotal_inactive_file 50\nnonsense\n";
        let stat = MemoryStat::parse(v1, Version::V1);
        assert_eq!((stat.file, stat.anon, stat.anon_huge, stat.mapped), (10, 20, 30, 40));
        assert_eq!(stat.inactive_file, 50);

        let v2 = "anon 1\nfile 2\nfile_mapped 3\nfile_dirty 4\nslab 5\nslab_reclaimable 6\n";
        let stat = MemoryStat::parse(v2, Version::V2);
        assert_eq!((stat.anon, stat.file, stat.mapped, stat.dirty), (1, 2, 3, 4));
        assert_eq!((stat.slab, stat.slab_reclaimable), (5, 6));
    }
}
