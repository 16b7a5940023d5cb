//! Terminals and pipes, seen from an attached client.

use engine_ext::shim::client;
use engine_ext::shim::protocol::{Attach, Kind, SignalNumber, Size};

use crate::world::{ALL, Recipe, World};

crate::cases![
    input_and_its_end_reach_a_pipe,
    a_large_input_passes_through,
    input_of_a_container_without_stdin_goes_nowhere,
    a_terminal_has_a_size_and_keeps_it,
    the_end_of_input_reaches_a_terminal,
    a_terminal_outlives_the_guest_closing_it,
    late_comers_see_what_was_said,
    a_client_may_send_a_signal,
    a_client_that_talks_nonsense_is_told,
];

fn input_and_its_end_reach_a_pipe() {
    let world = World::new();
    let (guest, mut watcher) = world.run_attached(Recipe::of(&["cat"]).stdin());
    watcher.say("hello\n");
    watcher.until_says("hello");
    watcher.send(Kind::StdinEof, &[]);
    assert_eq!(watcher.until_exit(), 0);
    guest.until_gone();
}

fn a_large_input_passes_through() {
    let world = World::new();
    let (guest, mut watcher) = world.run_attached(Recipe::of(&["cat"]).stdin());
    // More than every buffer on the way: taken in turns, as the real client does.
    let piece = "0123456789abcdef".repeat(1024);
    let mut sent = 0;
    for _ in 0..64 {
        watcher.say(&piece);
        sent += piece.len();
        watcher.until("an echo", |it| it.stdout.len() + 200_000 > sent);
    }
    watcher.send(Kind::StdinEof, &[]);
    assert_eq!(watcher.until_exit(), 0);
    assert_eq!(watcher.stdout.len(), sent);
    guest.until_gone();
}

fn input_of_a_container_without_stdin_goes_nowhere() {
    let world = World::new();
    let (guest, mut watcher) = world.run_attached(Recipe::script("cat; echo done"));
    assert_eq!(watcher.until_exit(), 0);
    assert_eq!(watcher.text(), "done\n");
    guest.until_gone();
}

fn a_terminal_has_a_size_and_keeps_it() {
    let world = World::new();
    let script = "while read line; do stty size; done";
    let recipe = Recipe::script(script).tty().system().set("/restart", "always");
    let (guest, mut watcher) = world.run_attached(recipe);
    watcher.send(Kind::Resize, &serde_json::to_vec(&Size { rows: 40, cols: 132 }).unwrap());
    watcher.say("\n");
    watcher.until_says("40 132");
    client::resize(guest.state_dir(), 50, 140).unwrap();
    watcher.say("\n");
    watcher.until_says("50 140");
    watcher.send(Kind::StdinEof, &[]);
    watcher.until("restart", |it| it.restarts == 1);
    watcher.stdout.clear();
    watcher.say("\n");
    watcher.until_says("50 140");
    guest.stop(0);
    guest.until_gone();
}

fn the_end_of_input_reaches_a_terminal() {
    let world = World::new();
    let (guest, mut watcher) = world.run_attached(Recipe::script("cat; exit 6").tty());
    watcher.say("half a line");
    watcher.until_says("half a line");
    watcher.send(Kind::StdinEof, &[]);
    assert_eq!(watcher.until_exit(), 6);
    guest.until_gone();
}

fn a_terminal_outlives_the_guest_closing_it() {
    let world = World::new();
    // systemd has /dev/console open only while it writes to it.
    let script = "exec sh -c 'sleep 0.2; echo back > /dev/console; sleep 0.2' < /dev/null \
                  > /dev/null 2>&1";
    let (guest, mut watcher) = world.run_attached(Recipe::script(script).tty());
    watcher.until_says("back");
    assert_eq!(watcher.until_exit(), 0);
    guest.until_gone();
}

fn late_comers_see_what_was_said() {
    let world = World::new();
    let (guest, mut first) = world.run_attached(Recipe::script("echo early; exec cat").stdin());
    first.until_says("early");
    let mut second = guest.attach(&ALL);
    second.until_says("early");
    second.say("both\n");
    first.until_says("both");
    second.until_says("both");
    let mut third = guest.attach(&Attach { replay: false, ..ALL });
    third.say("three\n");
    third.until_says("three");
    assert_eq!(third.text(), "three\n");
    guest.stop(0);
    for mut watcher in [first, second, third] {
        assert_eq!(watcher.until_exit(), 137);
    }
    guest.until_gone();
}

fn a_client_may_send_a_signal() {
    let world = World::new();
    let script = "trap 'exit 8' INT; echo listening; while :; do sleep 0.02; done";
    let (guest, mut watcher) = world.run_attached(Recipe::script(script));
    watcher.until_says("listening");
    watcher.send(Kind::Signal, &serde_json::to_vec(&SignalNumber { signal: 2 }).unwrap());
    assert_eq!(watcher.until_exit(), 8);
    guest.until_gone();
}

fn a_client_that_talks_nonsense_is_told() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::of(&["sleep", "600"]));
    for (kind, payload) in
        [(Kind::Resize, &b"wide"[..]), (Kind::Exit, b"{}"), (Kind::Signal, b"{\"signal\":99}")]
    {
        let mut watcher = guest.attach(&ALL);
        watcher.send(kind, payload);
        watcher.until("a word", |it| it.is_closed);
        assert!(watcher.error.is_some());
    }
    guest.stop(0);
    guest.until_gone();
}
