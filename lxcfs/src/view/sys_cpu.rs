//! Files of `/sys/devices/system/cpu` that say which CPUs there are.
//!
//! Documentation/ABI/testing/sysfs-devices-system-cpu. With virtual numbers all CPUs the container
//! sees are `0..N-1`; with physical numbers they keep the host's, and the rest of the host's is
//! offline, so that `online` and `offline` always make up `present`.

use std::fmt::Write as _;

use super::cpuinfo::{Numbering, Topology};
use crate::{cpuset::CpuSet, sample::CpuBudget};

/// One file of the directory itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// CPUs in use.
    Online,
    /// CPUs that are there and not in use.
    Offline,
    /// CPUs that are there.
    Present,
    /// CPUs there can ever be.
    Possible,
}

/// Writes a list file.
pub fn render_list(list: List, budget: &CpuBudget, numbering: Numbering, out: &mut Vec<u8>) {
    let visible = visible(budget, numbering);
    let text = match (list, numbering) {
        (List::Offline, Numbering::Virtual) => String::new(),
        (List::Offline, Numbering::Physical) => {
            let present = present(&visible);
            present.iter().filter(|&cpu| !visible.contains(cpu)).collect::<CpuSet>().to_string()
        }
        (List::Online, _) => visible.to_string(),
        (List::Present | List::Possible, Numbering::Virtual) => visible.to_string(),
        (List::Present | List::Possible, Numbering::Physical) => present(&visible).to_string(),
    };
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// The numbers by which the container knows its CPUs.
pub fn visible(budget: &CpuBudget, numbering: Numbering) -> CpuSet {
    match numbering {
        Numbering::Virtual => CpuSet::first(budget.count()),
        Numbering::Physical => budget.cpus.iter().copied().collect(),
    }
}

/// Every `cpuN` directory: the kernel keeps one for each present CPU.
pub fn present(visible: &CpuSet) -> CpuSet {
    let count = visible.iter().last().map_or(1, |last| last as usize + 1);
    CpuSet::first(count)
}

/// What `topology/*` of one CPU says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the files")]
pub enum TopologyFile {
    PhysicalPackageId,
    DieId,
    ClusterId,
    CoreId,
    /// `core_cpus`, `thread_siblings`: CPUs of the same core.
    CoreMask,
    CoreList,
    /// `package_cpus`, `core_siblings`, `die_cpus`: CPUs of the same package.
    PackageMask,
    PackageList,
    ClusterMask,
    ClusterList,
}

/// Writes one topology file of the CPU at `index` among the visible ones.
///
/// `flat` and `one-socket` have one thread a core; `smt` and `host` take the grouping from
/// `groups`: package and core of each visible CPU.
pub fn render_topology(
    file: TopologyFile,
    index: usize,
    topology: Topology,
    numbers: &[u32],
    groups: &[(u32, u32)],
    out: &mut Vec<u8>,
) {
    let place = |index: usize| -> (u32, u32) {
        let flat = u32::try_from(index).unwrap_or(0);
        match topology {
            Topology::Flat => (flat, 0),
            Topology::OneSocket => (0, flat),
            Topology::Smt | Topology::Host => groups.get(index).copied().unwrap_or((0, flat)),
        }
    };
    let (package, core) = place(index);
    let same = |by_core: bool| -> CpuSet {
        (0..numbers.len())
            .filter(|&other| {
                let (its_package, its_core) = place(other);
                its_package == package && (!by_core || its_core == core)
            })
            .map(|other| numbers[other])
            .collect()
    };
    let possible = numbers.iter().max().map_or(1, |last| *last as usize + 1);
    let mut text = String::new();
    let done = match file {
        TopologyFile::PhysicalPackageId => write!(text, "{package}"),
        TopologyFile::DieId => write!(text, "0"),
        // What the kernel says where the machine has no clusters.
        TopologyFile::ClusterId => write!(text, "65535"),
        TopologyFile::CoreId => write!(text, "{core}"),
        TopologyFile::CoreMask | TopologyFile::ClusterMask => {
            write!(text, "{}", same(true).mask(possible))
        }
        TopologyFile::CoreList | TopologyFile::ClusterList => write!(text, "{}", same(true)),
        TopologyFile::PackageMask => write!(text, "{}", same(false).mask(possible)),
        TopologyFile::PackageList => write!(text, "{}", same(false)),
    };
    debug_assert!(done.is_ok(), "writing to a string cannot fail");
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(list: List, cpus: &str, numbering: Numbering) -> String {
        let budget = CpuBudget::new(&CpuSet::parse(cpus.as_bytes()).unwrap(), None);
        let mut out = Vec::new();
        render_list(list, &budget, numbering, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn online_and_offline_make_up_present() {
        for numbering in [Numbering::Virtual, Numbering::Physical] {
            let sets = [List::Online, List::Offline, List::Present]
                .map(|which| CpuSet::parse(list(which, "1,3-4", numbering).as_bytes()).unwrap());
            let [online, offline, present] = sets;
            assert!(online.and(&offline).is_empty());
            assert_eq!(online.iter().chain(offline.iter()).collect::<CpuSet>(), present);
        }
        assert_eq!(list(List::Online, "1,3-4", Numbering::Virtual), "0-2\n");
        assert_eq!(list(List::Offline, "1,3-4", Numbering::Virtual), "\n");
        assert_eq!(list(List::Online, "1,3-4", Numbering::Physical), "1,3-4\n");
        assert_eq!(list(List::Possible, "1,3-4", Numbering::Physical), "0-4\n");
    }

    fn topology(file: TopologyFile, topology: Topology) -> String {
        let mut out = Vec::new();
        render_topology(file, 1, topology, &[0, 1, 2], &[(0, 0), (0, 0), (1, 0)], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn topology_agrees_with_cpuinfo() {
        assert_eq!(topology(TopologyFile::PhysicalPackageId, Topology::Flat), "1\n");
        assert_eq!(topology(TopologyFile::CoreList, Topology::Flat), "1\n");
        assert_eq!(topology(TopologyFile::CoreId, Topology::OneSocket), "1\n");
        assert_eq!(topology(TopologyFile::PackageMask, Topology::OneSocket), "7\n");
        assert_eq!(topology(TopologyFile::CoreList, Topology::Smt), "0-1\n");
    }
}
