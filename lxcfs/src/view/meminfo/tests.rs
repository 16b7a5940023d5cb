use expect_test::expect_file;
use proptest::prelude::*;

use super::*;
use crate::sample::{HugePages, MemoryStat, SwapSample, Version};

const HOST: &[u8] = include_bytes!("../../../tests/fixtures/6.18-x86_64/meminfo");
const STAT_V1: &str = include_str!("../../../tests/fixtures/cgroup-v1/memory.stat");
const STAT_V2: &str = include_str!("../../../tests/fixtures/cgroup-v2/memory.stat");

fn policy() -> Policy {
    Policy { overcommit_ratio: 50, ..Policy::default() }
}

fn rendered(memory: &MemorySample) -> String {
    let mut out = Vec::new();
    render(&HostMeminfo::parse(HOST.to_vec()), memory, &policy(), &mut out);
    String::from_utf8(out).unwrap()
}

fn line(text: &str, key: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap();
    value(line.as_bytes()).unwrap()
}

#[test]
fn v1_golden() {
    let memory = MemorySample {
        limit: Some(256 << 20),
        usage: 40 << 20,
        stat: MemoryStat::parse(STAT_V1, Version::V1),
        ..MemorySample::default()
    };
    expect_file!["../../../tests/fixtures/golden/meminfo-v1"].assert_eq(&rendered(&memory));
}

#[test]
fn v2_golden() {
    let memory = MemorySample {
        limit: Some(512 << 20),
        usage: 200 << 20,
        stat: MemoryStat::parse(STAT_V2, Version::V2),
        swap: Some(SwapSample { limit: Some(1 << 30), used: 4 << 20, closed: false }),
        huge_pages: Some(HugePages { limit: 64 << 20, usage: 4 << 20 }),
    };
    expect_file!["../../../tests/fixtures/golden/meminfo-v2"].assert_eq(&rendered(&memory));
}

#[test]
fn without_a_limit_the_host_is_the_bound() {
    let text = rendered(&MemorySample::default());
    assert_eq!(line(&text, "MemTotal"), HostMeminfo::parse(HOST.to_vec()).memory);
}

#[test]
fn usage_above_the_limit_leaves_nothing_free() {
    let text = rendered(&MemorySample {
        limit: Some(10 << 20),
        usage: 50 << 20,
        ..MemorySample::default()
    });
    assert_eq!(line(&text, "MemFree"), 0);
    assert!(line(&text, "MemAvailable") <= line(&text, "MemTotal"));
}

#[test]
fn a_tiny_limit_is_still_a_divisor() {
    let text = rendered(&MemorySample { limit: Some(0), ..MemorySample::default() });
    assert_eq!(line(&text, "MemTotal"), 1);
}

#[test]
fn strict_leaves_unknown_lines_out() {
    let mut out = Vec::new();
    let policy = Policy { strict: true, ..policy() };
    let host = b"MemTotal:  100 kB\nSecret:   77 kB\nDirectMap4k:  8 kB\n";
    render(&HostMeminfo::parse(host.to_vec()), &MemorySample::default(), &policy, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "MemTotal:  100 kB\n");
}

fn stats() -> impl Strategy<Value = MemoryStat> {
    proptest::collection::vec(any::<u64>(), 24).prop_map(|values| MemoryStat {
        file: values[0],
        anon: values[1],
        shmem: values[2],
        mapped: values[3],
        dirty: values[4],
        writeback: values[5],
        active_anon: values[6],
        inactive_anon: values[7],
        active_file: values[8],
        inactive_file: values[9],
        unevictable: values[10],
        anon_huge: values[11],
        shmem_huge: values[12],
        file_huge: values[13],
        slab_reclaimable: values[14],
        slab_unreclaimable: values[15],
        kernel_stack: values[16],
        page_tables: values[17],
        sec_page_tables: values[18],
        percpu: values[19],
        vmalloc: values[20],
        swap_cached: values[21],
        zswap: values[22],
        zswapped: values[23],
        ..MemoryStat::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn every_value_keeps_its_bound(
        stat in stats(),
        limit in proptest::option::of(any::<u64>()),
        usage in any::<u64>(),
        swap in proptest::option::of((proptest::option::of(any::<u64>()), any::<u64>(), any::<bool>())),
        shift in 0u32..64,
    ) {
        let swap = swap.map(|(limit, used, closed)| SwapSample { limit, used: used >> shift, closed });
        let has_swap = swap.is_some();
        let text = rendered(&MemorySample {
            limit: limit.map(|limit| limit >> shift), usage: usage >> shift, stat, swap, huge_pages: None,
        });
        let total = line(&text, "MemTotal");
        prop_assert!(total >= 1 && total <= HostMeminfo::parse(HOST.to_vec()).memory);
        for part in text.lines().filter(|line| line.ends_with("kB")) {
            let (key, _) = part.split_once(':').unwrap();
            if !key.starts_with("Swap") && !key.starts_with("Vmalloc")
                && !key.starts_with("Commit") && !key.starts_with("Hugepagesize")
                && !key.starts_with("Zswapped") {
                prop_assert!(value(part.as_bytes()).unwrap() <= total, "{}", part);
            }
        }
        let sum = line(&text, "MemFree") + line(&text, "Buffers") + line(&text, "Cached")
            + line(&text, "SReclaimable");
        prop_assert!(sum <= total);
        prop_assert!(line(&text, "SwapFree") <= line(&text, "SwapTotal"));
        prop_assert!(has_swap || line(&text, "SwapTotal") == 0);
    }
}
