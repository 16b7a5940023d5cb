//! Deaths of all kinds, and what a reader notices of them: nothing.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Story,
    guest::Guest,
    readers::Readers,
    world::{World, kb, kill, pause, slow, tool, until},
};

pub(crate) const STORIES: &[Story] = &[
    ("a_worker_killed_every_so_often_costs_no_read", kills),
    ("a_worker_killed_each_second_under_250_readers_costs_no_read", kills_under_load),
    ("a_worker_killed_in_a_read_has_it_answered_by_the_next", kill_in_read),
    ("a_stopped_worker_is_replaced_in_time", stopped),
    ("workers_that_cannot_live_leave_host_values", last_resort),
    ("an_upgrade_costs_no_read", upgrade),
    ("a_relay_costs_no_read_when_workers_are_killed", relayed),
    ("a_relay_costs_no_read_when_there_is_an_upgrade", relayed_upgrade),
    ("a_relay_leaves_what_was_asked_to_the_last_resort", relayed_last_resort),
    ("a_worker_without_its_relay_serves_on", relayed_orphan),
    ("passthrough_can_be_switched_on_and_off", passthrough),
    ("a_killed_holder_leaves_a_worker_and_a_new_daemon_takes_over", holder),
    ("a_second_daemon_on_the_same_pid_file_is_refused", second),
    ("a_dead_mount_is_healed_at_the_start", heal),
    ("two_daemons_do_not_mind_each_other", two),
    ("a_container_whose_files_never_answer_waits_for_nobody", hung),
    ("without_cgroups_and_with_few_descriptors_it_serves", bare),
    ("the_end_leaves_nothing", end),
    ("counters_do_not_go_back_over_a_restart", counters),
    ("many_readers_leave_threads_and_descriptors_bounded", bounded),
];

pub(crate) const STRESS: &[Story] =
    &[("a_worker_killed_each_second_for_ten_minutes_costs_no_read", ten_minutes)];

/// Files that are read all the time.
const FILES: [&str; 4] = ["proc/meminfo", "proc/stat", "proc/uptime", "proc/cpuinfo"];

/// A world and a container of 100 MiB in it.
fn limited(options: &[&str]) -> (World, Guest) {
    let world = World::new(options);
    let guest = world.guest();
    guest.limit_memory("104857600");
    (world, guest)
}

fn kills() {
    kills_with(&[]);
}

fn kills_with(options: &[&str]) {
    let (world, mut guest) = limited(options);
    let readers = Readers::start(&world, &mut guest, 8, 102_400, &FILES);
    for _ in 0..6 {
        // Time to serve: one that dies before that is no restart.
        pause(700 * u64::from(slow()));
        kill(world.worker(), 9);
    }
    pause(300);
    let outcome = readers.end(&mut guest);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert!(outcome.longest < Duration::from_secs(3) * slow(), "{outcome:?}");
    assert!(world.metric("lxcfs_worker_restarts_total") >= 6);
}

fn kills_under_load() {
    kill_each_second(5, &[]);
}

fn ten_minutes() {
    kill_each_second(600 / slow(), &[]);
}

/// A second of a fast machine: a worker that dies before it serves is no restart.
fn kill_each_second(kills: u32, options: &[&str]) {
    let (world, mut guest) = limited(options);
    let readers = Readers::start(&world, &mut guest, 250, 102_400, &FILES);
    for _ in 0..kills {
        pause(1000 * u64::from(slow()));
        kill(world.worker(), 9);
    }
    pause(500);
    let outcome = readers.end(&mut guest);
    eprintln!("{kills} kills: {outcome:?}");
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    assert!(outcome.longest < Duration::from_secs(10) * slow(), "{outcome:?}");
    let log = world.log();
    assert!(!log.contains("workers keep dying"), "{log}");
    assert!(world.metric("lxcfs_worker_restarts_total") >= u64::from(kills) * 9 / 10);
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
    let world = World::new(&["--deadline", &(300 * slow()).to_string()]);
    kill(world.worker(), 19);
    let start = Instant::now();
    assert!(!world.read("proc/uptime").is_empty());
    assert!(start.elapsed() < Duration::from_secs(5) * slow(), "{:?}", start.elapsed());
}

fn last_resort() {
    last_resort_with(&[]);
}

fn last_resort_with(options: &[&str]) {
    let world = World::new(options);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    let kept = fs::File::open(world.mount().join("proc/meminfo")).unwrap();
    guest.set_quota(100_000);
    world.toolkit(&["remount", "-c", &guest.id]);
    let cpus = std::thread::available_parallelism().unwrap().get();
    let shown =
        move |guest: &mut Guest| guest.run("cat /proc/cpuinfo").matches("processor").count();
    assert_eq!(shown(&mut guest), 1);
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
    until("what was kept is not any more", || shown(&mut guest) == cpus);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut &kept, &mut text).unwrap();
    assert_eq!(kb(&text, "MemTotal"), host);
    until("a worker is tried again", || {
        world.log().matches("a worker serves").count() >= 2 && {
            pause(200);
            kb(&guest.read("proc/meminfo"), "MemTotal") == 102_400
        }
    });
    until("the kept files are the container's again", || shown(&mut guest) == 1);
}

fn upgrade() {
    upgrade_with(&[]);
}

fn upgrade_with(options: &[&str]) {
    // The program as installed, and a later build of it: another file, moved over the first.
    let mut world = World::empty();
    let installed = world.dir.path().join("lxcfs");
    fs::copy(tool("lxcfs"), &installed).unwrap();
    let mut unit = Command::new(&installed);
    unit.args(world.command(options).get_args()).stdin(Stdio::null());
    world.adopt(unit.spawn().unwrap());
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let output = world.toolkit(&["remount", "-c", &guest.id]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let readers = Readers::start(&world, &mut guest, 4, 102_400, &FILES);
    // 0 for a process that ends meanwhile.
    let inode = |path: String| {
        fs::metadata(path).map_or(0, |file| std::os::unix::fs::MetadataExt::ino(&file))
    };
    for _ in 0..3 {
        let before = world.worker();
        let build = world.dir.path().join("build");
        fs::copy(tool("lxcfs"), &build).unwrap();
        fs::rename(&build, &installed).unwrap();
        kill(world.holder(), 10);
        let build = inode(installed.display().to_string());
        assert_ne!(build, inode(format!("/proc/{}/exe", world.holder())));
        until("a worker of the new build", || {
            let worker = world.worker();
            worker != before && inode(format!("/proc/{worker}/exe")) == build
        });
        pause(200);
    }
    let outcome = readers.end(&mut guest);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(kb(&guest.run("cat /proc/meminfo"), "MemTotal"), 102_400);
}

/// As where the kernel cannot hand out again what a worker took: before Linux 6.9.
fn relayed() {
    kills_with(&["--relay"]);
    kill_each_second(3, &["--relay"]);
}

fn relayed_upgrade() {
    upgrade_with(&["--relay"]);
}

fn relayed_last_resort() {
    last_resort_with(&["--relay"]);
}

/// The holder is the relay then; a worker without one asks the kernel itself.
fn relayed_orphan() {
    let (mut world, mut guest) = limited(&["--relay"]);
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    world.kill_holder();
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    world.start(&["--relay"]);
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
}

fn passthrough() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let host = kb(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal");
    world.attach("one", guest.pid());
    let mut open = fs::File::open(world.mount().join("containers/one/proc/meminfo")).unwrap();
    let mut again = || {
        let mut text = String::new();
        std::io::Seek::rewind(&mut open).unwrap();
        std::io::Read::read_to_string(&mut open, &mut text).unwrap();
        kb(&text, "MemTotal")
    };
    assert_eq!(again(), 102_400);
    let mut shows = |total: u64| kb(&guest.read("proc/meminfo"), "MemTotal") == total;
    kill(world.holder(), 12);
    until("host values", || shows(host));
    until("host values in what is open", || again() == host);
    kill(world.worker(), 9);
    assert!(shows(host), "a new worker knows");
    kill(world.holder(), 12);
    until("own values", || shows(102_400));
    until("own values in what is open", || again() == 102_400);
}

fn holder() {
    let (mut world, mut guest) = limited(&[]);
    // Before Linux 6.9 the holder is a relay, and what it has in its hands dies with it.
    let readers = if world.log().contains("requests are relayed") { 0 } else { 4 };
    let readers = Readers::start(&world, &mut guest, readers, 102_400, &FILES);
    let worker = world.worker();
    world.kill_holder();
    pause(200);
    world.start(&[]);
    until("the orphan is gone", || {
        linux::process::start_time(linux::process::Pid::new(worker).unwrap()).is_err()
    });
    pause(200);
    let outcome = readers.end(&mut guest);
    assert_eq!((outcome.failed, outcome.wrong), (0, 0), "{outcome:?}");
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert_eq!(mounts.matches("fuse.lxcfs").count(), 2);
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

fn two() {
    let world = World::new(&[]);
    let second = world.second();
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let other = second.mount.join("proc/meminfo");
    assert_eq!(kb(&guest.run(&format!("cat {}", other.display())), "MemTotal"), 102_400);
    drop(second);
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
}

/// The names of disks come from the container's own `/dev`, which can be made of anything.
fn hung() {
    let world = World::new(&["--deadline", &(300 * slow()).to_string()]);
    let second = world.second();
    let mut guest = world.guest();
    guest.run(&format!(
        "mount -t overlay none -o lowerdir={}:/dev /dev",
        second.mount.join("proc").display()
    ));
    guest.limit_memory("104857600");
    let start = Instant::now();
    assert!(guest.read("proc/diskstats").contains(" sda "));
    second.hang();
    // The list of names is believed for a second.
    until("the answer comes by the deadline", || guest.read("proc/diskstats").is_empty());
    assert!(start.elapsed() < Duration::from_secs(10) * slow(), "{:?}", start.elapsed());
    assert!(world.metric("lxcfs_fallbacks_total{cause=\"late\"}") > 0);
    // Nobody's disks: what cannot be told is not the host's.
    for _ in 0..4 {
        assert_eq!(guest.read("proc/diskstats"), "");
        assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    }
}

fn bare() {
    let mut world = World::empty();
    let hide = Command::new("mount").args(["-t", "tmpfs", "none", "/sys/fs/cgroup"]).status();
    assert!(hide.unwrap().success());
    let daemon = world.command(&[]);
    let mut unit = Command::new("sh");
    unit.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(daemon.get_program());
    unit.args(daemon.get_args()).stdin(Stdio::null());
    world.adopt(unit.spawn().unwrap());
    linux::mount::detach("/sys/fs/cgroup").unwrap();
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let host = kb(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal");
    for file in fs::read_dir(world.mount().join("proc")).unwrap().flatten() {
        if file.path().is_file() {
            let text = guest.read(&format!("proc/{}", file.file_name().display()));
            assert!(!text.contains("cat:"), "{text}");
        }
    }
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), host);
    assert!(world.metric("lxcfs_fallbacks_total{cause=\"controller\"}") > 0);
    assert_eq!(world.log().matches("host values shown").count(), 1, "{}", world.log());
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
    let (world, mut guest) = limited(&[]);
    let readers = Readers::start(&world, &mut guest, 64, 102_400, &FILES);
    pause(300);
    let count =
        |dir: &str| fs::read_dir(format!("/proc/{}/{dir}", world.worker())).unwrap().count();
    let rss =
        || kb(&fs::read_to_string(format!("/proc/{}/status", world.worker())).unwrap(), "VmRSS");
    let (threads, descriptors, memory) = (count("task"), count("fd"), rss());
    pause(2000);
    assert_eq!(count("task"), threads);
    assert!(count("fd").abs_diff(descriptors) <= 8);
    assert!(rss() <= memory + 2048, "{memory} then {}", rss());
    let outcome = readers.end(&mut guest);
    assert!(outcome.is_clean(), "{outcome:?}");
    until("handles are closed", || world.metric("lxcfs_open_files") == 0);
}
