//! Deaths of all kinds, and what a reader notices of them: nothing.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Story,
    world::{World, kb, kill, pause, until},
};

pub(crate) const STORIES: &[Story] = &[
    ("a_worker_killed_every_so_often_costs_no_read", kills),
    ("a_worker_killed_each_second_under_250_readers_costs_no_read", kills_under_load),
    ("a_worker_killed_in_a_read_has_it_answered_by_the_next", kill_in_read),
    ("a_stopped_worker_is_replaced_in_time", stopped),
    ("workers_that_cannot_live_leave_host_values", last_resort),
    ("an_upgrade_costs_no_read", upgrade),
    ("passthrough_can_be_switched_on_and_off", passthrough),
    ("a_killed_holder_leaves_a_worker_and_a_new_daemon_takes_over", holder),
    ("a_second_daemon_on_the_same_pid_file_is_refused", second),
    ("a_dead_mount_is_healed_at_the_start", heal),
    ("the_end_leaves_nothing", end),
    ("counters_do_not_go_back_over_a_restart", counters),
    ("many_readers_leave_threads_and_descriptors_bounded", bounded),
];

pub(crate) const STRESS: &[Story] =
    &[("a_worker_killed_each_second_for_ten_minutes_costs_no_read", ten_minutes)];

/// Readers on threads of the host and what they met.
struct Readers {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<(u64, Duration)>>,
}

impl Readers {
    fn start(paths: Vec<PathBuf>, count: usize) -> Readers {
        let stop = Arc::new(AtomicBool::new(false));
        let reads = Arc::new(AtomicU64::new(0));
        let threads = (0..count)
            .map(|_| {
                let (stop, reads, paths) = (Arc::clone(&stop), Arc::clone(&reads), paths.clone());
                std::thread::spawn(move || {
                    let (mut errors, mut longest) = (0, Duration::ZERO);
                    while !stop.load(Ordering::Relaxed) {
                        for path in &paths {
                            let start = Instant::now();
                            if fs::read(path).map_or(true, |text| text.is_empty()) {
                                errors += 1;
                            }
                            longest = longest.max(start.elapsed());
                            reads.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    (errors, longest)
                })
            })
            .collect();
        Readers { stop, reads, threads }
    }

    /// Reads so far, failures, the longest.
    fn end(self) -> (u64, u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(|thread| thread.join().unwrap());
        let (errors, longest) = ended
            .fold((0, Duration::ZERO), |(sum, longest), (errors, time)| {
                (sum + errors, longest.max(time))
            });
        (self.reads.load(Ordering::Relaxed), errors, longest)
    }
}

fn paths(world: &World) -> Vec<PathBuf> {
    ["meminfo", "stat", "uptime", "cpuinfo"]
        .map(|file| world.mount().join("proc").join(file))
        .to_vec()
}

fn kills() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let path = world.mount().join("proc/meminfo");
    guest.start(&format!(
        "i=0; while [ $i -lt 1000 ]; do read _ n _ < {} || echo failed; [ \"$n\" = 102400 ] || \
         echo bad $n; i=$((i+1)); done",
        path.display()
    ));
    let readers = Readers::start(paths(&world), 8);
    for _ in 0..6 {
        pause(700);
        kill(world.worker(), 9);
    }
    pause(300);
    let (reads, errors, longest) = readers.end();
    assert_eq!(guest.finish(), "");
    assert_eq!(errors, 0, "of {reads} reads");
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert!(world.metric("lxcfs_worker_restarts_total") >= 6);
}

fn kills_under_load() {
    kill_each_second(5);
}

fn ten_minutes() {
    kill_each_second(600);
}

fn kill_each_second(seconds: u32) {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let readers = Readers::start(paths(&world), 250);
    for _ in 0..seconds {
        pause(1000);
        kill(world.worker(), 9);
    }
    pause(500);
    let (reads, errors, longest) = readers.end();
    eprintln!("{seconds} kills, {reads} reads, {errors} failed, longest {longest:?}");
    assert_eq!(errors, 0, "of {reads} reads");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    let log = world.log();
    assert!(!log.contains("workers keep dying"), "{log}");
    assert!(world.metric("lxcfs_worker_restarts_total") >= u64::from(seconds));
}

fn kill_in_read() {
    let world = World::new(&[]);
    let worker = world.worker();
    kill(worker, 19);
    let path = world.mount().join("proc/uptime");
    let reader = std::thread::spawn(move || fs::read(path));
    pause(100);
    kill(worker, 9);
    let text = reader.join().unwrap().unwrap();
    assert!(!text.is_empty());
}

fn stopped() {
    let world = World::new(&["--deadline", "300"]);
    kill(world.worker(), 19);
    let start = Instant::now();
    assert!(!world.read("proc/uptime").is_empty());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

fn last_resort() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    let kept = fs::File::open(world.mount().join("proc/meminfo")).unwrap();
    // Every worker dies in its first moment, as one that crashes on every request does.
    until("the holder gives up", || {
        let holder = linux::process::Pid::new(world.holder()).unwrap();
        for worker in linux::process::children(holder).unwrap() {
            kill(worker.get(), 11);
        }
        world.log().contains("workers keep dying")
    });
    let host = kb(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), host);
    assert_eq!(
        fs::read_to_string("/proc/cpuinfo").unwrap().len() / 100,
        guest.read("proc/cpuinfo").len() / 100
    );
    let mut text = String::new();
    std::io::Read::read_to_string(&mut &kept, &mut text).unwrap();
    assert_eq!(kb(&text, "MemTotal"), host);
    until("a worker is tried again", || {
        world.log().matches("a worker serves").count() >= 2 && {
            pause(200);
            kb(&guest.read("proc/meminfo"), "MemTotal") == 102_400
        }
    });
}

fn upgrade() {
    let world = World::new(&[]);
    let readers = Readers::start(paths(&world), 4);
    for _ in 0..3 {
        let before = world.worker();
        kill(world.holder(), 10);
        until("the worker is another", || world.worker() != before);
        pause(200);
    }
    let (reads, errors, _) = readers.end();
    assert_eq!(errors, 0, "of {reads} reads");
}

fn passthrough() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let host = kb(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal");
    let mut shows = |total: u64| kb(&guest.read("proc/meminfo"), "MemTotal") == total;
    kill(world.holder(), 12);
    until("host values", || shows(host));
    kill(world.worker(), 9);
    assert!(shows(host), "a new worker knows");
    kill(world.holder(), 12);
    until("own values", || shows(102_400));
}

fn holder() {
    let mut world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let readers = Readers::start(paths(&world), 4);
    let worker = world.worker();
    world.kill_holder();
    pause(200);
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    world.start(&[]);
    until("the orphan is gone", || {
        linux::process::start_time(linux::process::Pid::new(worker).unwrap()).is_err()
    });
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    let (reads, errors, _) = readers.end();
    assert_eq!(errors, 0, "of {reads} reads");
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert_eq!(mounts.matches("fuse.lxcfs").count(), 1);
}

fn second() {
    let world = World::new(&[]);
    let output = world.command(&[]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let wanted = format!(
        "lxcfs: lock {}: held by pid {}; end that daemon, or give this one its own --pidfile and \
         --runtime-dir\n",
        world.dir.path().join("pid").display(),
        world.holder()
    );
    assert_eq!(text, wanted);
}

fn heal() {
    let mut world = World::new(&[]);
    let worker = world.worker();
    world.kill_holder();
    kill(worker, 9);
    until("the mount is dead", || {
        fs::read_dir(world.mount()).is_err_and(|error| error.raw_os_error() == Some(107))
    });
    world.start(&[]);
    assert!(!world.read("proc/meminfo").is_empty());
}

fn end() {
    let mut world = World::new(&[]);
    let worker = world.worker();
    assert!(world.stop().success());
    assert!(!world.runtime_dir().exists());
    assert_eq!(fs::read_dir(world.mount()).unwrap().count(), 0);
    assert!(linux::process::start_time(linux::process::Pid::new(worker).unwrap()).is_err());
}

fn counters() {
    let mut world = World::new(&["--exact"]);
    let mut guest = world.guest();
    let numbers = |text: &str| -> Vec<u64> {
        let line = text.lines().next().unwrap();
        line.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect()
    };
    // Time at one CPU, then at half of one: a reader who knows only today's quota would tell less.
    guest.set_quota(100_000);
    pause(600);
    guest.read("proc/stat");
    guest.set_quota(10_000);
    let before = numbers(&guest.read("proc/stat"));
    kill(world.worker(), 9);
    let after = numbers(&guest.read("proc/stat"));
    assert!(before.iter().zip(&after).all(|(old, new)| old <= new), "{before:?} {after:?}");
    world.kill_holder();
    world.start(&["--exact"]);
    let again = numbers(&guest.read("proc/stat"));
    assert!(after.iter().zip(&again).all(|(old, new)| old <= new), "{after:?} {again:?}");
}

fn bounded() {
    let world = World::new(&[]);
    let readers = Readers::start(paths(&world), 64);
    pause(300);
    let count =
        |dir: &str| fs::read_dir(format!("/proc/{}/{dir}", world.worker())).unwrap().count();
    let rss = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", world.worker())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (threads, descriptors, memory) = (count("task"), count("fd"), rss());
    pause(2000);
    assert_eq!(count("task"), threads);
    assert!(count("fd").abs_diff(descriptors) <= 8);
    assert!(rss() <= memory + 2048, "{memory} then {}", rss());
    let (_, errors, _) = readers.end();
    assert_eq!(errors, 0);
    until("handles are closed", || world.metric("lxcfs_open_files") == 0);
    let _ = Command::new("true").status();
}
