//! Starting again: by policy, by the guest's wish, and how it is called off.

use std::time::{Duration, Instant};

use container::Status;
use container::state::Exit;
use engine_ext::shim::client;

use crate::world::{ALL, Recipe, World};

crate::cases![
    a_failure_is_tried_again_and_given_up,
    a_reboot_is_one_and_keeps_whoever_is_attached,
    poststop_hooks_hear_what_the_guest_meant,
    a_power_off_is_the_end,
    an_exit_with_129_is_no_reboot,
    a_pending_restart_can_be_called_off,
    a_kill_is_the_end_under_every_policy,
    a_policy_that_was_changed_counts,
    a_restart_that_fails_is_recorded,
];

fn a_failure_is_tried_again_and_given_up() {
    let world = World::new();
    let started = Instant::now();
    let (guest, mut watcher) =
        world.run_attached(Recipe::script("echo x; exit 1").set("/restart", "on-failure:2"));
    assert_eq!(watcher.until_exit(), 1);
    assert!(started.elapsed() >= Duration::from_millis(300), "100 and 200 ms between the tries");
    assert_eq!((watcher.text().as_str(), watcher.restarts), ("x\nx\nx\n", 2));
    let state = guest.until_gone();
    assert_eq!((state.restart_count, state.reboot_count), (2, 0));
}

fn a_reboot_is_one_and_keeps_whoever_is_attached() {
    let world = World::new();
    let script = "echo life >> /lives; [ $(wc -l < /lives) = 3 ] || reboot -f; \
                  echo third; read line; echo got $line; exit 0";
    std::os::unix::fs::symlink("busybox", world.inside("/bin/wc")).unwrap();
    let recipe = Recipe::script(script).system().stdin().set("/restart", "on-reboot");
    let (guest, mut watcher) = world.run_attached(recipe);
    watcher.until_says("third");
    let state = guest.state();
    assert_eq!((state.restart_count, state.reboot_count), (0, 2));
    assert_eq!((state.reason.as_deref(), state.exit), (Some("reboot"), Some(Exit::Killed(1))));
    assert_eq!(watcher.restarts, 2);
    watcher.say("hello\n");
    watcher.until_says("got hello");
    assert_eq!(watcher.until_exit(), 0);
    guest.until_gone();
}

fn poststop_hooks_hear_what_the_guest_meant() {
    let world = World::new();
    let hook = "#!/bin/sh\necho $CONTAINER_ACTION >> /mnt/actions\n";
    std::fs::write("/mnt/hook", hook).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions("/mnt/hook", mode).unwrap();
    let script = "[ -e /again ] && exec poweroff -f; echo > /again; reboot -f";
    let hooks = serde_json::json!({"poststop": [{"path": "/mnt/hook", "timeout": 10}]});
    let recipe = Recipe::script(script).system().set("/restart", "on-reboot").set("/hooks", hooks);
    let (guest, mut watcher) = world.run_attached(recipe);
    assert_eq!(watcher.until_exit(), 130);
    assert_eq!(std::fs::read_to_string("/mnt/actions").unwrap(), "reboot\nshutdown\n");
    guest.until_gone();
}

fn a_power_off_is_the_end() {
    let world = World::new();
    let recipe = Recipe::script("poweroff -f").system().set("/restart", "on-reboot");
    let (guest, mut watcher) = world.run_attached(recipe);
    assert_eq!(watcher.until_exit(), 130);
    let state = guest.until_gone();
    assert_eq!((state.reason.as_deref(), state.exit), (Some("halt"), Some(Exit::Killed(2))));
}

fn an_exit_with_129_is_no_reboot() {
    let world = World::new();
    let recipe = Recipe::script("exit 129").system().set("/restart", "on-reboot");
    let (guest, mut watcher) = world.run_attached(recipe);
    assert_eq!(watcher.until_exit(), 129);
    let state = guest.until_gone();
    assert_eq!((state.reason, state.exit), (None, Some(Exit::Exited(129))));
    assert_eq!((state.restart_count, state.reboot_count), (0, 0));
}

fn a_pending_restart_can_be_called_off() {
    let world = World::new();
    for by_kill in [false, true] {
        let recipe = Recipe::script("exit 1").set("/restart", "always");
        let (guest, _) = world.run(recipe);
        guest.until("a pause", |state| {
            state.status == Status::Restarting && state.restart_count >= 2
        });
        if by_kill {
            assert!(client::kill(guest.state_dir(), "TERM").unwrap());
        } else {
            assert_eq!(guest.stop(10_000), Some(1));
        }
        let state = guest.until_gone();
        assert!(state.stopped_by_user);
        assert_eq!(state.exit_code, 1);
    }
}

fn a_kill_is_the_end_under_every_policy() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::of(&["sleep", "600"]).set("/restart", "always"));
    assert!(client::kill(guest.state_dir(), "KILL").unwrap());
    assert_eq!(guest.until_gone().exit_code, 137);
}

fn a_policy_that_was_changed_counts() {
    let world = World::new();
    let recipe = Recipe::script("read line; exit 1").stdin().set("/restart", "always");
    let (guest, _) = world.run(recipe);
    let mut config = guest.container.config().unwrap();
    config.restart = "no".parse().unwrap();
    guest.container.save_config(&config).unwrap();
    guest.attach(&ALL).say("go\n");
    assert_eq!(guest.until_gone().restart_count, 0);
}

fn a_restart_that_fails_is_recorded() {
    let world = World::new();
    let recipe = Recipe::script("read line; exit 1").stdin().set("/restart", "on-failure:1");
    let (guest, _) = world.run(recipe);
    let mut watcher = guest.attach(&ALL);
    std::fs::remove_file(world.inside("/bin/sh")).unwrap();
    watcher.say("go\n");
    assert_eq!(watcher.until_exit(), 127);
    let state = guest.until("the end", |state| state.status == Status::Stopped);
    assert!(state.error.starts_with("restart: "), "{state:?}");
    assert!(guest.notes().contains("restart: "), "{}", guest.notes());
}
