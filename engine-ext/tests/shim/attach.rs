//! The attach client itself, in a process of its own: on a terminal and in a pipeline.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use engine_ext::attach::client::{AttachOptions, ExitReason, open, run};
use engine_ext::attach::detach::DetachKeys;
use engine_ext::shim::protocol::Attach;
use linux::process::{Pid, PidFd, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::world::{ALL, Guest, LIMIT, Recipe, World, until};

crate::cases![
    a_terminal_is_raw_until_the_keys_are_typed,
    the_size_follows_the_window,
    a_signal_ends_the_session_and_not_the_container,
    a_signal_may_be_for_the_container,
    a_pipeline_gets_both_streams_and_the_code,
    a_reader_that_has_gone_ends_it_quietly,
    the_end_of_the_shim_is_seen,
];

/// The state directory of the container to attach to: makes this program the client.
const STATE_DIR: &str = "SHIM_TEST_ATTACH";
const FORWARD: &str = "SHIM_TEST_FORWARD";

const DETACHED: u8 = 100;
const INTERRUPTED: u8 = 101;
const LOST: u8 = 102;

/// Is a client when it was started as one.
pub(crate) fn client() -> Option<ExitCode> {
    let state_dir = std::env::var_os(STATE_DIR)?;
    if rustix::termios::isatty(std::io::stdin()) {
        rustix::process::setsid().unwrap();
        linux::pty::make_controlling(std::io::stdin()).unwrap();
    }
    let wants = Attach { lossless: false, ..ALL };
    let connection = open(Path::new(&state_dir), &wants).unwrap().unwrap();
    let options = AttachOptions {
        tty: true,
        stdin: true,
        detach_keys: DetachKeys::default(),
        forward_signals: std::env::var_os(FORWARD).is_some(),
    };
    Some(match run(connection, options).unwrap() {
        ExitReason::Exited(code) => ExitCode::from(u8::try_from(code).unwrap()),
        ExitReason::Detached => ExitCode::from(DETACHED),
        ExitReason::Interrupted(_) => ExitCode::from(INTERRUPTED),
        ExitReason::Lost => ExitCode::from(LOST),
    })
}

fn start(guest: &Guest<'_>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env(STATE_DIR, guest.state_dir());
    command
}

/// A client on a terminal of its own.
struct Person {
    master: OwnedFd,
    peer: OwnedFd,
    client: Child,
}

impl Person {
    fn attach(guest: &Guest<'_>) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
        let stdio = || Stdio::from(peer.try_clone().unwrap());
        let client = start(guest).stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let person = Self { master, peer, client };
        until("raw mode", || (!person.echoes()).then_some(()));
        person
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.peer).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    fn resize(&self, rows: u16, cols: u16) {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    fn types(&self, text: &[u8]) {
        rustix::io::write(&self.master, text).unwrap();
    }

    fn sees(&self, text: &str) {
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        while !seen.contains(text) {
            let length = rustix::io::read(&self.master, &mut buffer).unwrap();
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    /// The code of the client; the terminal is as it was.
    fn ends(mut self) -> u8 {
        let code = code(&mut self.client);
        assert!(self.echoes(), "the terminal was not given back");
        code
    }
}

fn code(client: &mut Child) -> u8 {
    let pidfd = PidFd::open(Pid::new(client.id().try_into().unwrap()).unwrap()).unwrap();
    assert!(pidfd.exits_within(Some(LIMIT)).unwrap(), "it hangs");
    u8::try_from(client.wait().unwrap().code().expect("an exit code")).unwrap()
}

fn signal(client: &Child, signal: Signal) {
    let pid = Pid::new(client.id().try_into().unwrap()).unwrap();
    PidFd::open(pid).unwrap().signal(signal).unwrap();
}

fn a_terminal_is_raw_until_the_keys_are_typed() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::script("echo hello; exec cat").tty());
    for keys in [&b"\x10\x11"[..], b"\x01q"] {
        let person = Person::attach(&guest);
        person.sees("hello");
        person.types(b"typed\r");
        person.sees("typed");
        person.types(keys);
        assert_eq!(person.ends(), DETACHED);
    }
    let person = Person::attach(&guest);
    person.types(b"\x04");
    assert_eq!(person.ends(), 0, "ctrl-d has ended cat");
    guest.until_gone();
}

fn the_size_follows_the_window() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::script("while read line; do stty size; done").tty());
    let person = Person::attach(&guest);
    for (rows, cols) in [(33, 99), (44, 111)] {
        person.resize(rows, cols);
        // The news travels by another way than what is typed.
        until("the new size", || {
            person.types(b"\r");
            let log = guest.log();
            log.contains(&format!("{rows} {cols}")).then_some(())
        });
    }
    person.types(b"\x10\x11");
    assert_eq!(person.ends(), DETACHED);
    guest.stop(0);
    guest.until_gone();
}

fn a_signal_ends_the_session_and_not_the_container() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::of(&["cat"]).tty());
    for number in [Signal::TERM, Signal::HUP] {
        let person = Person::attach(&guest);
        signal(&person.client, number);
        assert_eq!(person.ends(), INTERRUPTED);
    }
    assert_eq!(guest.stop(0), Some(137));
    guest.until_gone();
}

fn a_signal_may_be_for_the_container() {
    let world = World::new();
    let script = "trap 'exit 9' INT; echo listening; while :; do sleep 0.02; done";
    let (guest, _) = world.run(Recipe::script(script));
    let mut client = start(&guest)
        .env(FORWARD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = [0; 9];
    client.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    signal(&client, Signal::INT);
    assert_eq!(code(&mut client), 9);
    guest.until_gone();
}

fn a_pipeline_gets_both_streams_and_the_code() {
    let world = World::new();
    let recipe = Recipe::script("echo err >&2; cat; exit 4").stdin();
    let (guest, _) = world.run(recipe);
    let mut client = start(&guest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The detach keys are only bytes here.
    let text = b"some \x10\x11 bytes\n".repeat(50_000);
    let output = std::thread::scope(|scope| {
        let mut stdin = client.stdin.take().unwrap();
        let text = &text;
        scope.spawn(move || stdin.write_all(text).unwrap());
        client.wait_with_output().unwrap()
    });
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout == text, "{} bytes of {}", output.stdout.len(), text.len());
    assert_eq!(output.stderr, b"err\n");
    guest.until_gone();
}

fn a_reader_that_has_gone_ends_it_quietly() {
    let world = World::new();
    let recipe = Recipe::script("while :; do echo line; sleep 0.01; done");
    let (guest, _) = world.run(recipe);
    let mut client = start(&guest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(client.stdout.take());
    assert_eq!(code(&mut client), DETACHED);
    let mut told = String::new();
    client.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(told, "");
    guest.stop(0);
    guest.until_gone();
}

fn the_end_of_the_shim_is_seen() {
    let world = World::new();
    let (guest, _) = world.run(Recipe::of(&["cat"]).tty());
    let person = Person::attach(&guest);
    PidFd::open(guest.shim().unwrap()).unwrap().signal(Signal::KILL).unwrap();
    assert_eq!(person.ends(), LOST);
}
