//! From start to end: codes, records, what is left.

use std::os::unix::net::UnixDatagram;

use container::Status;
use container::state::Exit;
use engine_ext::shim::client::{self, LaunchError, Readiness};
use linux::process::{Pid, PidFd, Signal};
use serde_json::json;

use crate::world::{Recipe, World, until};

crate::cases![
    output_and_exit_code_reach_everyone,
    a_program_that_is_not_there_is_127,
    a_program_that_cannot_run_is_126,
    a_bundle_that_is_wrong_is_125,
    a_signal_is_recorded_as_one,
    it_is_removed_when_it_ends,
    an_orphan_is_reaped,
    a_kill_for_memory_is_seen,
    a_guest_says_when_it_is_ready,
    a_guest_that_ends_first_was_never_ready,
    a_second_shim_is_refused,
    a_killed_shim_leaves_a_true_record,
    a_shim_starts_over_what_a_killed_one_left,
    a_log_that_cannot_be_written_harms_nobody,
];

fn output_and_exit_code_reach_everyone() {
    let world = World::new();
    let (guest, mut watcher) = world.run_attached(Recipe::script("echo out; echo err >&2; exit 3"));
    assert_eq!(watcher.until_exit(), 3);
    assert_eq!((&watcher.stdout[..], &watcher.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    let state = guest.until_gone();
    assert_eq!((state.exit_code, state.exit), (3, Some(Exit::Exited(3))));
    assert!(!state.started_at.is_empty() && state.finished_at > state.started_at);
    assert_eq!(client::wait(guest.state_dir()).unwrap(), None, "nobody is there to wait for");
    let mut lines: Vec<String> = guest.log().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
}

fn refusal(world: &World, recipe: Recipe) -> (u8, String) {
    let guest = world.create(recipe);
    let error = guest.launch(None).unwrap_err();
    let refusal = error.downcast_ref::<LaunchError>().unwrap_or_else(|| panic!("{error:#}"));
    let state = guest.until_gone();
    assert_eq!(state.error, refusal.message);
    assert_eq!(state.exit_code, i32::from(refusal.exit_code));
    (refusal.exit_code, refusal.message.clone())
}

fn a_program_that_is_not_there_is_127() {
    let world = World::new();
    let (code, text) = refusal(&world, Recipe::of(&["no-such-program"]));
    assert_eq!(code, 127, "{text}");
    assert!(text.contains("no-such-program"), "{text}");
}

fn a_program_that_cannot_run_is_126() {
    let world = World::new();
    std::fs::write(world.inside("/bin/data"), "not a program").unwrap();
    let (code, text) = refusal(&world, Recipe::of(&["/bin/data"]));
    assert_eq!(code, 126, "{text}");
}

fn a_bundle_that_is_wrong_is_125() {
    let world = World::new();
    let (code, text) = refusal(&world, Recipe::of(&["true"]).set("/rootfs", "/mnt/nowhere"));
    assert_eq!(code, 125, "{text}");
    assert!(text.contains("/mnt/nowhere"), "{text}");
}

fn a_signal_is_recorded_as_one() {
    let world = World::new();
    let (guest, started) = world.run(Recipe::of(&["sleep", "600"]));
    let state = guest.state();
    assert_eq!((state.status, state.pid), (Status::Running, Some(started.pid)));
    let init = Pid::new(started.pid).unwrap();
    assert_eq!(state.start_time, linux::process::start_time(init).ok());
    PidFd::open(init).unwrap().signal(Signal::KILL).unwrap();
    let state = guest.until_gone();
    assert_eq!((state.exit_code, state.exit), (137, Some(Exit::Killed(9))));
    assert!(!state.stopped_by_user && !state.oom_killed);
}

fn it_is_removed_when_it_ends() {
    let world = World::new();
    let (guest, mut watcher) =
        world.run_attached(Recipe::script("exit 4").set("/auto_remove", true));
    assert_eq!(watcher.until_exit(), 4);
    // Whoever hears the end finds nothing any more.
    assert!(!guest.container.dir.exists() && !guest.state_dir().exists());
    assert!(world.store.list().unwrap().is_empty());
}

fn an_orphan_is_reaped() {
    let world = World::new();
    // Without a pid namespace of its own, orphans come to the shim.
    let recipe =
        Recipe::script("sh -c 'sleep 0.05 & true'; exec sleep 600").set("/namespaces/pid", "host");
    let (guest, _) = world.run(recipe);
    let shim = guest.shim().unwrap();
    let init = guest.state().pid.unwrap();
    until("init is the only child left", || {
        let children = linux::process::children(shim).unwrap();
        (children == [Pid::new(init).unwrap()]).then_some(())
    });
    assert_eq!(guest.stop(10_000), Some(143));
    guest.until_gone();
}

fn a_kill_for_memory_is_seen() {
    let world = World::new();
    let limits = json!({"memory": 8 << 20, "memory_swap": 8 << 20});
    let recipe = Recipe::of(&["tail", "/dev/zero"]).set("/resources", limits);
    let (guest, mut watcher) = world.run_attached(recipe);
    assert_eq!(watcher.until_exit(), 137);
    assert!(guest.until_gone().oom_killed);
}

fn a_guest_says_when_it_is_ready() {
    let world = World::new();
    let (guest, mut started) = world.run(Recipe::of(&["sleep", "600"]).system());
    assert!(!guest.state().ready);
    let socket = UnixDatagram::unbound().unwrap();
    for text in ["garbage", "STATUS=coming up", "READY=1\nSTATUS=up"] {
        socket.send_to(text.as_bytes(), guest.state_dir().join("notify")).unwrap();
    }
    assert_eq!(started.wait_ready().unwrap(), Readiness::Ready);
    assert!(guest.state().ready);
    guest.stop(0);
    assert!(!guest.until_gone().ready);
}

fn a_guest_that_ends_first_was_never_ready() {
    let world = World::new();
    let (guest, mut started) = world.run(Recipe::script("exit 9").system());
    assert_eq!(started.wait_ready().unwrap(), Readiness::Exited(9));
    guest.until_gone();
}

fn a_second_shim_is_refused() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::of(&["sleep", "600"]));
    let before = guest.state();
    let shim = guest.shim().unwrap();
    let refusal = format!("{:#}", guest.launch(None).unwrap_err());
    assert!(refusal.contains(&format!("held by pid {shim}")), "{refusal}");
    assert_eq!(guest.state(), before);
    guest.stop(0);
    guest.until_gone();
}

fn a_killed_shim_leaves_a_true_record() {
    let world = World::new();
    let (guest, started) = world.run(Recipe::of(&["sleep", "600"]));
    let shim = PidFd::open(guest.shim().unwrap()).unwrap();
    shim.signal(Signal::KILL).unwrap();
    assert!(shim.exits_within(Some(crate::world::LIMIT)).unwrap());
    assert!(!guest.container.is_supervised().unwrap());
    let state = guest.container.state().unwrap();
    assert_eq!((state.status, state.pid), (Status::Running, Some(started.pid)));
    assert_eq!(client::wait(guest.state_dir()).unwrap(), None);
}

fn a_shim_starts_over_what_a_killed_one_left() {
    let world = World::new();
    let (guest, first) = world.run(Recipe::of(&["sleep", "600"]));
    let shim = PidFd::open(guest.shim().unwrap()).unwrap();
    shim.signal(Signal::KILL).unwrap();
    assert!(shim.exits_within(Some(crate::world::LIMIT)).unwrap());
    let second = guest.start();
    assert_ne!(first.pid, second.pid);
    let old = PidFd::open(Pid::new(first.pid).unwrap());
    assert!(old.is_err() || !old.unwrap().is_alive().unwrap(), "two inits on one rootfs");
    guest.stop(0);
    guest.until_gone();
}

fn a_log_that_cannot_be_written_harms_nobody() {
    let world = World::new();
    let recipe = Recipe::script("echo one; echo two; exit 5").set("/log/path", "/dev/full");
    let (guest, mut watcher) = world.run_attached(recipe);
    assert_eq!(watcher.until_exit(), 5);
    assert_eq!(watcher.text(), "one\ntwo\n");
    until("the shim goes", || guest.shim().is_none().then_some(()));
    let notes = guest.notes();
    assert_eq!(notes.matches("no space left on device (ENOSPC)").count(), 1, "{notes}");
}
