//! What the files about CPUs and time say.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    Story,
    guest::Guest,
    world::{World, pause, slow, until},
};

pub(crate) const STORIES: &[Story] = &[
    ("a_quota_makes_cpus_everywhere_alike", quota),
    ("a_cpuset_makes_cpus", cpuset),
    ("an_idle_container_is_idle_while_the_host_is_busy", idle),
    ("a_spinner_in_a_cpu_and_a_half_is_two_thirds", two_thirds),
    ("a_mask_wider_than_the_parents_is_cut_to_it", wide_mask),
    ("stat_never_goes_back_and_adds_up_while_limits_change", stat_is_monotonic),
    ("uptime_counts_from_the_init_whatever_its_name", uptime),
    ("load_averages_are_the_containers", load_average),
];

pub(crate) const STRESS: &[Story] = &[("stat_never_goes_back_in_ten_minutes", ten_minutes_of_stat)];

fn quota() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    let host = std::thread::available_parallelism().unwrap().get();
    let count = |guest: &mut Guest| {
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
    // What is kept for a moment is up to 15 ticks behind the looks below.
    let world = World::new(&["--exact"]);
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
    // Two spinners want more than there is: nothing is left of the quota but what others took.
    guest.run("for i in 1 2; do timeout 4 sh -c 'while :; do :; done' & done; sleep 0.2");
    // The daemon's two readings are somewhere between these four looks.
    let look = |guest: &Guest| (Instant::now(), guest.cpu_time().as_secs_f64() * 100.0);
    let first = look(&guest);
    let before = ticks(&guest.read("proc/stat"));
    let second = look(&guest);
    pause(1500);
    let third = look(&guest);
    let after = ticks(&guest.read("proc/stat"));
    let fourth = look(&guest);
    let (busy, idle) = ((after.0 - before.0) as f64, (after.1 - before.1) as f64);
    let (least, most) = (third.1 - second.1, fourth.1 - first.1);
    assert!(
        (least - 4.0..=most + 4.0).contains(&busy),
        "busy {busy}, its cgroup {least} to {most}"
    );
    let capacity = |from: Instant, to: Instant| (to - from).as_secs_f64() * 150.0;
    let rest = capacity(second.0, third.0) - most..=capacity(first.0, fourth.0) - least;
    let wide = rest.start() - 4.0..=rest.end() + 4.0;
    assert!(idle == 0.0 || wide.contains(&idle), "idle {idle}, by its cgroup {rest:?}");
}

fn wide_mask() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    let mask = guest.dir_with("cpuset.cpus");
    let above = mask.parent().unwrap();
    // v1 refuses what v2 cuts.
    let narrowed = fs::write(above.join("cpuset.cpus"), "0");
    let cpus = std::thread::available_parallelism().unwrap().get();
    let wanted = if narrowed.is_ok() && cpus > 1 {
        guest.set_cpus(full(cpus));
        1
    } else {
        cpus
    };
    assert_eq!(guest.read("proc/cpuinfo").matches("processor").count(), wanted);
    assert_eq!(guest.read("proc/stat").matches("\ncpu").count(), wanted);
}

fn stat_is_monotonic() {
    watch_stat(Duration::from_secs(2) * slow());
}

fn ten_minutes_of_stat() {
    watch_stat(Duration::from_secs(600));
}

/// Reads about a thousand times a second while limits change and workers die.
fn watch_stat(time: Duration) {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    world.attach("one", guest.pid());
    let seconds = time.as_secs() + 60;
    guest.run(&format!("timeout {seconds} sh -c 'while :; do :; done' & sleep 0.01"));
    let mut last: std::collections::HashMap<String, Vec<u64>> = std::collections::HashMap::new();
    let end = Instant::now() + time;
    let cpus = std::thread::available_parallelism().unwrap().get();
    let mut round = 0;
    while Instant::now() < end {
        round += 1;
        match round % 50 {
            0 => guest.set_quota([-1, 50_000, 150_000][round / 50 % 3]),
            20 => guest.set_cpus(if round % 100 == 20 { "0" } else { full(cpus) }),
            _ => {}
        }
        if round % 300 == 0 {
            crate::world::kill(world.worker(), 9);
        }
        pause(1);
        let stat = world.read("containers/one/proc/stat");
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
    assert!(round > 200 / usize::try_from(slow()).unwrap(), "only {round} rounds");
}

fn full(cpus: usize) -> &'static str {
    if cpus == 1 { "0" } else { "0-1" }
}

fn uptime() {
    let world = World::new(&[]);
    let mut guest = world.guest_named("a) b (c busybox");
    world.attach("one", guest.pid());
    let age = |text: &str| -> f64 { text.split(' ').next().unwrap().parse().unwrap() };
    let idle = |text: &str| -> f64 { text.trim().split(' ').nth(1).unwrap().parse().unwrap() };
    let pid = linux::process::Pid::new(guest.pid()).unwrap();
    let start = linux::process::start_time(pid).unwrap();
    for _ in 0..5 {
        let now = || age(&fs::read_to_string("/proc/uptime").unwrap()) - start as f64 / 100.0;
        let (before, text, after) = (now(), world.read("containers/one/proc/uptime"), now());
        let own = age(&text);
        assert!((before - 0.021..=after + 0.021).contains(&own), "{before} {own} {after}");
        let cpus = std::thread::available_parallelism().unwrap().get() as f64;
        assert!(idle(&text) <= age(&text) * cpus + 0.02, "{text}");
        pause(100);
    }
    let btime = |stat: &str| stat.lines().find(|l| l.starts_with("btime")).unwrap().to_owned();
    assert_eq!(btime(&guest.read("proc/stat")), btime(&fs::read_to_string("/proc/stat").unwrap()));
    guest.end();
    let mut again = world.guest();
    assert!(age(&again.read("proc/uptime")) < 3.0 * f64::from(slow()));
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
