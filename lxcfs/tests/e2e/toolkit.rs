//! lxcfs-toolkit and the hook against running containers.

use std::{
    fs,
    process::{Command, Output},
    time::{Duration, Instant},
};

use lxcfs::toolkit::{
    daemon::Daemon,
    discover::{self, Engine, Filter},
    run::{self, Change, Outcome},
};

use crate::{
    Story,
    guest::Guest,
    world::{World, kb, kill, pause, until},
};

pub(crate) const STORIES: &[Story] = &[
    ("check_tells_up_down_and_hung", check),
    ("remount_covers_every_file_and_umount_uncovers_it", remount),
    ("remount_swaps_dead_mounts_without_a_gap", swap_dead),
    ("remount_of_a_living_mount_never_shows_the_host", no_gap),
    ("what_is_not_meant_is_refused", refusals),
    ("a_link_in_the_place_of_a_file_is_not_followed", links),
    ("stuck_containers_do_not_stop_the_others", stuck),
    ("prestart_makes_a_shared_mount_once", prestart),
    ("status_lists_containers", status),
    ("the_hook_mounts_before_the_pivot", hook),
];

pub(crate) const STRESS: &[Story] =
    &[("two_hundred_containers_are_remounted_whoever_is_stuck", two_hundred)];

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn check() {
    let mut world = World::new(&[]);
    let output = world.toolkit(&["check-lxcfs"]);
    assert_eq!((output.status.code(), text(&output)), (Some(0), "lxcfs is running\n".into()));
    // Holder and worker stopped: whoever looks would wait for ever.
    let worker = world.worker();
    kill(world.holder(), 19);
    kill(worker, 19);
    let output = world.toolkit(&["check-lxcfs", "--timeout", "1"]);
    let down = (Some(1), "lxcfs-toolkit: lxcfs is not ready\n".to_owned());
    assert_eq!((output.status.code(), text(&output)), down);
    kill(worker, 18);
    kill(world.holder(), 18);
    world.stop();
    let output = world.toolkit(&["check-lxcfs", "--timeout", "1"]);
    assert_eq!((output.status.code(), text(&output)), down);
}

fn total(guest: &mut Guest) -> u64 {
    kb(&guest.run("cat /proc/meminfo"), "MemTotal")
}

fn host_total() -> u64 {
    kb(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal")
}

fn mounts(guest: &mut Guest) -> Vec<String> {
    let text = guest.run("cat /proc/self/mountinfo");
    let ours = text.lines().filter(|line| line.contains("fuse.lxcfs"));
    ours.map(|line| line.split(' ').nth(4).unwrap().to_owned())
        .filter(|target| target.starts_with("/proc") || target.starts_with("/sys"))
        .collect()
}

fn remount() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    for _ in 0..2 {
        let output = world.toolkit(&["remount", "-c", &guest.id]);
        assert_eq!((output.status.code(), text(&output)), (Some(0), String::new()));
        assert_eq!(total(&mut guest), 102_400);
        let mounts = mounts(&mut guest);
        for file in ["cpuinfo", "diskstats", "meminfo", "partitions", "stat", "swaps", "uptime"] {
            let target = format!("/proc/{file}");
            let layers = mounts.iter().filter(|mount| **mount == target).count();
            assert!((1..=most_layers()).contains(&layers), "{layers} of {mounts:?}");
        }
        assert!(mounts.contains(&"/sys/devices/system/cpu".to_owned()), "{mounts:?}");
    }
    // Stacks, as older tools left them.
    let path = world.mount().join("proc/meminfo");
    guest.run(&format!("for i in 1 2 3; do mount --bind {} /proc/meminfo; done", path.display()));
    let output = world.toolkit(&["umount", "-c", &guest.id]);
    assert_eq!((output.status.code(), text(&output)), (Some(0), String::new()));
    assert_eq!(mounts(&mut guest), Vec::<String>::new());
    assert_eq!(total(&mut guest), host_total());
}

/// Before Linux 6.5 nothing can be mounted beneath: what is swapped stays below what takes its
/// place.
fn most_layers() -> usize {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= (6, 5) => 1,
        _ => 2,
    }
}

fn swap_dead() {
    let mut world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    world.toolkit(&["remount", "-c", &guest.id]);
    let worker = world.worker();
    world.kill_holder();
    kill(worker, 9);
    until("the mount is dead", || guest.run("cat /proc/meminfo").contains("not connected"));
    world.start(&[]);
    let output = world.toolkit(&["remount", "-c", &guest.id, "--dead-only"]);
    assert_eq!((output.status.code(), text(&output)), (Some(0), String::new()));
    assert_eq!(total(&mut guest), 102_400);
    let layers = mounts(&mut guest).iter().filter(|m| *m == "/proc/meminfo").count();
    assert!((1..=most_layers()).contains(&layers), "{layers}");
    // A living mount is none of its business.
    world.toolkit(&["umount", "-c", &guest.id, "--dead-only"]);
    assert_eq!(total(&mut guest), 102_400);
}

fn no_gap() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    world.toolkit(&["remount", "-c", &guest.id]);
    guest.start(
        "i=0; while [ $i -lt 1500 ]; do read _ n _ < /proc/meminfo || echo failed; \
         [ \"$n\" = 102400 ] || echo bad $n; i=$((i+1)); done",
    );
    for _ in 0..10 {
        let output = world.toolkit(&["remount", "-c", &guest.id]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
    assert_eq!(guest.finish(), "");
}

fn refusals() {
    let world = World::new(&[]);
    let mut first = world.guest();
    let _second = world.guest();
    let refused = |args: &[&str], wanted: &str| {
        let output = world.toolkit(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output).contains(wanted), "{args:?}: {}", text(&output));
    };
    refused(&["remount", "-c", "guest"], "\"guest\" matches ");
    refused(&["remount", "-c", "g"], "You must choose at least one container");
    refused(&["remount", "-c", "nobody"], "no running container matches \"nobody\"");
    refused(&["remount"], "You must choose at least one container");
    refused(&["remount", "-a", "more"], "remount: requires none args");
    refused(&["umount", "-a", "more"], "umount: requires none args");
    refused(&["prestart", "more"], "don't need any args");
    assert_eq!(mounts(&mut first), Vec::<String>::new());
    let mut neighbour = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = linux::process::Pid::new(i32::try_from(neighbour.id()).unwrap()).unwrap();
    let error = lxcfs::toolkit::graft::Tree::of(pid).unwrap_err();
    neighbour.kill().unwrap();
    neighbour.wait().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "enter the mount namespace of pid {pid}: invalid argument (EINVAL); it is the host's: \
             the container's pid has changed"
        )
    );
}

/// The machine's other containers are none of a test's business: not by --all.
fn remount_all(world: &World, guests: &[&Guest], limit: Duration) -> Vec<Outcome> {
    let mut found = discover::containers(Filter::Only(Engine::Isulad)).unwrap();
    found.retain(|container| guests.iter().any(|guest| guest.id == container.id));
    assert_eq!(found.len(), guests.len());
    let daemon = Daemon { mount: world.mount(), runtime_dir: world.runtime_dir() };
    run::all(&daemon, found, Change::Remount, false, limit)
}

fn links() {
    let world = World::new(&[]);
    let mut first = world.guest();
    // A container whose /proc is gone cannot have it covered.
    let mut broken = world.guest();
    broken.run("umount -l /proc; mount -t tmpfs none /proc; ln -s /etc/hostname /proc/meminfo");
    let outcomes = remount_all(&world, &[&first, &broken], Duration::from_secs(20));
    let of = |id: &str| outcomes.iter().find(|outcome| outcome.id == id).unwrap();
    assert!(of(&first.id).files >= 8, "{outcomes:?}");
    assert_eq!(total(&mut first), host_total().min(total(&mut first)));
    // The link was not followed: nothing outside /proc is covered.
    assert_eq!(mounts(&mut broken).iter().filter(|m| m.starts_with("/etc")).count(), 0);
}

fn stuck() {
    some_stuck_of(9);
}

fn two_hundred() {
    some_stuck_of(200);
}

/// Three of `count` cannot be looked into, and one more ends meanwhile.
fn some_stuck_of(count: usize) {
    let world = World::new(&[]);
    let second = world.second();
    let mut guests: Vec<Guest> = (0..count).map(|_| world.guest()).collect();
    for guest in &mut guests {
        guest.limit_memory("104857600");
    }
    for guest in &mut guests[..3] {
        guest.run(&format!("mount --bind {} /proc", second.mount.join("proc").display()));
    }
    second.hang();
    let mut leaving = guests.pop().unwrap();
    let end = std::thread::spawn(move || {
        leaving.start("exit");
        pause(50);
        leaving.end();
    });
    let refs: Vec<&Guest> = guests.iter().collect();
    let start = Instant::now();
    let outcomes = remount_all(&world, &refs, Duration::from_secs(5));
    let took = start.elapsed();
    end.join().unwrap();
    assert!(took < Duration::from_secs(15) * crate::world::slow(), "{took:?}");
    for (index, guest) in guests.iter_mut().enumerate() {
        let outcome = outcomes.iter().find(|outcome| outcome.id == guest.id).unwrap();
        if index < 3 {
            assert_eq!(outcome.error.as_deref(), Some("not done within 5 s"));
        } else {
            assert_eq!(outcome.error, None);
            assert_eq!(total(guest), 102_400);
        }
    }
    eprintln!("{} containers, 3 of them stuck: {took:?}", guests.len());
}

fn prestart() {
    let world = World::empty();
    for _ in 0..2 {
        let output = world.toolkit(&["prestart"]);
        assert_eq!((output.status.code(), text(&output)), (Some(0), "prestart done\n".into()));
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let parent = world.dir.path().display().to_string();
        let ours: Vec<_> =
            mounts.lines().filter(|line| line.split(' ').nth(4) == Some(&parent)).collect();
        assert_eq!(ours.len(), 1, "{mounts}");
        assert!(ours[0].contains("shared:"), "{}", ours[0]);
    }
    linux::mount::detach(world.dir.path()).unwrap();
}

fn status() {
    let world = World::new(&[]);
    let guest = world.guest();
    world.toolkit(&["remount", "-c", &guest.id]);
    let output = world.toolkit(&["status", "--json", "--runtime", "isulad"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["ready"], true);
    assert_eq!(status["daemon"]["containers"][0], guest.id.as_str());
    let found = status["containers"].as_array().unwrap();
    let own = found.iter().find(|found| found["id"] == guest.id.as_str()).unwrap();
    assert_eq!(own["pid"], guest.pid());
    assert!(own["mounts"].as_u64().unwrap() >= 8);
    let plain = text(&world.toolkit(&["status", "--runtime", "isulad"]));
    assert!(plain.starts_with("lxcfs is running\n") && plain.contains(&guest.id), "{plain}");
}

fn hook() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    // A root as a runtime has it before it pivots: mounted somewhere in the container's namespace.
    let rootfs = world.dir.path().join("rootfs");
    fs::create_dir_all(rootfs.join("proc")).unwrap();
    fs::create_dir_all(rootfs.join("sys")).unwrap();
    guest.run(&format!(
        "mount --bind {root} {root}; mount --bind /proc {root}/proc; mount --rbind /sys {root}/sys",
        root = rootfs.display()
    ));
    let state = format!(
        r#"{{"ociVersion":"1.0.2","id":"hooked","status":"created","pid":{},"bundle":"/nowhere","root":"{}"}}"#,
        guest.pid(),
        rootfs.display()
    );
    let daemon =
        lxcfs::toolkit::daemon::Daemon { mount: world.mount(), runtime_dir: world.runtime_dir() };
    let start = lxcfs::toolkit::hook::Start::parse(state.as_bytes()).unwrap();
    assert!(start.apply(&daemon).unwrap() >= 8);
    let inside = guest
        .run(&format!("chroot {} cat /proc/meminfo || cat {0}/proc/meminfo", rootfs.display()));
    let text: String =
        inside.lines().filter(|line| line.contains("kB")).map(|line| format!("{line}\n")).collect();
    assert_eq!(kb(&text, "MemTotal"), 102_400);
    let host = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert_eq!(host.matches("fuse.lxcfs").count(), 2, "nothing reaches the host");
    pause(1);
}
