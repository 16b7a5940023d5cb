//! `/proc/cpuinfo`: the blocks of the visible CPUs, numbered and placed as asked.
//!
//! x86-64 (arch/x86/kernel/cpu/proc.c) and arm64 (arch/arm64/kernel/cpuinfo.c) write one block a
//! CPU that starts with `processor : N`; arm64 has no topology lines, which then stay absent.

use std::collections::HashMap;

use crate::{sample::CpuBudget, text};

/// Where the visible CPUs seem to sit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Topology {
    /// Each its own single-core socket: openEuler's contract.
    #[default]
    Flat,
    /// All cores of one socket, for licences that count sockets.
    OneSocket,
    /// The host's packages, cores and threads, counted over the visible CPUs only.
    Smt,
    /// The host's lines as they are.
    Host,
}

/// By what numbers the container knows its CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Numbering {
    /// `0..N-1`.
    #[default]
    Virtual,
    /// The host's, as `sched_getaffinity(2)` has them.
    Physical,
}

/// The host's cpuinfo, cut into blocks once.
#[derive(Debug, Clone, Default)]
pub struct HostCpus {
    blocks: Vec<Block>,
    /// What follows the blocks and belongs to no CPU (`Hardware`, `Revision` of 32-bit ARM).
    tail: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Block {
    processor: u32,
    package: u32,
    core: u32,
    text: Vec<u8>,
}

impl HostCpus {
    /// Cuts `cpuinfo` up. Without a single `processor` line there is no block, and nothing to show.
    pub fn parse(cpuinfo: &[u8]) -> HostCpus {
        let mut host = HostCpus::default();
        let mut start = 0;
        let mut end = 0;
        for line in cpuinfo.split_inclusive(|&byte| byte == b'\n') {
            end += line.len();
            if line.trim_ascii().is_empty() {
                host.push(&cpuinfo[start..end]);
                start = end;
            }
        }
        host.push(&cpuinfo[start..]);
        host
    }

    fn push(&mut self, text: &[u8]) {
        let field = |name: &[u8]| {
            text::lines(text).find(|line| key(line) == name).and_then(|line| {
                u32::try_from(text::number(line.splitn(2, |&byte| byte == b':').nth(1)?)?).ok()
            })
        };
        match field(b"processor") {
            Some(processor) => self.blocks.push(Block {
                processor,
                package: field(b"physical id").unwrap_or(0),
                core: field(b"core id").unwrap_or(processor),
                text: text.to_vec(),
            }),
            None => self.tail.extend_from_slice(text),
        }
    }

    /// Whether this is a layout we can cut.
    pub fn is_known(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Package and core of each visible CPU, packages and cores renumbered from 0 by first sight.
    pub fn groups(&self, budget: &CpuBudget) -> Vec<(u32, u32)> {
        let mut packages = Vec::new();
        let mut cores: HashMap<usize, Vec<u32>> = HashMap::new();
        let mut places = Vec::with_capacity(budget.count());
        for block in self.visible(budget) {
            let package = position(&mut packages, block.package);
            let core = position(cores.entry(package).or_default(), block.core);
            places.push((small(package), small(core)));
        }
        places
    }

    fn visible<'a>(&'a self, budget: &'a CpuBudget) -> impl Iterator<Item = &'a Block> {
        // Both ascend, but a hot-unplugged CPU may be missing from either.
        budget.cpus.iter().filter_map(|cpu| {
            self.blocks
                .binary_search_by_key(cpu, |block| block.processor)
                .ok()
                .map(|index| &self.blocks[index])
        })
    }
}

/// Writes the visible CPUs' blocks.
pub fn render(
    host: &HostCpus,
    budget: &CpuBudget,
    topology: Topology,
    numbering: Numbering,
    out: &mut Vec<u8>,
) {
    let groups = if topology == Topology::Smt { host.groups(budget) } else { Vec::new() };
    let count = host.visible(budget).count() as u64;
    for (index, block) in host.visible(budget).enumerate() {
        let number = match numbering {
            Numbering::Virtual => index as u64,
            Numbering::Physical => u64::from(block.processor),
        };
        let place = Place::new(topology, index, number, count, &groups);
        for line in block.text.split_inclusive(|&byte| byte == b'\n') {
            match place.answer(key(line)) {
                Some(value) => put(line, value, out),
                None => out.extend_from_slice(line),
            }
        }
    }
    out.extend_from_slice(&host.tail);
}

/// The lines that say where a CPU sits; `None` keeps the host's.
struct Place {
    number: u64,
    package: Option<u64>,
    siblings: Option<u64>,
    core: Option<u64>,
    cores: Option<u64>,
    apic: Option<u64>,
}

impl Place {
    fn new(
        topology: Topology,
        index: usize,
        number: u64,
        count: u64,
        groups: &[(u32, u32)],
    ) -> Place {
        let index = index as u64;
        let some = |package, siblings, core, cores| Place {
            number,
            package: Some(package),
            siblings: Some(siblings),
            core: Some(core),
            cores: Some(cores),
            // Programs take apicid for unique; the host's would repeat after renumbering.
            apic: Some(index),
        };
        match topology {
            Topology::Flat => some(index, 1, 0, 1),
            Topology::OneSocket => some(0, count, index, count),
            Topology::Smt => {
                let (package, core) =
                    groups.get(usize::try_from(index).unwrap_or(0)).copied().unwrap_or((0, 0));
                let mates = groups.iter().filter(|place| place.0 == package);
                let cores = mates.clone().map(|place| place.1).max().unwrap_or(0) + 1;
                some(u64::from(package), mates.count() as u64, u64::from(core), u64::from(cores))
            }
            Topology::Host => {
                Place { number, package: None, siblings: None, core: None, cores: None, apic: None }
            }
        }
    }

    fn answer(&self, key: &[u8]) -> Option<u64> {
        match key {
            b"processor" => Some(self.number),
            b"physical id" => self.package,
            b"siblings" => self.siblings,
            b"core id" => self.core,
            b"cpu cores" => self.cores,
            b"apicid" | b"initial apicid" => self.apic,
            _ => None,
        }
    }
}

fn key(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b':').next().unwrap_or(line).trim_ascii_end()
}

fn put(line: &[u8], value: u64, out: &mut Vec<u8>) {
    let label = line.iter().position(|&byte| byte == b':').map_or(line.len(), |at| at + 1);
    out.extend_from_slice(&line[..label]);
    out.push(b' ');
    text::push_number(out, value);
    out.push(b'\n');
}

fn position(seen: &mut Vec<u32>, id: u32) -> usize {
    seen.iter().position(|&known| known == id).unwrap_or_else(|| {
        seen.push(id);
        seen.len() - 1
    })
}

fn small(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use expect_test::{expect, expect_file};

    use super::*;
    use crate::cpuset::CpuSet;

    const X86: &[u8] = include_bytes!("../../tests/fixtures/6.18-x86_64/cpuinfo-4");
    const ARM64: &[u8] = include_bytes!("../../tests/fixtures/arm64/cpuinfo");

    fn rendered(host: &[u8], cpus: &str, topology: Topology, numbering: Numbering) -> String {
        let budget = CpuBudget::new(&CpuSet::parse(cpus.as_bytes()).unwrap(), None);
        let mut out = Vec::new();
        render(&HostCpus::parse(host), &budget, topology, numbering, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn places(text: &str) -> String {
        let keys = ["processor", "physical id", "siblings", "core id", "cpu cores", "apicid"];
        text.split_terminator("\n\n")
            .map(|block| {
                let values: Vec<_> = block
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .filter(|(key, _)| keys.contains(&key.trim()))
                    .map(|(_, value)| value.trim())
                    .collect();
                values.join(" ") + "\n"
            })
            .collect()
    }

    #[test]
    fn flat_is_one_core_sockets_counted_from_zero() {
        let text = rendered(X86, "0,2-3", Topology::Flat, Numbering::Virtual);
        expect![[r#"
            0 0 1 0 1 0
            1 1 1 0 1 1
            2 2 1 0 1 2
        "#]]
        .assert_eq(&places(&text));
        expect_file!["../../tests/fixtures/golden/cpuinfo-flat"].assert_eq(&text);
    }

    #[test]
    fn other_topologies() {
        let smt = rendered(X86, "0,2-3", Topology::Smt, Numbering::Virtual);
        expect![[r#"
            0 0 1 0 1 0
            1 1 2 0 1 1
            2 1 2 0 1 2
        "#]]
        .assert_eq(&places(&smt));
        let one = rendered(X86, "0,2-3", Topology::OneSocket, Numbering::Virtual);
        expect![[r#"
            0 0 3 0 3 0
            1 0 3 1 3 1
            2 0 3 2 3 2
        "#]]
        .assert_eq(&places(&one));
        let host = rendered(X86, "2-3", Topology::Host, Numbering::Physical);
        expect![[r#"
            2 1 2 0 1 2
            3 1 2 0 1 3
        "#]]
        .assert_eq(&places(&host));
    }

    #[test]
    fn arm64_keeps_its_lines() {
        let text = rendered(ARM64, "0,2-3", Topology::Flat, Numbering::Virtual);
        expect_file!["../../tests/fixtures/golden/cpuinfo-arm64"].assert_eq(&text);
    }

    #[test]
    fn a_tail_without_a_processor_stays() {
        let text = rendered(
            b"processor : 0\nx : 1\n\nprocessor : 1\n\nHardware\t: board\n",
            "1",
            Topology::Flat,
            Numbering::Virtual,
        );
        assert_eq!(text, "processor : 0\n\nHardware\t: board\n");
    }

    #[test]
    fn five_hundred_cpus_are_all_there() {
        let host: Vec<u8> = (0..512)
            .flat_map(|cpu| {
                format!("processor\t: {cpu}\nflags\t\t: {}\n\n", "x".repeat(1400)).into_bytes()
            })
            .collect();
        let text = rendered(&host, "0-511", Topology::Flat, Numbering::Virtual);
        assert!(text.len() > 700_000);
        assert_eq!(text.matches("processor").count(), 512);
    }
}
