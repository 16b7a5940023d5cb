//! What meminfo and swaps say.

use std::fs;

use crate::{
    Story,
    world::{World, kb, pause},
};

pub(crate) const STORIES: &[Story] = &[
    ("memory_limit_is_the_total_and_follows_changes", memory_limit),
    ("the_lowest_limit_of_the_ancestors_counts", ancestors),
    ("no_limit_shows_the_hosts_total", no_limit),
    ("programs_run_and_their_sums_add_up", programs),
    ("dirty_pages_are_the_containers", dirty_pages),
    ("mapped_and_huge_pages_are_the_containers", mapped),
    ("swap_is_what_the_limit_leaves_of_the_hosts", swap),
    ("without_swap_there_is_none", swap_switched_off),
];

fn memory_limit() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("536870912");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 524_288);
    guest.limit_memory("1073741824");
    pause(110);
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 1_048_576);
}

fn ancestors() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    guest.limit_memory("629145600");
    guest.limit_parent_memory("524288000");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 512_000);
    // A limit the container sets itself, below, is not its size.
    let dir = guest.dir_with("memory.stat");
    let inner = dir.join("inner");
    fs::create_dir(&inner).unwrap();
    for file in ["memory.limit_in_bytes", "memory.max"] {
        if inner.join(file).exists() {
            fs::write(inner.join(file), "104857600").unwrap();
        }
    }
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 512_000);
}

fn no_limit() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    let host = kb(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), host);
    guest.limit_memory("1099511627776");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), host);
    guest.limit_memory("max");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), host);
}

/// Mounts the files where programs look for them, as an engine does.
const BIND: &str = "for f in cpuinfo meminfo stat uptime swaps loadavg diskstats partitions; do \
                    mount --bind $M/proc/$f /proc/$f; done";

fn programs() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("268435456");
    guest.run(&format!("M={}; {BIND}", world.mount().display()));
    let commands = [
        "free",
        "top -b -n 1",
        "vmstat",
        "ps aux",
        "uptime",
        "busybox free",
        "nproc",
        "lscpu",
        "iostat -d",
        "java -XX:+PrintFlagsFinal -XshowSettings:system -version",
        "python3 -c 'import os; os.getloadavg(); os.cpu_count()'",
        // It draws until it is told to end.
        "htop --version && (sleep 0.3; printf q) | TERM=xterm script -qec htop /dev/null",
    ];
    for command in commands {
        let found = guest.run(&format!("command -v {}", command.split(' ').next().unwrap()));
        if found.trim().is_empty() {
            continue;
        }
        let text = guest.run(&format!("{{ {command}; }} > /dev/null 2>&1; echo exit $?"));
        assert_eq!(text.trim(), "exit 0", "{command}");
    }
    let free = guest.run("free -k");
    let line = free.lines().find(|line| line.starts_with("Mem:")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    let [total, used, free, _, cached, available] = numbers[..] else { panic!("{free}") };
    assert_eq!(total, 262_144);
    assert!(used <= total && free + cached <= total && available <= total, "{line}");
    // What it calls used: the rest, or since procps 4.0.1 what is not available.
    assert!(used + free + cached == total || used + available == total, "{line}");
}

fn dirty_pages() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    let file = world.dir.path().join("dirty");
    guest.run(&format!("dd if=/dev/zero of={} bs=1M count=64", file.display()));
    let meminfo = guest.read("proc/meminfo");
    assert!(kb(&meminfo, "Cached") >= 60 * 1024, "{meminfo}");
    assert!(kb(&meminfo, "Dirty") + kb(&meminfo, "Writeback") > 0, "{meminfo}");
    assert!(kb(&meminfo, "Dirty") <= kb(&meminfo, "Cached"));
    // The host's own page cache is not in there.
    assert!(kb(&meminfo, "Cached") < 120 * 1024, "{meminfo}");
}

fn mapped() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    let (script, ready) = (world.dir.path().join("map.py"), world.dir.path().join("ready"));
    // By the container: pages are charged to who touches them first.
    let file = world.dir.path().join("mapped");
    guest.run(&format!("dd if=/dev/zero of={} bs=1M count=32", file.display()));
    fs::write(
        &script,
        "import mmap, os, sys, time\n\
         os.chdir(os.path.dirname(sys.argv[0]))\n\
         file = open('mapped', 'r+b')\n\
         pages = mmap.mmap(file.fileno(), 32 << 20)\n\
         huge = mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n\
         huge.madvise(mmap.MADV_HUGEPAGE)\n\
         for i in range(0, 32 << 20, 4096): pages[i]\n\
         for i in range(0, 64 << 20, 4096): huge[i] = 1\n\
         open('ready', 'w').close()\n\
         time.sleep(60)\n",
    )
    .unwrap();
    let before = guest.read("proc/meminfo");
    guest.run(&format!(
        "python3 {} & while ! test -e {} && test -e /proc/$!; do sleep 0.1; done",
        script.display(),
        ready.display()
    ));
    if !ready.exists() {
        return eprintln!("skipped: no python3 that could map pages");
    }
    let after = guest.read("proc/meminfo");
    let more = |key: &str| kb(&after, key).saturating_sub(kb(&before, key));
    assert!((32_000..80_000).contains(&more("Mapped")), "{after}");
    assert!(more("AnonPages") >= 64_000, "{after}");
    let huge = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap();
    if !huge.contains("[never]") {
        assert!(more("AnonHugePages") >= 2048, "{after}");
        assert!(kb(&after, "AnonHugePages") <= kb(&after, "AnonPages"), "{after}");
    }
}

fn swap() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    let host = kb(&fs::read_to_string("/proc/meminfo").unwrap(), "SwapTotal");
    let limit = guest.limit_swap(256 << 20);
    let wanted = if limit { host.min(262_144) } else { 0 };
    let meminfo = guest.read("proc/meminfo");
    assert_eq!(kb(&meminfo, "SwapTotal"), wanted, "{meminfo}");
    assert!(kb(&meminfo, "SwapFree") <= wanted, "{meminfo}");
    let swaps = guest.read("proc/swaps");
    let sizes: Vec<u64> = swaps
        .lines()
        .skip(1)
        .map(|l| l.split_whitespace().nth(2).unwrap().parse().unwrap())
        .collect();
    assert_eq!(sizes.iter().sum::<u64>(), wanted, "{swaps}");
    assert_eq!(sizes.len(), usize::from(wanted > 0), "{swaps}");
}

fn swap_switched_off() {
    let world = World::new(&["-u"]);
    let mut guest = world.guest();
    let meminfo = guest.read("proc/meminfo");
    assert_eq!((kb(&meminfo, "SwapTotal"), kb(&meminfo, "SwapFree")), (0, 0));
    assert_eq!(guest.read("proc/swaps").lines().count(), 1);
}
