//! The one table: every file and directory there is, its number, its name and what it shows.
//!
//! ```text
//! /                      proc  sys  containers  cgroup (empty, for tools that bind it)
//! /proc                  meminfo cpuinfo ... pressure/{cpu,memory,io,irq}
//! /sys/devices/system/cpu  online ... cpuN/{online,topology/*,cache/indexM/*,cpufreq/*}
//! /containers/ID         proc and sys again, of that container
//! ```
//!
//! The kernel keeps inode numbers over a change of worker or program, so numbers here are for ever:
//! a new entry gets a new number, a removed one's is never used again.

use std::sync::LazyLock;

use crate::{
    config::File,
    view::sys_cpu::{List, TopologyFile},
};

/// What a file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the first group is the files of those names")]
pub enum View {
    Meminfo,
    Cpuinfo,
    Stat,
    Uptime,
    Loadavg,
    Swaps,
    Diskstats,
    Partitions,
    Slabinfo,
    Pressure(Resource),
    /// A list of CPUs.
    Cpus(List),
    /// 1 for a CPU in use.
    CpuOnline,
    /// Where one CPU sits.
    Topology(TopologyFile),
    /// Who shares a cache with one CPU: nobody in a flat topology, as a list or a mask.
    CacheShared(Spelling),
    /// The host's file, of the host CPU behind the container's.
    Host,
}

/// What there can be pressure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the files")]
pub enum Resource {
    Cpu,
    Memory,
    Io,
    Irq,
}

/// The two spellings of a CPU set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `0-3`
    List,
    /// `f`
    Mask,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir,
    /// A directory for each CPU, named `cpuN`.
    CpuDirs,
    /// A directory for each container, named by id.
    Containers,
    /// A file.
    File(View),
}

/// One entry of the table.
#[derive(Debug)]
pub struct Entry {
    /// Its number, for ever.
    pub id: u8,
    /// The directory it is in.
    pub parent: u8,
    /// Its name there.
    pub name: &'static str,
    /// What it is.
    pub node: Node,
    /// The switch it belongs to.
    pub file: Option<File>,
}

/// The root of the mount and of each container's subtree.
pub const ROOT: u8 = 1;
/// The directory of containers.
pub const CONTAINERS: u8 = 3;
/// `cpuN`.
pub const CPU_DIR: u8 = 40;
const SYS_CPU: u8 = 9;
const PROC: u8 = 2;
const PRESSURE: u8 = 5;
const SYS: u8 = 6;
const TOPOLOGY: u8 = 41;
const CACHE: u8 = 42;
/// `cpuN/cpufreq`.
pub const CPUFREQ: u8 = 43;
/// `smt/`.
pub const SMT: u8 = 36;

const fn dir(id: u8, parent: u8, name: &'static str, file: Option<File>) -> Entry {
    Entry { id, parent, name, node: Node::Dir, file }
}

const fn proc(id: u8, name: &'static str, view: View, file: File) -> Entry {
    Entry { id, parent: PROC, name, node: Node::File(view), file: Some(file) }
}

const fn pressure(id: u8, name: &'static str, resource: Resource) -> Entry {
    let node = Node::File(View::Pressure(resource));
    Entry { id, parent: PRESSURE, name, node, file: Some(File::Pressure) }
}

const fn cpu(id: u8, parent: u8, name: &'static str, view: View) -> Entry {
    Entry { id, parent, name, node: Node::File(view), file: Some(File::SysCpu) }
}

const fn place(id: u8, name: &'static str, file: TopologyFile) -> Entry {
    cpu(id, TOPOLOGY, name, View::Topology(file))
}

const fn freq(id: u8, name: &'static str) -> Entry {
    cpu(id, CPUFREQ, name, View::Host)
}

const fn index(id: u8, name: &'static str) -> Entry {
    dir(id, CACHE, name, Some(File::SysCpu))
}

/// The files of one `cache/indexN`, numbered from `id`.
const fn cache(id: u8, parent: u8) -> [Entry; 10] {
    [
        cpu(id, parent, "coherency_line_size", View::Host),
        cpu(id + 1, parent, "id", View::Host),
        cpu(id + 2, parent, "level", View::Host),
        cpu(id + 3, parent, "number_of_sets", View::Host),
        cpu(id + 4, parent, "physical_line_partition", View::Host),
        cpu(id + 5, parent, "shared_cpu_list", View::CacheShared(Spelling::List)),
        cpu(id + 6, parent, "shared_cpu_map", View::CacheShared(Spelling::Mask)),
        cpu(id + 7, parent, "size", View::Host),
        cpu(id + 8, parent, "type", View::Host),
        cpu(id + 9, parent, "ways_of_associativity", View::Host),
    ]
}

static GENERAL: [Entry; 64] = [
    dir(ROOT, 0, "", None),
    dir(PROC, ROOT, "proc", None),
    Entry { id: CONTAINERS, parent: ROOT, name: "containers", node: Node::Containers, file: None },
    dir(4, ROOT, "cgroup", None),
    dir(PRESSURE, PROC, "pressure", Some(File::Pressure)),
    dir(SYS, ROOT, "sys", Some(File::SysCpu)),
    dir(7, SYS, "devices", Some(File::SysCpu)),
    dir(8, 7, "system", Some(File::SysCpu)),
    dir(SYS_CPU, 8, "cpu", Some(File::SysCpu)),
    proc(10, "cpuinfo", View::Cpuinfo, File::Cpuinfo),
    proc(11, "diskstats", View::Diskstats, File::Diskstats),
    proc(12, "loadavg", View::Loadavg, File::Loadavg),
    proc(13, "meminfo", View::Meminfo, File::Meminfo),
    proc(14, "partitions", View::Partitions, File::Partitions),
    proc(15, "slabinfo", View::Slabinfo, File::Slabinfo),
    proc(16, "stat", View::Stat, File::Stat),
    proc(17, "swaps", View::Swaps, File::Swaps),
    proc(18, "uptime", View::Uptime, File::Uptime),
    pressure(19, "cpu", Resource::Cpu),
    pressure(20, "memory", Resource::Memory),
    pressure(21, "io", Resource::Io),
    pressure(22, "irq", Resource::Irq),
    cpu(30, SYS_CPU, "online", View::Cpus(List::Online)),
    cpu(31, SYS_CPU, "offline", View::Cpus(List::Offline)),
    cpu(32, SYS_CPU, "present", View::Cpus(List::Present)),
    cpu(33, SYS_CPU, "possible", View::Cpus(List::Possible)),
    cpu(34, SYS_CPU, "kernel_max", View::Host),
    cpu(35, SYS_CPU, "uevent", View::Host),
    dir(SMT, SYS_CPU, "smt", Some(File::SysCpu)),
    cpu(37, SMT, "active", View::Host),
    cpu(38, SMT, "control", View::Host),
    cpu(39, SYS_CPU, "modalias", View::Host),
    Entry {
        id: CPU_DIR,
        parent: SYS_CPU,
        name: "cpu",
        node: Node::CpuDirs,
        file: Some(File::SysCpu),
    },
    dir(TOPOLOGY, CPU_DIR, "topology", Some(File::SysCpu)),
    dir(CACHE, CPU_DIR, "cache", Some(File::SysCpu)),
    dir(CPUFREQ, CPU_DIR, "cpufreq", Some(File::SysCpu)),
    cpu(44, CPU_DIR, "online", View::CpuOnline),
    cpu(45, CPU_DIR, "cpu_capacity", View::Host),
    index(46, "index0"),
    index(47, "index1"),
    index(48, "index2"),
    index(49, "index3"),
    place(50, "physical_package_id", TopologyFile::PhysicalPackageId),
    place(51, "die_id", TopologyFile::DieId),
    place(52, "cluster_id", TopologyFile::ClusterId),
    place(53, "core_id", TopologyFile::CoreId),
    place(54, "core_cpus", TopologyFile::CoreMask),
    place(55, "core_cpus_list", TopologyFile::CoreList),
    place(56, "thread_siblings", TopologyFile::CoreMask),
    place(57, "thread_siblings_list", TopologyFile::CoreList),
    place(58, "core_siblings", TopologyFile::PackageMask),
    place(59, "core_siblings_list", TopologyFile::PackageList),
    place(60, "package_cpus", TopologyFile::PackageMask),
    place(61, "package_cpus_list", TopologyFile::PackageList),
    place(62, "die_cpus", TopologyFile::PackageMask),
    place(63, "die_cpus_list", TopologyFile::PackageList),
    place(64, "cluster_cpus", TopologyFile::ClusterMask),
    place(65, "cluster_cpus_list", TopologyFile::ClusterList),
    freq(66, "base_frequency"),
    freq(67, "cpuinfo_max_freq"),
    freq(68, "cpuinfo_min_freq"),
    freq(69, "scaling_cur_freq"),
    freq(70, "scaling_governor"),
    freq(71, "scaling_max_freq"),
];

static CACHES: [[Entry; 10]; 4] = [cache(80, 46), cache(90, 47), cache(100, 48), cache(110, 49)];

/// Every entry.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    GENERAL.iter().chain(CACHES.iter().flatten())
}

/// The entry of a number.
pub fn entry(id: u8) -> Option<&'static Entry> {
    static BY_ID: LazyLock<[Option<&'static Entry>; 256]> = LazyLock::new(|| {
        let mut table = [None; 256];
        for entry in entries() {
            table[usize::from(entry.id)] = Some(entry);
        }
        table
    });
    BY_ID[usize::from(id)]
}

/// Where the host has what the entry shows; `cpu` is the host's CPU behind it.
pub fn host_path(entry: &Entry, cpu: u32) -> String {
    match entry.node {
        _ if entry.id == ROOT => String::new(),
        Node::CpuDirs => format!("{}/cpu{cpu}", parent_path(entry, cpu)),
        _ => format!("{}/{}", parent_path(entry, cpu), entry.name),
    }
}

fn parent_path(child: &Entry, cpu: u32) -> String {
    entry(child.parent).map(|parent| host_path(parent, cpu)).unwrap_or_default()
}

/// An inode number taken apart: `cpu + 1` from bit 40, the container's slot from bit 8, the entry.
///
/// Without a CPU it fits 32 bits up to slot 2^24, so that 32-bit programs without large-file
/// support can stat the files they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inode {
    /// Entry of the table.
    pub entry: u8,
    /// 0 is the tree that all share.
    pub slot: u32,
    /// The CPU's number as the container knows it, for all below `cpuN`.
    pub cpu: Option<u32>,
}

impl Inode {
    /// The number the kernel gets.
    pub fn number(self) -> u64 {
        let cpu = self.cpu.map_or(0, |cpu| u64::from(cpu) + 1);
        cpu << 40 | u64::from(self.slot) << 8 | u64::from(self.entry)
    }

    /// The parts of a number; `None` for one we never gave out.
    pub fn of_number(number: u64) -> Option<Inode> {
        let cpu = match number >> 40 {
            0 => None,
            cpu => Some(u32::try_from(cpu - 1).ok()?),
        };
        let entry_id = u8::try_from(number & 0xff).ok()?;
        let slot = u32::try_from(number >> 8 & 0xffff_ffff).ok()?;
        entry(entry_id)?;
        Some(Inode { entry: entry_id, slot, cpu })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_names_are_unique() {
        let ids: HashSet<_> = entries().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), entries().count());
        let names: HashSet<_> = entries().map(|entry| (entry.parent, entry.name)).collect();
        assert_eq!(names.len(), entries().count());
        assert!(entries().all(|entry| entry.id == ROOT || super::entry(entry.parent).is_some()));
    }

    #[test]
    fn paths_are_the_hosts() {
        let path = |id, cpu| host_path(entry(id).unwrap(), cpu);
        assert_eq!(path(13, 0), "/proc/meminfo");
        assert_eq!(path(20, 0), "/proc/pressure/memory");
        assert_eq!(path(53, 7), "/sys/devices/system/cpu/cpu7/topology/core_id");
        assert_eq!(path(87, 3), "/sys/devices/system/cpu/cpu3/cache/index0/size");
    }

    #[test]
    fn the_root_is_one_and_shared_numbers_are_small() {
        assert_eq!(Inode { entry: ROOT, slot: 0, cpu: None }.number(), 1);
        assert!(Inode { entry: 119, slot: 1 << 23, cpu: None }.number() <= u64::from(u32::MAX));
    }

    proptest! {
        #[test]
        fn inode_numbers_come_apart_again(
            entry in prop::sample::select(entries().map(|entry| entry.id).collect::<Vec<_>>()),
            slot in any::<u32>(), cpu in proptest::option::of(0u32..8192),
        ) {
            let inode = Inode { entry, slot, cpu };
            prop_assert_eq!(Inode::of_number(inode.number()), Some(inode));
        }
    }
}
