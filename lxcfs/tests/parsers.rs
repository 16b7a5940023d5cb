//! Every parser and every view over damaged captures of kernel files.
//!
//! Nothing may panic, run away or write more than it was given reason to; and a line that makes no
//! sense costs that line.

use std::collections::BTreeMap;

use linux::cgroup::{MemoryStat, Version};
use lxcfs::{
    cpuset::CpuSet,
    sample::{
        CpuBudget, CpuUsage, MemorySample, SwapSample,
        block::{self, V1File},
        cpu, memory,
    },
    view::{
        self,
        cpuinfo::{Numbering, Topology},
    },
};
use proptest::{prelude::*, sample::Index};

/// As captured; see tests/fixtures/README.md.
const CAPTURES: [&[u8]; 9] = [
    include_bytes!("fixtures/6.18-x86_64/meminfo"),
    include_bytes!("fixtures/6.18-x86_64/cpuinfo"),
    include_bytes!("fixtures/6.18-x86_64/cpuinfo-4"),
    include_bytes!("fixtures/6.18-x86_64/stat"),
    include_bytes!("fixtures/6.18-x86_64/diskstats"),
    include_bytes!("fixtures/arm64/cpuinfo"),
    include_bytes!("fixtures/cgroup-v1/memory.stat"),
    include_bytes!("fixtures/cgroup-v2/memory.stat"),
    b"8:0 rbytes=1024 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n(unknown) rbytes=1\n8:16 \n\
      254:0 Read 4096\n254:0 Write 0\n254:0 Total 4096\nTotal 4096\n0-3,8\n150000 100000\n\
      user_usec 5\nsystem_usec 4\nthrottled_usec 9\nnr_throttled 1\n\
      some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
];

/// One thing that happens to a file.
#[derive(Debug, Clone)]
enum Damage {
    /// A byte becomes another.
    Flip(Index, u8),
    /// The rest is missing.
    Cut(Index),
    /// A piece is there again.
    Repeat(Index, Index),
    /// Something is put in.
    Insert(Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let words = prop_oneof![
        Just(b"18446744073709551616".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"\n\n: \n=\n".to_vec()),
        Just(b"0-4294967295,".to_vec()),
        Just(b"processor\t: 4294967295\n".to_vec()),
        Just(b"\0\xff\xfe".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        (any::<Index>(), words).prop_map(|(at, text)| Damage::Insert(at, text)),
    ]
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let file = (0..CAPTURES.len()).prop_map(|index| CAPTURES[index].to_vec());
    (file, proptest::collection::vec(damage(), 0..6)).prop_map(|(mut text, damages)| {
        for damage in damages {
            let place = |index: &Index, text: &[u8]| index.index(text.len() + 1);
            match damage {
                Damage::Flip(at, byte) => {
                    let at = place(&at, &text);
                    text.splice(at..(at + 1).min(text.len()), [byte]);
                }
                Damage::Cut(at) => text.truncate(place(&at, &text)),
                Damage::Repeat(from, to) => {
                    let ends = [place(&from, &text), place(&to, &text)];
                    let piece = text[ends[0].min(ends[1])..ends[0].max(ends[1])].to_vec();
                    text.extend_from_slice(&piece);
                }
                Damage::Insert(at, piece) => {
                    let at = place(&at, &text);
                    text.splice(at..at, piece);
                }
            }
        }
        text
    })
}

fn sample(text: &[u8], version: Version) -> MemorySample {
    let stat = MemoryStat::parse(&String::from_utf8_lossy(text), version);
    let (limit, both) = memory::parse_v1_limits(text);
    let swap = SwapSample { limit: both, used: stat.swap_cached, closed: false };
    MemorySample { limit, usage: stat.anon, stat, swap: Some(swap), huge_pages: None }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn damaged_files_cost_no_read(text in damaged(), other in damaged()) {
        let mut out = Vec::new();
        for version in [Version::V1, Version::V2] {
            let policy = view::meminfo::Policy::default();
            let host = view::meminfo::HostMeminfo::parse(text.clone());
            view::meminfo::render(&host, &sample(&other, version), &policy, &mut out);
            CpuUsage::parse_throttled(&text, version);
        }
        let cpus = view::cpuinfo::HostCpus::parse(&text);
        let mask = CpuSet::parse(&other).unwrap_or_else(|| CpuSet::first(4));
        let quota = cpu::parse_cpu_max(&other).or(cpu::parse_cfs(&text, &other));
        let budget = CpuBudget::new(&mask, quota);
        prop_assert!(budget.count() >= 1 && budget.micro_cpus >= 1);
        for topology in [Topology::Flat, Topology::OneSocket, Topology::Smt, Topology::Host] {
            for numbering in [Numbering::Virtual, Numbering::Physical] {
                view::cpuinfo::render(&cpus, &budget, topology, numbering, &mut out);
            }
        }
        view::stat::render(&text, &view::stat::StatSample::default(), &mut out);
        view::pressure::is_valid(&text);
        CpuUsage::parse_stat(&text);
        memory::parse_limit(&text);
        let mut disks = block::parse_io_stat(&text);
        block::parse_v1(&other, V1File::Bytes, &mut disks);
        prop_assert!(out.len() < 64 * (text.len() + other.len() + 4096), "{} bytes", out.len());
    }

    #[test]
    fn a_line_that_makes_no_sense_costs_that_line(
        at in any::<Index>(),
        nonsense in "[ -~]{0,30}",
    ) {
        let nonsense = format!("?{nonsense}");
        let with = |file: &str| {
            let mut lines: Vec<&str> = file.lines().collect();
            lines.insert(at.index(lines.len() + 1), &nonsense);
            lines.join("\n") + "\n"
        };
        let stat = include_str!("fixtures/cgroup-v2/memory.stat");
        prop_assert_eq!(
            MemoryStat::parse(&with(stat), Version::V2),
            MemoryStat::parse(stat, Version::V2)
        );
        let stat = include_str!("fixtures/cgroup-v1/memory.stat");
        prop_assert_eq!(
            memory::parse_v1_limits(with(stat).as_bytes()),
            memory::parse_v1_limits(stat.as_bytes())
        );
        let io = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 rbytes=9\n";
        prop_assert_eq!(block::parse_io_stat(with(io).as_bytes()), block::parse_io_stat(io.as_bytes()));
        let bytes = "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\n";
        let parse = |text: &str| {
            let mut disks = BTreeMap::new();
            block::parse_v1(text.as_bytes(), V1File::Bytes, &mut disks);
            disks
        };
        prop_assert_eq!(parse(&with(bytes)), parse(bytes));
        let usage = "usage_usec 9\nuser_usec 5\nsystem_usec 4\nthrottled_usec 8\n";
        prop_assert_eq!(
            CpuUsage::parse_stat(with(usage).as_bytes()),
            CpuUsage::parse_stat(usage.as_bytes())
        );
    }
}
