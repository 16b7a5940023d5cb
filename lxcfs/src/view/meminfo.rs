//! `/proc/meminfo`, from one reading of a cgroup's usage, limit and statistics.
//!
//! Documentation/filesystems/proc.rst (meminfo). All bounds are enforced in `Lines::new` and
//! nowhere else: no value exceeds the one it is a part of, none wraps, and what `free` adds up
//! (total = used + free + buffers + cached + reclaimable) adds up.

use crate::{sample::MemorySample, text};

/// How far a line without a container's answer may show the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Lines this program does not know are left out instead of passed on.
    pub strict: bool,
    /// No zswap lines (`--disable-zswap`).
    pub without_zswap: bool,
    /// `vm.overcommit_ratio`, per cent of memory that counts for `CommitLimit`.
    pub overcommit_ratio: u64,
}

/// Writes the container's meminfo.
pub fn render(host: &HostMeminfo, memory: &MemorySample, policy: &Policy, out: &mut Vec<u8>) {
    let lines = Lines::new(host, memory, policy);
    out.reserve(host.text.len() + 16);
    for line in host.text.split_inclusive(|&byte| byte == b'\n') {
        let key = key(line);
        match lines.answer(key) {
            Answer::Value(value) => put(line, key.len() + 1, value, out),
            Answer::Host => out.extend_from_slice(line),
            Answer::Unknown if !policy.strict => out.extend_from_slice(line),
            Answer::Unknown | Answer::Drop => {}
        }
    }
}

enum Answer {
    Value(u64),
    /// A constant of the machine, or something no cgroup has a bound for.
    Host,
    Drop,
    Unknown,
}

/// The host's meminfo, and what has to be known of it before the first line can be written, in kB.
#[derive(Debug, Default)]
pub struct HostMeminfo {
    /// The file.
    pub text: Vec<u8>,
    /// `MemTotal`.
    pub memory: u64,
    /// `SwapTotal`.
    pub swap: u64,
    huge_page: u64,
}

impl HostMeminfo {
    /// Reads the totals.
    pub fn parse(text: Vec<u8>) -> HostMeminfo {
        let mut host = HostMeminfo::default();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let field = match key(line) {
                b"MemTotal" => &mut host.memory,
                b"SwapTotal" => &mut host.swap,
                b"Hugepagesize" => &mut host.huge_page,
                _ => continue,
            };
            *field = value(line).unwrap_or(0);
        }
        HostMeminfo { text, ..host }
    }
}

/// The values, in kB, each within its bound.
struct Lines {
    total: u64,
    free: u64,
    available: u64,
    cached: u64,
    active_anon: u64,
    inactive_anon: u64,
    active_file: u64,
    inactive_file: u64,
    swap_total: u64,
    swap_free: u64,
    commit_limit: u64,
    committed: u64,
    huge: Option<(u64, u64, u64)>,
    used: u64,
    slab_reclaimable: u64,
    slab_unreclaimable: u64,
    without_zswap: bool,
    stat: crate::sample::MemoryStat,
}

impl Lines {
    fn new(host: &HostMeminfo, memory: &MemorySample, policy: &Policy) -> Lines {
        let stat = memory.stat;
        // A limit below one kB would make MemTotal 0, by which programs divide.
        let total = memory.limit.map_or(host.memory, |limit| (limit >> 10).min(host.memory)).max(1);
        let used = (memory.usage >> 10).min(total);
        let free = total - used;

        let cached = (stat.file >> 10).min(used);
        let slab_reclaimable = (stat.slab_reclaimable >> 10).min(used - cached);
        let slab_unreclaimable =
            (stat.slab_unreclaimable >> 10).min(used - cached - slab_reclaimable);
        let active_file = (stat.active_file >> 10).min(cached);
        let inactive_file = (stat.inactive_file >> 10).min(cached - active_file);
        let available =
            (free + active_file + inactive_file).saturating_add(slab_reclaimable).min(total);
        let active_anon = (stat.active_anon >> 10).min(used - active_file - inactive_file);
        let inactive_anon =
            (stat.inactive_anon >> 10).min(used - active_file - inactive_file - active_anon);

        let (swap_total, swap_free) = memory.swap.map_or((0, 0), |swap| {
            let (total, free) = swap.total_and_free(host.swap << 10);
            (total >> 10, free >> 10)
        });
        let commit_limit =
            (total.saturating_mul(policy.overcommit_ratio) / 100).saturating_add(swap_total);
        let huge = memory.huge_pages.filter(|_| host.huge_page > 0).map(|huge| {
            let pages = (huge.limit >> 10) / host.huge_page;
            let taken = ((huge.usage >> 10) / host.huge_page).min(pages);
            (pages, pages - taken, pages.saturating_mul(host.huge_page))
        });

        Lines {
            total,
            free,
            available,
            cached,
            active_anon,
            inactive_anon,
            active_file,
            inactive_file,
            swap_total,
            swap_free,
            commit_limit,
            committed: used + (swap_total - swap_free),
            huge,
            used,
            slab_reclaimable,
            slab_unreclaimable,
            without_zswap: policy.without_zswap,
            stat,
        }
    }

    fn answer(&self, key: &[u8]) -> Answer {
        let stat = &self.stat;
        let used = |bytes: u64| (bytes >> 10).min(self.used);
        let cached = |bytes: u64| (bytes >> 10).min(self.cached);
        let anon = |bytes: u64| (bytes >> 10).min(self.used - self.cached);
        Answer::Value(match key {
            b"MemTotal" => self.total,
            b"MemFree" => self.free,
            b"MemAvailable" => self.available,
            b"Cached" => self.cached,
            b"SwapCached" => used(stat.swap_cached),
            b"Active" => self.active_anon + self.active_file,
            b"Inactive" => self.inactive_anon + self.inactive_file,
            b"Active(anon)" => self.active_anon,
            b"Inactive(anon)" => self.inactive_anon,
            b"Active(file)" => self.active_file,
            b"Inactive(file)" => self.inactive_file,
            b"Unevictable" | b"Mlocked" => used(stat.unevictable),
            b"SwapTotal" => self.swap_total,
            b"SwapFree" => self.swap_free,
            b"Zswap" | b"Zswapped" if self.without_zswap => return Answer::Drop,
            b"Zswap" => used(stat.zswap),
            b"Zswapped" => (stat.zswapped >> 10).min(self.swap_total - self.swap_free),
            b"Dirty" => cached(stat.dirty),
            b"Writeback" => cached(stat.writeback),
            b"AnonPages" => anon(stat.anon),
            b"Mapped" => used(stat.mapped),
            b"Shmem" => cached(stat.shmem),
            b"KReclaimable" | b"SReclaimable" => self.slab_reclaimable,
            b"Slab" => self.slab_reclaimable + self.slab_unreclaimable,
            b"SUnreclaim" => self.slab_unreclaimable,
            b"KernelStack" => used(stat.kernel_stack),
            b"PageTables" => used(stat.page_tables),
            b"SecPageTables" => used(stat.sec_page_tables),
            b"Percpu" => used(stat.percpu),
            b"VmallocUsed" => used(stat.vmalloc),
            b"CommitLimit" => self.commit_limit,
            b"Committed_AS" => self.committed,
            b"AnonHugePages" => anon(stat.anon_huge),
            b"ShmemHugePages" => cached(stat.shmem_huge),
            b"FileHugePages" => cached(stat.file_huge),
            // Nothing a cgroup is charged for and nothing it could do about.
            b"Buffers" | b"NFS_Unstable" | b"Bounce" | b"WritebackTmp" | b"HardwareCorrupted"
            | b"Balloon" | b"GPUActive" | b"GPUReclaim" | b"ShmemPmdMapped" | b"FilePmdMapped"
            | b"CmaTotal" | b"CmaFree" | b"Unaccepted" => 0,
            b"HugePages_Total" | b"HugePages_Free" | b"HugePages_Rsvd" | b"HugePages_Surp"
            | b"Hugetlb" => return self.huge_answer(key),
            b"Hugepagesize" | b"VmallocTotal" | b"VmallocChunk" => return Answer::Host,
            // Their sum is the size of the host's memory.
            _ if key.starts_with(b"DirectMap") => return Answer::Drop,
            _ => return Answer::Unknown,
        })
    }

    fn huge_answer(&self, key: &[u8]) -> Answer {
        let Some((total, free, size)) = self.huge else { return Answer::Host };
        Answer::Value(match key {
            b"HugePages_Total" => total,
            b"HugePages_Free" => free,
            b"Hugetlb" => size,
            _ => 0,
        })
    }
}

fn key(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b':').next().unwrap_or(line)
}

fn value(line: &[u8]) -> Option<u64> {
    text::leading_number(line.get(key(line).len() + 1..)?.trim_ascii_start())
}

/// Writes `line` with another number, right-aligned where the host's number ended.
fn put(line: &[u8], label: usize, value: u64, out: &mut Vec<u8>) {
    let rest = &line[label.min(line.len())..];
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    let digits = rest[blanks..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    out.extend_from_slice(&line[..label.min(line.len())]);
    text::push_padded(out, value, blanks + digits);
    out.extend_from_slice(&rest[blanks + digits..]);
}

#[cfg(test)]
mod tests;
