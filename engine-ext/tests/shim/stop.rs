//! Stopping: politely, in time, for everyone who waits.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use container::Status;
use engine_ext::shim::client;
use engine_ext::shim::protocol::{Reply, Request, Stop};
use engine_ext::shim::transport;
use linux::process::{Pid, PidFd, Signal};

use crate::world::{ALL, Guest, Recipe, World, until};

crate::cases![
    the_signal_is_sent_and_the_answer_comes_when_it_is_down,
    a_deaf_init_is_killed_in_time,
    the_signal_waits_until_init_listens,
    everyone_who_waits_is_answered,
    a_caller_that_vanishes_changes_nothing,
    the_end_is_told_at_once,
    a_signal_to_the_shim_stops_the_container,
    a_paused_container_can_be_stopped,
    only_what_fits_the_state_is_done,
    malformed_requests_are_answered,
    a_crowd_of_silent_connections_shuts_nobody_out,
    without_descriptors_it_lives_on,
    it_starts_again_right_after_the_answer,
];

/// Ends with 7 when it is asked to, not before.
const POLITE: &str = "trap 'exit 7' TERM; while :; do sleep 0.02; done";

fn init(guest: &Guest<'_>) -> PidFd {
    PidFd::open(Pid::new(guest.state().pid.unwrap()).unwrap()).unwrap()
}

fn the_signal_is_sent_and_the_answer_comes_when_it_is_down() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::script(POLITE));
    let init = init(&guest);
    assert_eq!(guest.stop(10_000), Some(7));
    assert!(!init.is_alive().unwrap());
    let state = guest.state();
    assert_eq!((state.status, state.exit_code, state.stopped_by_user), (Status::Stopped, 7, true));
    guest.until_gone();
    assert_eq!(guest.stop(10_000), None, "it is down already");
}

fn a_deaf_init_is_killed_in_time() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::of(&["sleep", "600"]));
    let started = Instant::now();
    assert_eq!(guest.stop(300), Some(137));
    assert!(started.elapsed() >= Duration::from_millis(300));
    guest.until_gone();
}

fn the_signal_waits_until_init_listens() {
    let world = World::new();
    // The kernel would drop a signal that comes before the trap.
    let (guest, _) = world.run(Recipe::script(&format!("sleep 0.3; {POLITE}")));
    assert_eq!(guest.stop(15_000), Some(7));
    guest.until_gone();
}

fn everyone_who_waits_is_answered() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::script(POLITE));
    let mut watcher = guest.attach(&ALL);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| client::wait(guest.state_dir()).unwrap()))
            .chain([scope.spawn(|| guest.stop(-1))])
            .collect();
        for waiter in waiting {
            assert_eq!(waiter.join().unwrap(), Some(7));
        }
    });
    assert_eq!(watcher.until_exit(), 7);
    guest.until_gone();
}

fn a_caller_that_vanishes_changes_nothing() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::script(POLITE));
    for request in [Request::Wait {}, Request::Stop(Stop { timeout_ms: -1, ..Stop::default() })] {
        let connection = transport::connect(guest.state_dir()).unwrap().unwrap();
        let text = serde_json::to_vec(&request).unwrap();
        transport::send(connection.as_fd(), &text).unwrap();
    }
    let state = guest.until("the stop goes on", |state| state.status == Status::Stopped);
    assert_eq!(state.exit_code, 7);
    guest.until_gone();
}

fn the_end_is_told_at_once() {
    let world = World::new();
    let mut took = Vec::new();
    for _ in 0..5 {
        let (guest, _) = world.run(Recipe::of(&["sleep", "600"]));
        let init = init(&guest);
        let gone = std::thread::scope(|scope| {
            let gone = scope.spawn(|| {
                init.exits_within(None).unwrap();
                Instant::now()
            });
            guest.stop(0);
            let answered = Instant::now();
            answered.saturating_duration_since(gone.join().unwrap())
        });
        took.push(gone);
        guest.until_gone();
    }
    took.sort();
    // Between the two lie the removal of the cgroups and the record; a machine may be busy.
    assert!(took[2] < Duration::from_millis(250), "{took:?}");
}

fn a_signal_to_the_shim_stops_the_container() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::script(POLITE).set("/restart", "always"));
    PidFd::open(guest.shim().unwrap()).unwrap().signal(Signal::TERM).unwrap();
    let state = guest.until_gone();
    assert_eq!((state.exit_code, state.stopped_by_user), (7, false));
}

fn a_paused_container_can_be_stopped() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::script(POLITE));
    assert!(client::pause(guest.state_dir()).unwrap());
    assert_eq!(guest.state().status, Status::Paused);
    let again = client::pause(guest.state_dir()).unwrap_err().to_string();
    expect_test::expect!["only a running container can be paused; it is paused"].assert_eq(&again);
    assert!(client::resume(guest.state_dir()).unwrap());
    assert_eq!(guest.state().status, Status::Running);
    assert!(client::pause(guest.state_dir()).unwrap());
    assert_eq!(guest.stop(10_000), Some(7));
    guest.until_gone();
}

fn only_what_fits_the_state_is_done() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::script(POLITE));
    let told = client::resume(guest.state_dir()).unwrap_err().to_string();
    expect_test::expect!["only a paused container can be resumed; it is running"].assert_eq(&told);
    let told = client::resize(guest.state_dir(), 24, 80).unwrap_err().to_string();
    expect_test::expect![
        "resize: inappropriate ioctl for device (ENOTTY); the container was made without -t"
    ]
    .assert_eq(&told);
    let told = client::kill(guest.state_dir(), "NOSUCH").unwrap_err().to_string();
    assert!(told.starts_with("parse signal \"NOSUCH\""), "{told}");
    assert!(client::kill(guest.state_dir(), "USR1").unwrap(), "nobody listens, and that is fine");
    assert!(client::kill(guest.state_dir(), "KILL").unwrap());
    let state = guest.until_gone();
    assert_eq!((state.exit_code, state.stopped_by_user), (137, true));
}

fn malformed_requests_are_answered() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::of(&["sleep", "600"]));
    let long = vec![b' '; 100_000];
    for request in [&b"not json"[..], b"{}", b"[]", b"{\"stop\":{}}", b"\xff\x00", &long] {
        let connection = transport::connect(guest.state_dir()).unwrap().unwrap();
        transport::send(connection.as_fd(), request).unwrap();
        let mut answer = vec![0; 65536];
        let length = transport::receive(connection.as_fd(), &mut answer).unwrap().unwrap();
        let reply: Reply = serde_json::from_slice(&answer[..length]).unwrap();
        assert!(matches!(reply, Reply::Error { .. }), "{reply:?}");
    }
    guest.stop(0);
    guest.until_gone();
}

fn a_crowd_of_silent_connections_shuts_nobody_out() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::of(&["sleep", "600"]));
    let crowd: Vec<_> =
        (0..100).map(|_| transport::connect(guest.state_dir()).unwrap().unwrap()).collect();
    // The first of them are shut out after their time, and the next are heard.
    let reply = client::request(guest.state_dir(), &Request::State {}).unwrap();
    assert!(matches!(reply, Some(Reply::State(_))), "{reply:?}");
    drop(crowd);
    guest.stop(0);
    guest.until_gone();
}

fn without_descriptors_it_lives_on() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::script(POLITE));
    let shim = guest.shim().unwrap();
    let limit = rustix::process::Rlimit { current: Some(24), maximum: Some(1024) };
    rustix::process::prlimit(Some(shim.into()), rustix::process::Resource::Nofile, limit).unwrap();
    let crowd: Vec<_> =
        (0..40).map(|_| transport::connect(guest.state_dir()).unwrap().unwrap()).collect();
    until("it has run out", || {
        let open = std::fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
        (open >= 24).then_some(())
    });
    drop(crowd);
    assert_eq!(guest.stop(10_000), Some(7));
    guest.until_gone();
}

fn it_starts_again_right_after_the_answer() {
    let world = World::new();
    let guest = world.create(Recipe::script(POLITE));
    for _ in 0..5 {
        guest.start();
        assert_eq!(guest.stop(10_000), Some(7));
    }
    guest.until_gone();
}
