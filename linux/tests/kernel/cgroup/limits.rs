use expect_test::{Expect, expect};
use linux::CloneFlags;
use linux::cgroup::resources::{
    Block, Cpu, Cpuset, DeviceWeight, HugePages, Memory, Throttle, ThrottleKind,
};
use linux::cgroup::{Bound, Cgroup, CpuLimit, Pressure, Resources, Version};
use linux::device::DeviceNumber;

use super::{World, child, read, sleeper};

crate::cases![
    memory_and_swap_in_both_directions,
    the_tightest_memory_limit_counts,
    memory_usage_is_that_of_the_cgroup,
    cpu_time_in_both_directions,
    cpu_usage_grows,
    cpus_are_those_of_the_cgroup,
    pids_are_limited,
    disks_are_limited,
    disks_are_shared_where_a_scheduler_can,
    huge_pages_are_limited_where_they_are,
    one_who_has_processes_cannot_hand_down,
    any_file_of_the_v2_tree,
    an_update_that_fails_leaves_all_as_it_was,
    pressure_is_told,
];

pub(super) const MIB: u64 = 1 << 20;

fn memory(limit: Bound, swap: Option<Bound>) -> Resources {
    let memory = Memory { limit: Some(limit), swap, ..Memory::default() };
    Resources { memory, ..Resources::default() }
}

/// A world in which `controller` is to be had.
fn world_with(controller: &str) -> World {
    let world = World::new();
    if world.layout.with(controller).is_none() {
        crate::skip(&format!("no controller {controller}"));
    }
    world
}

fn memory_and_swap_in_both_directions() {
    let world = world_with("memory");
    let cgroup = world.create("a");
    let at = |mib| Bound::At(mib * MIB);
    for (limit, swap) in [(64, 128), (256, 512), (32, 40), (32, 32), (600, 1000)] {
        if cgroup.swap().unwrap().is_none() {
            crate::skip("the kernel does not account for swap");
        }
        cgroup.apply(&memory(at(limit), Some(at(swap)))).unwrap();
        assert_eq!(cgroup.memory_limit().unwrap(), Some(limit * MIB));
        let now = cgroup.swap().unwrap().unwrap();
        let sum = if now.limit_includes_memory { 0 } else { limit * MIB };
        assert_eq!(now.limit, Some(swap * MIB - sum));
    }
    cgroup.apply(&memory(Bound::Max, None)).unwrap();
    assert_eq!(cgroup.memory_limit().unwrap(), None);
    assert_eq!(cgroup.swap().unwrap().unwrap().limit, None);
}

fn the_tightest_memory_limit_counts() {
    let world = world_with("memory");
    let parent = world.create("a");
    let cgroup = world.create("a/b/c");
    parent.apply(&memory(Bound::At(100 * MIB), None)).unwrap();
    cgroup.apply(&memory(Bound::At(500 * MIB), None)).unwrap();
    assert_eq!(cgroup.memory_limit().unwrap(), Some(100 * MIB));
    assert_eq!(parent.memory_limit().unwrap(), Some(100 * MIB));
    cgroup.apply(&memory(Bound::At(20 * MIB), None)).unwrap();
    assert_eq!(cgroup.memory_limit().unwrap(), Some(20 * MIB));
    assert_eq!(parent.memory_limit().unwrap(), Some(100 * MIB));
}

fn memory_usage_is_that_of_the_cgroup() {
    let world = world_with("memory");
    let cgroup = world.create("a");
    let (told, tell) = rustix::pipe::pipe().unwrap();
    let (asked, ask) = rustix::pipe::pipe().unwrap();
    let (_, pidfd) = child(&cgroup, CloneFlags::empty(), || {
        let block = vec![1u8; 32 << 20];
        rustix::io::write(&tell, b"!").unwrap();
        rustix::io::read(&asked, &mut [0u8]).unwrap();
        i32::from(block[1 << 20]) - 1
    });
    rustix::io::read(&told, &mut [0u8]).unwrap();
    let usage = cgroup.memory_usage().unwrap().unwrap();
    assert!((32 * MIB..64 * MIB).contains(&usage), "{usage}");
    let stat = cgroup.memory_stat().unwrap().unwrap();
    assert!(stat.anon > 24 * MIB, "{stat:?}");
    let used =
        Memory { limit: Some(Bound::At(16 * MIB)), check_before_update: true, ..Memory::default() };
    let error = cgroup.apply(&Resources { memory: used, ..Resources::default() }).unwrap_err();
    let text = world.plain(&error);
    assert!(text.starts_with("linux.resources.memory.limit: set to 16777216 with "), "{text}");
    expect![" in use: device or resource busy (EBUSY); memory.checkBeforeUpdate forbids it; free some or leave that out"]
        .assert_eq(text.split_once("with ").unwrap().1.trim_start_matches(|c: char| c.is_ascii_digit()));
    rustix::io::write(&ask, b"?").unwrap();
    assert!(pidfd.wait().unwrap().is_success());
    assert_eq!(cgroup.memory_events().unwrap().oom_kills, 0);
    assert!(cgroup.memory_peak().unwrap().is_none_or(|peak| peak >= usage));
}

pub(super) fn cpu(cpu: Cpu) -> Resources {
    Resources { cpu, ..Resources::default() }
}

fn cpu_time_in_both_directions() {
    let world = world_with("cpu");
    let cgroup = world.create("a");
    let limit = |quota_us, period_us| Some(CpuLimit { quota_us, period_us });
    for (quota, period) in [(50_000, 100_000), (400_000, 1_000_000), (2_000, 10_000)] {
        let time = Cpu {
            quota_us: Some(Bound::At(quota)),
            period_us: Some(period),
            burst_us: Some(quota / 2),
            ..Cpu::default()
        };
        cgroup.apply(&cpu(time)).unwrap();
        assert_eq!(cgroup.cpu_limit().unwrap(), limit(quota, period));
    }
    cgroup.apply(&cpu(Cpu { period_us: Some(20_000), ..Cpu::default() })).unwrap();
    assert_eq!(cgroup.cpu_limit().unwrap(), limit(2_000, 20_000));
    cgroup.apply(&cpu(Cpu { quota_us: Some(Bound::At(5_000)), ..Cpu::default() })).unwrap();
    assert_eq!(cgroup.cpu_limit().unwrap(), limit(5_000, 20_000));
    let below = world.create("a/b");
    assert_eq!(below.cpu_limit().unwrap(), limit(5_000, 20_000));
    cgroup.apply(&cpu(Cpu { quota_us: Some(Bound::Max), ..Cpu::default() })).unwrap();
    assert_eq!(below.cpu_limit().unwrap(), None);

    let shares = |shares, idle| cpu(Cpu { shares: Some(shares), idle, ..Cpu::default() });
    cgroup.apply(&shares(512, None)).unwrap();
    let dir = cgroup.controller_dir("cpu").unwrap();
    match world.layout.with("cpu").unwrap().version {
        Version::V1 => assert_eq!(read(dir.join("cpu.shares")), "512"),
        Version::V2 => assert_eq!(read(dir.join("cpu.weight")), "59"),
    }
    if !dir.join("cpu.idle").exists() {
        return;
    }
    for idle in [Some(true), Some(true), Some(false)] {
        cgroup.apply(&shares(1024, idle)).unwrap();
        assert_eq!(read(dir.join("cpu.idle")), u8::from(idle == Some(true)).to_string());
    }
    cgroup.apply(&cpu(Cpu { idle: Some(true), ..Cpu::default() })).unwrap();
    let error = cgroup.apply(&shares(1024, None)).unwrap_err().to_string();
    assert!(
        error.ends_with(": invalid argument (EINVAL); shares have no effect while cpu.idle is 1")
    );
}

fn cpu_usage_grows() {
    let world = World::new();
    let cgroup = world.create("a");
    let (_, pidfd) = child(&cgroup, CloneFlags::empty(), || {
        let begin = std::time::Instant::now();
        while begin.elapsed().as_millis() < 200 {
            std::hint::black_box(begin);
        }
        0
    });
    assert!(pidfd.wait().unwrap().is_success());
    let usage = cgroup.cpu_usage().unwrap();
    // Of the 200 ms this machine may have given it a part only.
    assert!((5_000..1_000_000).contains(&usage.total_us), "{usage:?}");
}

fn cpus_are_those_of_the_cgroup() {
    let world = world_with("cpuset");
    let cgroup = world.create("a");
    let all = cgroup.effective_cpus().unwrap().unwrap();
    let first = all.iter().next().unwrap();
    let cpuset = |cpus: &str| {
        let cpuset = Cpuset { cpus: Some(cpus.to_owned()), mems: Some("0".to_owned()) };
        Resources { cpuset, ..Resources::default() }
    };
    cgroup.apply(&cpuset(&first.to_string())).unwrap();
    assert_eq!(cgroup.effective_cpus().unwrap().unwrap().to_string(), first.to_string());
    assert_eq!(cgroup.effective_mems().unwrap().unwrap().to_string(), "0");
    let error = cgroup.apply(&cpuset("x")).unwrap_err();
    expect![[r#"linux.resources.cpu.cpus: CPU list "x": invalid argument (EINVAL); write numbers and ranges, as in 0-3,8"#]]
        .assert_eq(&error.to_string());
    let error = world.plain(&cgroup.apply(&cpuset("60000")).unwrap_err());
    let (text, hint) = error.split_once("; ").unwrap();
    assert!(
        text.starts_with(r#"linux.resources.cpu.cpus: write "60000" to TOP/TEST/a/cpuset.cpus: "#)
    );
    expect!["name online CPUs or memory nodes that the parent cgroup has, as in 0-3,8"]
        .assert_eq(hint);
}

fn pids_are_limited() {
    let world = world_with("pids");
    let cgroup = world.create("a");
    let limit = |bound| Resources { pids: Some(bound), ..Resources::default() };
    cgroup.apply(&limit(Bound::At(2))).unwrap();
    let (_, pidfd) = child(&cgroup, CloneFlags::empty(), || {
        let one = std::process::Command::new("sleep").arg("100").spawn();
        let two = std::process::Command::new("sleep").arg("100").spawn();
        let refused = two.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        let mut one = one.unwrap();
        one.kill().unwrap();
        one.wait().unwrap();
        i32::from(!refused)
    });
    assert!(pidfd.wait().unwrap().is_success());
    let below = world.create("a/b");
    assert_eq!(below.pids().unwrap().unwrap().limit, Some(2));
    cgroup.apply(&limit(Bound::Max)).unwrap();
    assert_eq!(below.pids().unwrap().unwrap().limit, None);
    let (_, pidfd) = sleeper(&below);
    assert_eq!(cgroup.pids().unwrap().unwrap().current, 1);
    pidfd.signal(linux::signal::Signal::KILL).unwrap();
    pidfd.wait().unwrap();
}

/// A whole disk of this machine.
fn disk() -> Option<DeviceNumber> {
    let mut disks: Vec<_> = std::fs::read_dir("/sys/block").ok()?.flatten().collect();
    disks.sort_by_key(std::fs::DirEntry::file_name);
    disks.iter().find_map(|disk| read(disk.path().join("dev")).parse().ok())
}

fn throttle(device: DeviceNumber, kind: ThrottleKind, rate: u64) -> Resources {
    let block = Block { throttles: vec![Throttle { device, kind, rate }], ..Block::default() };
    Resources { block, ..Resources::default() }
}

fn disks_are_limited() {
    let world = World::new();
    let cgroup = world.create("a");
    let (Some(dir), Some(disk)) =
        (cgroup.controller_dir("blkio").or_else(|| cgroup.controller_dir("io")), disk())
    else {
        crate::skip("no disk, or no controller for it");
    };
    let kinds = [
        (ThrottleKind::ReadBytes, "blkio.throttle.read_bps_device", "rbps=1048576"),
        (ThrottleKind::WriteBytes, "blkio.throttle.write_bps_device", "wbps=1048576"),
        (ThrottleKind::ReadOperations, "blkio.throttle.read_iops_device", "riops=1048576"),
        (ThrottleKind::WriteOperations, "blkio.throttle.write_iops_device", "wiops=1048576"),
    ];
    for (kind, v1, v2) in kinds {
        cgroup.apply(&throttle(disk, kind, MIB)).unwrap();
        if dir.join(v1).exists() {
            assert_eq!(read(dir.join(v1)), format!("{disk} {MIB}"));
        } else {
            assert!(read(dir.join("io.max")).contains(v2));
        }
        cgroup.apply(&throttle(disk, kind, 0)).unwrap();
        let file = if dir.join(v1).exists() { v1 } else { "io.max" };
        assert_eq!(read(dir.join(file)), "");
    }
    // Nobody has read or written, or somebody has; the file is understood.
    cgroup.block_usage().unwrap();
    let nobody = DeviceNumber { major: 4094, minor: 1 };
    let error =
        cgroup.apply(&throttle(nobody, ThrottleKind::ReadBytes, 1)).unwrap_err().to_string();
    assert!(
        error.ends_with("no such device (ENODEV); name a whole disk by major:minor"),
        "{error}"
    );
}

fn disks_are_shared_where_a_scheduler_can() {
    let world = World::new();
    let cgroup = world.create("a");
    let (Some(dir), Some(disk)) =
        (cgroup.controller_dir("blkio").or_else(|| cgroup.controller_dir("io")), disk())
    else {
        crate::skip("no disk, or no controller for it");
    };
    let shares = |weight, devices: &[DeviceWeight]| {
        let block = Block { weight, devices: devices.to_vec(), ..Block::default() };
        Resources { block, ..Resources::default() }
    };
    let files = ["blkio.weight", "blkio.bfq.weight", "io.bfq.weight", "io.weight"];
    let Some(file) = files.into_iter().find(|file| dir.join(file).exists()) else {
        return refusal(
            &cgroup,
            &world,
            &shares(Some(500), &[]),
            expect![
                "linux.resources.blockIO.weight: set to 500: operation not supported (EOPNOTSUPP); shares of a disk need the BFQ scheduler, or io.cost on cgroup v2"
            ],
        );
    };
    cgroup.apply(&shares(Some(500), &[])).unwrap();
    let expected = if file == "io.weight" { "4950" } else { "500" };
    let text = read(dir.join(file));
    assert!(text.ends_with(expected), "{file}: {text}");
    // The file of one disk is there with the file of all, or that disk has no such scheduler.
    let one = DeviceWeight { device: disk, weight: Some(300), leaf_weight: None };
    if let Err(error) = cgroup.apply(&shares(None, &[one])) {
        let text = world.plain(&error);
        assert!(text.starts_with("linux.resources.blockIO.weightDevice: "), "{text}");
    }
}

fn huge_pages(limit: u64) -> Resources {
    let huge_pages = vec![HugePages { page_size: "2MB".to_owned(), limit }];
    Resources { huge_pages, ..Resources::default() }
}

fn huge_pages_are_limited_where_they_are() {
    let world = world_with("hugetlb");
    let cgroup = world.create("a");
    cgroup.apply(&huge_pages(4 * MIB)).unwrap();
    let dir = cgroup.controller_dir("hugetlb").unwrap();
    let file = match world.layout.with("hugetlb").unwrap().version {
        Version::V1 => "hugetlb.2MB.limit_in_bytes",
        Version::V2 => "hugetlb.2MB.max",
    };
    assert_eq!(read(dir.join(file)), (4 * MIB).to_string());
    let wrong = vec![HugePages { page_size: "../2MB".to_owned(), limit: 0 }];
    let error = cgroup.apply(&Resources { huge_pages: wrong, ..Resources::default() }).unwrap_err();
    expect![[r#"linux.resources.hugepageLimits: page size "../2MB": invalid argument (EINVAL); write it as in 2MB or 1GB"#]]
        .assert_eq(&error.to_string());
}

fn one_who_has_processes_cannot_hand_down() {
    let world = world_with("hugetlb");
    if world.layout.with("hugetlb").unwrap().version == Version::V1 {
        crate::skip("no controller of the v2 tree to try it with");
    }
    let parent = world.create("a");
    let (_, pidfd) = sleeper(&parent);
    // Made all the same: it is no matter until the controller is wanted.
    let cgroup = world.create("a/b");
    let error = cgroup.apply(&huge_pages(0)).unwrap_err();
    expect!["linux.resources.hugepageLimits: enable controller hugetlb in TOP/TEST/a: device or resource busy (EBUSY); processes live in that very cgroup; move them to one of its children"]
        .assert_eq(&world.plain(&error));
    pidfd.signal(linux::signal::Signal::KILL).unwrap();
    pidfd.wait().unwrap();
    // From Linux 6.19 on a process may have been waited for and be in its cgroup for a moment.
    while !parent.procs().unwrap().is_empty() {
        rustix::thread::sched_yield();
    }
    cgroup.apply(&huge_pages(0)).unwrap();
}

pub(super) fn unified(file: &str, value: &str) -> Resources {
    Resources { unified: vec![(file.to_owned(), value.to_owned())], ..Resources::default() }
}

fn any_file_of_the_v2_tree() {
    let world = World::only(Version::V2);
    let cgroup = world.create("a");
    cgroup.apply(&unified("cgroup.max.depth", "7")).unwrap();
    assert_eq!(read(cgroup.unified_dir().unwrap().join("cgroup.max.depth")), "7");
    let check = |file, value, expect: Expect| {
        expect.assert_eq(&world.plain(&cgroup.apply(&unified(file, value)).unwrap_err()));
    };
    check(
        "../memory.high",
        "1",
        expect![[
            r#"linux.resources.unified["../memory.high"]: invalid argument (EINVAL); name a file of the v2 cgroup, as in memory.high"#
        ]],
    );
    check(
        "cgroup.procs",
        "1",
        expect![[
            r#"linux.resources.unified["cgroup.procs"]: operation not supported (EOPNOTSUPP); processes and controllers of the cgroup are the runtime's to set"#
        ]],
    );
    check(
        "nonsense.max",
        "1",
        expect![[
            r#"linux.resources.unified["nonsense.max"]: write "1" to TOP/TEST/a/nonsense.max: no such file or directory (ENOENT); the v2 tree of this host has no such controller or file"#
        ]],
    );
}

fn an_update_that_fails_leaves_all_as_it_was() {
    let world = world_with("cpuset");
    for controller in ["memory", "cpu", "pids"] {
        if world.layout.with(controller).is_none() {
            crate::skip(&format!("no controller {controller}"));
        }
    }
    let cgroup = world.create("a");
    let settings = |times: u64, cpus: Option<&str>| Resources {
        cpu: Cpu {
            shares: Some(200 * times),
            quota_us: Some(Bound::At(20_000 * times)),
            period_us: Some(100_000),
            ..Cpu::default()
        },
        cpuset: Cpuset { cpus: cpus.map(str::to_owned), mems: None },
        memory: Memory {
            limit: Some(Bound::At(64 * MIB * times)),
            swap: Some(Bound::At(96 * MIB * times)),
            disable_oom_killer: Some(false),
            ..Memory::default()
        },
        pids: Some(Bound::At(10 * times)),
        block: disk().map_or_else(Block::default, |disk| {
            throttle(disk, ThrottleKind::ReadBytes, MIB * times).block
        }),
        ..Resources::default()
    };
    cgroup.apply(&settings(2, None)).unwrap();
    let files = |cgroup: &Cgroup| {
        let mut text = String::new();
        for dir in cgroup.dirs() {
            for name in [
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                "memory.max",
                "memory.swap.max",
                "cpu.shares",
                "cpu.weight",
                "cpu.cfs_quota_us",
                "cpu.max",
                "pids.max",
                "cpuset.cpus",
                "blkio.throttle.read_bps_device",
                "io.max",
            ] {
                if dir.join(name).exists() {
                    text += &format!("{name}: {}\n", read(dir.join(name)));
                }
            }
        }
        text
    };
    let before = files(&cgroup);
    // The CPUs are refused after memory and time have been set; then all goes back, up and down.
    for times in [1, 5] {
        let error = cgroup.update(&settings(times, Some("60000"))).unwrap_err();
        assert!(error.to_string().starts_with("linux.resources.cpu.cpus: write "), "{error}");
        assert_eq!(files(&cgroup), before);
    }
    cgroup.update(&settings(5, None)).unwrap();
    assert_ne!(files(&cgroup), before);
    assert_eq!(cgroup.memory_limit().unwrap(), Some(5 * 64 * MIB));
}

fn pressure_is_told() {
    let world = World::only(Version::V2);
    let cgroup = world.create("a");
    if !std::path::Path::new("/proc/pressure/memory").exists() {
        crate::skip("the kernel measures no pressure");
    }
    let text = cgroup.pressure(Pressure::Memory).unwrap().unwrap();
    assert!(text.starts_with("some avg10="), "{text}");
}

pub(super) fn refusal(cgroup: &Cgroup, world: &World, resources: &Resources, expect: Expect) {
    expect.assert_eq(&world.plain(&cgroup.apply(resources).unwrap_err()));
}
