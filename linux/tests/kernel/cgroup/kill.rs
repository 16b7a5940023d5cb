use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use expect_test::expect;
use linux::cgroup::{Cgroup, Version};
use linux::process::{PidFd, Signal};
use linux::{CloneFlags, Forked};

use super::{PATIENCE, World, child, sleeper};

crate::cases![
    v1_kills_a_process_that_forks_all_the_time,
    v2_kills_a_process_that_forks_all_the_time,
    v1_freezes_and_thaws,
    v2_freezes_and_thaws,
    v1_what_is_frozen_dies_too,
    v2_what_is_frozen_dies_too,
    the_caller_does_not_kill_itself,
    one_without_processes_is_no_work,
];

/// Runs from its children, each of which does the same.
fn fork_for_ever() -> ! {
    loop {
        match linux::fork(CloneFlags::empty(), None) {
            Ok(Forked::Child) => {}
            _ => std::process::exit(0),
        }
    }
}

fn kills_forks(version: Version) {
    let world = World::only(version);
    let cgroup = world.create("a");
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let mut first = Vec::new();
    for _ in 0..4 {
        first.push(child(&cgroup, CloneFlags::empty(), || fork_for_ever()).1);
    }
    drop(writer);
    let begin = Instant::now();
    let stuck = cgroup.kill_all(PATIENCE).unwrap();
    assert_eq!(stuck, []);
    assert!(begin.elapsed() < PATIENCE / 2);
    assert_eq!(cgroup.procs().unwrap(), []);
    // Nobody is left to hold the pipe that each of them inherited.
    assert_eq!(rustix::io::read(&reader, &mut [0u8]).unwrap(), 0);
    for process in first {
        process.wait().unwrap();
    }
    cgroup.remove(PATIENCE).unwrap();
}

fn v1_kills_a_process_that_forks_all_the_time() {
    kills_forks(Version::V1);
}

fn v2_kills_a_process_that_forks_all_the_time() {
    kills_forks(Version::V2);
}

/// Whether the process, which writes without end, writes something more `within` that time.
fn runs(reader: impl AsFd, within: Duration) -> bool {
    let waits = |time: Duration| {
        let time = rustix::event::Timespec::try_from(time).unwrap();
        let mut fds = [rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&time)).unwrap() == 1
    };
    // What is in the pipe was written before; it holds 64 KiB.
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..4 {
        if waits(Duration::ZERO) {
            rustix::io::read(&reader, &mut buffer).unwrap();
        }
    }
    waits(within)
}

fn freezes(version: Version) {
    let world = World::only(version);
    if version == Version::V1 && world.layout.with("freezer").is_none() {
        crate::skip("no freezer controller is mounted");
    }
    let cgroup = world.create("a");
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let (_, pidfd) = child(&cgroup, CloneFlags::empty(), || {
        loop {
            rustix::io::write(&writer, b"x").unwrap();
        }
    });
    assert!(!cgroup.is_frozen().unwrap());
    assert!(runs(&reader, PATIENCE));
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    assert!(!runs(&reader, Duration::from_millis(100)));
    cgroup.freeze().unwrap();
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    assert!(runs(&reader, PATIENCE));
    pidfd.signal(Signal::KILL).unwrap();
    pidfd.wait().unwrap();
}

fn v1_freezes_and_thaws() {
    freezes(Version::V1);
}

fn v2_freezes_and_thaws() {
    freezes(Version::V2);
}

fn frozen_dies(version: Version) {
    let world = World::only(version);
    let cgroup = world.create("a");
    let (_, pidfd) = sleeper(&cgroup);
    cgroup.freeze().unwrap();
    assert_eq!(cgroup.kill_all(PATIENCE).unwrap(), []);
    assert!(!pidfd.is_alive().unwrap());
    pidfd.wait().unwrap();
}

fn v1_what_is_frozen_dies_too() {
    frozen_dies(Version::V1);
}

fn v2_what_is_frozen_dies_too() {
    frozen_dies(Version::V2);
}

fn the_caller_does_not_kill_itself() {
    let world = World::new();
    let cgroup = world.create("a");
    let copy: Cgroup = cgroup.clone();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let (_, pidfd): (_, PidFd) = child(&cgroup, CloneFlags::empty(), || {
        let error = copy.kill_all(PATIENCE).unwrap_err();
        rustix::io::write(&writer, error.to_string().as_bytes()).unwrap();
        0
    });
    let mut text = vec![0; 4096];
    let length = rustix::io::read(&reader, &mut text).unwrap();
    text.truncate(length);
    expect!["kill cgroup: the caller itself is in it: resource deadlock avoided (EDEADLK); run it from outside the container"]
        .assert_eq(&String::from_utf8(text).unwrap());
    assert!(pidfd.wait().unwrap().is_success());
}

fn one_without_processes_is_no_work() {
    let world = World::new();
    let cgroup = world.create("a");
    assert_eq!(cgroup.kill_all(PATIENCE).unwrap(), []);
    cgroup.remove(PATIENCE).unwrap();
    // And one that is gone is none either.
    assert_eq!(cgroup.kill_all(PATIENCE).unwrap(), []);
    cgroup.remove(PATIENCE).unwrap();
}
