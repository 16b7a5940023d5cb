//! What the files say.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    Story,
    world::{World, kb, pause, slow, until},
};

pub(crate) const STORIES: &[Story] = &[
    ("memory_limit_is_the_total_and_follows_changes", memory_limit),
    ("the_lowest_limit_of_the_ancestors_counts", ancestors),
    ("no_limit_shows_the_hosts_total", no_limit),
    ("programs_run_and_their_sums_add_up", programs),
    ("dirty_pages_are_the_containers", dirty_pages),
    ("without_swap_there_is_none", swap_switched_off),
    ("a_quota_makes_cpus_everywhere_alike", quota),
    ("a_cpuset_makes_cpus", cpuset),
    ("an_idle_container_is_idle_while_the_host_is_busy", idle),
    ("a_spinner_in_a_cpu_and_a_half_is_two_thirds", two_thirds),
    ("stat_never_goes_back_and_adds_up_while_limits_change", stat_is_monotonic),
    ("uptime_counts_from_the_init_whatever_its_name", uptime),
    ("load_averages_are_the_containers", load_average),
    ("disk_counters_are_the_containers", diskstats),
    ("slabinfo_shows_no_host", slabinfo),
    ("sysfs_agrees_with_itself", sysfs),
    ("pressure_is_the_cgroups", pressure),
    ("configuration_switches_files", configuration),
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
    for command in ["free", "top -b -n 1", "vmstat", "ps aux", "uptime", "busybox free", "nproc"] {
        let found = guest.run(&format!("command -v {}", command.split(' ').next().unwrap()));
        if found.trim().is_empty() {
            continue;
        }
        let text = guest.run(&format!("{command} > /dev/null; echo exit $?"));
        assert_eq!(text.trim(), "exit 0", "{command}");
    }
    let free = guest.run("free -k");
    let line = free.lines().find(|line| line.starts_with("Mem:")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    let [total, used, free, _, cached, available] = numbers[..] else { panic!("{free}") };
    assert_eq!(total, 262_144);
    assert!(used <= total && free + cached <= total && available <= total, "{line}");
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

fn swap_switched_off() {
    let world = World::new(&["-u"]);
    let mut guest = world.guest();
    let meminfo = guest.read("proc/meminfo");
    assert_eq!((kb(&meminfo, "SwapTotal"), kb(&meminfo, "SwapFree")), (0, 0));
    assert_eq!(guest.read("proc/swaps").lines().count(), 1);
}

fn quota() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    let host = std::thread::available_parallelism().unwrap().get();
    let count = |guest: &mut crate::world::Guest| {
        let cpuinfo = guest.read("proc/cpuinfo").matches("processor").count();
        let stat = guest.read("proc/stat");
        let stat = stat.lines().filter(|line| line.starts_with("cpu")).count() - 1;
        let lists = ["online", "present", "possible"]
            .map(|list| guest.read(&format!("sys/devices/system/cpu/{list}")));
        assert_eq!(cpuinfo, stat);
        let wanted = if cpuinfo == 1 { "0\n".into() } else { format!("0-{}\n", cpuinfo - 1) };
        assert_eq!(lists, [wanted.clone(), wanted.clone(), wanted]);
        cpuinfo
    };
    assert_eq!(count(&mut guest), host);
    guest.set_quota(150_000);
    assert_eq!(count(&mut guest), 2.min(host));
    guest.set_quota(50_000);
    assert_eq!(count(&mut guest), 1);
    guest.set_quota(-1);
    guest.set_parent_quota(100_000);
    assert_eq!(count(&mut guest), 1);
}

fn cpuset() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    let last = std::thread::available_parallelism().unwrap().get() - 1;
    guest.set_cpus(&last.to_string());
    let cpuinfo = guest.read("proc/cpuinfo");
    assert_eq!(cpuinfo.matches("processor").count(), 1);
    assert!(cpuinfo.contains("processor\t: 0\n"), "{cpuinfo}");
    if cpuinfo.contains("physical id") {
        for line in
            ["physical id\t: 0\n", "siblings\t: 1\n", "core id\t\t: 0\n", "cpu cores\t: 1\n"]
        {
            assert!(cpuinfo.contains(line), "{line} in {cpuinfo}");
        }
    }
    assert_eq!(
        guest
            .run(&format!(
                "ls -d {}/sys/devices/system/cpu/cpu[0-9]* | wc -l",
                world.mount().display()
            ))
            .trim(),
        "1"
    );
}

/// Busy and idle ticks of the `cpu` line.
fn ticks(stat: &str) -> (u64, u64) {
    let line = stat.lines().next().unwrap();
    let numbers: Vec<u64> = line.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    (numbers[0] + numbers[1] + numbers[2], numbers[3])
}

fn idle() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    let mut busy = world.guest();
    busy.start("timeout 2 sh -c 'while :; do :; done'");
    let before = ticks(&guest.read("proc/stat"));
    pause(1500);
    let after = ticks(&guest.read("proc/stat"));
    busy.finish();
    // Reading costs the container something too: one program.
    assert!(after.0 - before.0 <= 10 * u64::from(slow()), "{before:?} {after:?}");
    assert!(after.1 - before.1 >= 100, "{before:?} {after:?}");
}

fn two_thirds() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.set_quota(150_000);
    guest.run("timeout 4 sh -c 'while :; do :; done' & pause=1");
    let start = Instant::now();
    let before = ticks(&guest.read("proc/stat"));
    pause(2000);
    let after = ticks(&guest.read("proc/stat"));
    let elapsed = start.elapsed().as_secs_f64() * 100.0;
    let (busy, idle) = (after.0 - before.0, after.1 - before.1);
    // Busy and idle together are one and a half CPUs; reading takes a part of the time itself.
    let total = (busy + idle) as f64;
    assert!(total <= 1.5 * elapsed + 3.0, "busy {busy} idle {idle} elapsed {elapsed}");
    assert!(total >= 1.5 * 195.0, "busy {busy} idle {idle} elapsed {elapsed}");
    assert!(busy > 20, "busy {busy} idle {idle} elapsed {elapsed}");
}

fn stat_is_monotonic() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    guest.run("timeout 60 sh -c 'while :; do :; done' & sleep 0.01");
    let mut last: std::collections::HashMap<String, Vec<u64>> = std::collections::HashMap::new();
    let end = Instant::now() + Duration::from_secs(60);
    let cpus = std::thread::available_parallelism().unwrap().get();
    let mut round = 0;
    while round < 60 && Instant::now() < end {
        round += 1;
        match round % 5 {
            0 => guest.set_quota([-1, 50_000, 150_000][round / 5 % 3]),
            2 => guest.set_cpus(if round % 10 == 2 { "0" } else { full(cpus) }),
            _ => {}
        }
        if round == 30 {
            crate::world::kill(world.worker(), 9);
        }
        let stat = guest.read("proc/stat");
        let mut sum = vec![0; 10];
        let mut seen = std::collections::HashMap::new();
        for line in stat.lines().filter(|line| line.starts_with("cpu")) {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap().to_owned();
            let numbers: Vec<u64> = words.map(|n| n.parse().unwrap()).collect();
            if name != "cpu" {
                sum.iter_mut().zip(&numbers).for_each(|(sum, n)| *sum += n);
            }
            if let Some(old) = last.get(&name) {
                assert!(
                    old.iter().zip(&numbers).all(|(old, new)| old <= new),
                    "{name} {old:?} {numbers:?}"
                );
            }
            seen.insert(name, numbers);
        }
        assert_eq!(seen["cpu"], sum, "{stat}");
        assert!(seen["cpu"].iter().any(|n| *n > 0) || round < 5, "all zeros");
        last = seen;
    }
    assert!(round > 30, "only {round} rounds");
}

fn full(cpus: usize) -> &'static str {
    if cpus == 1 { "0" } else { "0-1" }
}

fn uptime() {
    let world = World::new(&[]);
    let mut guest = world.guest_named("a) b (c busybox");
    let age = |text: &str| -> f64 { text.split(' ').next().unwrap().parse().unwrap() };
    let idle = |text: &str| -> f64 { text.trim().split(' ').nth(1).unwrap().parse().unwrap() };
    let pid = linux::process::Pid::new(guest.pid()).unwrap();
    let start = linux::process::start_time(pid).unwrap();
    for _ in 0..5 {
        let text = guest.read("proc/uptime");
        let host = age(&fs::read_to_string("/proc/uptime").unwrap());
        let wanted = host - start as f64 / 100.0;
        assert!((age(&text) - wanted).abs() < 0.4 * f64::from(slow()), "{text} {wanted}");
        let cpus = std::thread::available_parallelism().unwrap().get() as f64;
        assert!(idle(&text) <= age(&text) * cpus + 0.02, "{text}");
        pause(100);
    }
    let btime = |stat: &str| stat.lines().find(|l| l.starts_with("btime")).unwrap().to_owned();
    assert_eq!(btime(&guest.read("proc/stat")), btime(&fs::read_to_string("/proc/stat").unwrap()));
    guest.end();
    let mut again = world.guest();
    assert!(age(&again.read("proc/uptime")) < 3.0);
}

fn load_average() {
    let world = World::new(&["-l"]);
    let mut guest = world.guest();
    let mut other = world.guest();
    guest.run("for i in 1 2 3 4; do timeout 15 sh -c 'while :; do :; done' & done; sleep 1");
    let first = |text: &str| -> f64 { text.split(' ').next().unwrap().parse().unwrap() };
    // What runs when the first asks is taken for what ran before.
    let text = guest.read("proc/loadavg");
    assert!((3.0..=6.0).contains(&first(&text)), "{text}");
    let quiet = other.read("proc/loadavg");
    assert!(first(&quiet) <= 2.0, "{quiet}");
    let fields: Vec<&str> = text.split_whitespace().collect();
    let last_pid: u64 = fields[4].parse().unwrap();
    assert!(last_pid < 1000, "{text}");
    until("the other's load falls", || {
        first(&other.read("proc/loadavg")) < 0.95 * first(&quiet).max(1.0)
    });
}

fn diskstats() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    let mut other = world.guest();
    // Since Linux 6.10 the v1 throttle layer counts only once a rule exists for the disk.
    let disks = fs::read_to_string("/proc/partitions").unwrap();
    let disk = disks.lines().skip(2).find(|line| !line.contains("loop") && !line.contains("zram"));
    let words: Vec<&str> = disk.unwrap().split_whitespace().collect();
    let v1 = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        guest.dir_with("blkio.throttle.write_bps_device")
    }));
    if let Ok(dir) = v1 {
        let rule = format!("{}:{} 1099511627776", words[0], words[1]);
        fs::write(dir.join("blkio.throttle.write_bps_device"), rule).unwrap();
    }
    let file = world.dir.path().join("blob");
    let done = guest.run(&format!(
        "dd if=/dev/zero of={} bs=1M count=100 oflag=direct 2>/dev/null; echo $?",
        file.display()
    ));
    let written = |text: &str| -> u64 {
        let column = |line: &str| line.split_whitespace().nth(9).unwrap().parse::<u64>().unwrap();
        text.lines().map(column).sum()
    };
    let text = guest.read("proc/diskstats");
    for line in text.lines() {
        assert_eq!(line.split_whitespace().count(), 20, "{line}");
    }
    assert_eq!(done, "0\n");
    let sectors = written(&text);
    assert!((202_700..=207_000).contains(&sectors), "{text}");
    assert!(text.contains(" sda "), "{text}");
    let partitions = guest.read("proc/partitions");
    assert_eq!(partitions.lines().count() - 2, text.lines().count(), "{partitions}");
    assert_eq!(written(&other.read("proc/diskstats")), 0);
}

fn slabinfo() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    let text = guest.read("proc/slabinfo");
    assert_eq!(text.lines().count(), 2, "{text}");
    let path = world.mount().join("proc/slabinfo");
    let refused =
        guest.run(&format!("setpriv --reuid 65534 --clear-groups cat {}", path.display()));
    assert!(refused.contains("ermission denied"), "{refused}");
}

fn sysfs() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    guest.set_quota(100_000);
    let dir = world.mount().join("sys/devices/system/cpu");
    let list = guest.run(&format!("ls -a {}", dir.display()));
    let mut names: Vec<&str> = list.lines().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "duplicates in {list}");
    assert!(names.contains(&"cpu0") && !names.contains(&"cpu1"), "{list}");
    assert_eq!(guest.read("sys/devices/system/cpu/offline"), "\n");
    let topology = "sys/devices/system/cpu/cpu0/topology";
    assert_eq!(guest.read(&format!("{topology}/core_id")), "0\n");
    assert_eq!(guest.read(&format!("{topology}/core_cpus_list")), "0\n");
    guest.run(&format!("mount --bind {} /sys/devices/system/cpu", dir.display()));
    assert_eq!(guest.run("getconf _NPROCESSORS_CONF; getconf _NPROCESSORS_ONLN"), "1\n1\n");
}

fn pressure() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    if !Path::new("/proc/pressure/cpu").exists() {
        return;
    }
    let own = guest.dir_with("cpu.pressure").join("memory.pressure");
    let total =
        |text: &str| text.lines().next().unwrap().split("total=").nth(1).unwrap().to_owned();
    assert_eq!(
        total(&guest.read("proc/pressure/memory")),
        total(&fs::read_to_string(own).unwrap())
    );
}

fn configuration() {
    let world = World::empty();
    let config = world.dir.path().join("conf");
    fs::write(&config, "meminfo = passthrough\nslabinfo = off\ntopology = one-socket\n").unwrap();
    let mut world = world;
    world.start(&["-c", config.to_str().unwrap()]);
    let mut guest = world.guest();
    guest.limit_memory("268435456");
    let host = kb(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), host);
    assert!(guest.read("proc/slabinfo").contains("No such file"));
    fs::write(&config, "meminfo = sometimes\n").unwrap();
    let mut other = world.command(&["-c", config.to_str().unwrap()]);
    let output = other.stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("line 1: bad value \"sometimes\"; write on, off or passthrough"),
        "{text}"
    );
}
