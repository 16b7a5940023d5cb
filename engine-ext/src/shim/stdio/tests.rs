use std::io::Read;

use super::*;

fn read_all(fd: &OwnedFd) -> Vec<u8> {
    let mut text = Vec::new();
    std::fs::File::from(fd.try_clone().unwrap()).read_to_end(&mut text).unwrap();
    text
}

/// A pty in canonical mode: our side, and the guest's.
fn terminal() -> (Streams, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
    (Streams::of_terminal(master, None).unwrap(), peer)
}

fn read_some(fd: &OwnedFd) -> Vec<u8> {
    let mut buffer = [0; 64];
    let length = rustix::io::read(fd, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn input_comes_out_and_its_end_closes_the_pipe() {
    let (mut streams, guest) = Streams::of_pipes(true).unwrap();
    streams.input().push(b"hello\n");
    streams.input().push_end();
    streams.input().push(b"too late");
    assert_eq!(read_all(&guest.stdin), b"hello\n");
}

#[test]
fn input_that_finds_no_room_waits_and_so_does_its_end() {
    let (mut streams, guest) = Streams::of_pipes(true).unwrap();
    let data = vec![b'x'; 100_000];
    streams.input().push(&data);
    streams.input().push_end();
    assert!(streams.blocked_input().is_some());
    let reader = std::thread::spawn(move || read_all(&guest.stdin).len());
    while let Some(fd) = streams.blocked_input() {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::OUT)];
        rustix::event::poll(&mut fds, None).unwrap();
        streams.input().flush();
    }
    assert_eq!(reader.join().unwrap(), data.len());
}

#[test]
fn input_for_a_reader_that_is_gone_is_dropped() {
    let (mut streams, guest) = Streams::of_pipes(true).unwrap();
    drop(guest);
    streams.input().push(b"hello");
    assert!(streams.input_has_room());
    assert!(streams.blocked_input().is_none());
}

#[test]
fn without_open_stdin_the_guest_reads_nothing() {
    let (mut streams, guest) = Streams::of_pipes(false).unwrap();
    streams.input().push(b"hello");
    assert_eq!(read_all(&guest.stdin), b"");
}

#[test]
fn outputs_are_told_apart_and_end() {
    let (mut streams, guest) = Streams::of_pipes(false).unwrap();
    rustix::io::write(&guest.stderr, b"oops").unwrap();
    let mut buffer = [0; 64];
    assert_eq!(streams.read(Kind::Stdout, &mut buffer), Chunk::Empty);
    assert_eq!(streams.read(Kind::Stderr, &mut buffer), Chunk::Data(4));
    drop(guest);
    assert_eq!(streams.read(Kind::Stdout, &mut buffer), Chunk::End);
    assert_eq!(streams.read(Kind::Stderr, &mut buffer), Chunk::End);
    assert_eq!(streams.outputs().count(), 0);
}

#[test]
fn the_end_of_input_at_a_line_start_is_one_key() {
    let (mut streams, peer) = terminal();
    streams.input().push(b"line\n");
    streams.input().push_end();
    assert_eq!(read_some(&peer), b"line\n");
    assert_eq!(read_some(&peer), b"");
}

#[test]
fn the_end_of_input_within_a_line_hands_the_line_over_first() {
    let (mut streams, peer) = terminal();
    streams.input().push(b"half");
    streams.input().push_end();
    assert_eq!(read_some(&peer), b"half");
    assert_eq!(read_some(&peer), b"");
}

#[test]
fn a_terminal_survives_the_guest_closing_it() {
    let (mut streams, peer) = terminal();
    drop(peer);
    let mut buffer = [0; 64];
    assert_eq!(streams.read(Kind::Stdout, &mut buffer), Chunk::Empty);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = &streams.terminal.as_ref().unwrap().master;
    let again = rustix::pty::ioctl_tiocgptpeer(master, flags).unwrap();
    rustix::io::write(&again, b"back").unwrap();
    assert_eq!(streams.read(Kind::Stdout, &mut buffer), Chunk::Data(4));
}

#[test]
fn resizing_needs_a_terminal() {
    let (mut streams, peer) = terminal();
    streams.resize(Size { rows: 3, cols: 7 }).unwrap();
    let size = rustix::termios::tcgetwinsize(&peer).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (3, 7));
    let (mut pipes, _guest) = Streams::of_pipes(false).unwrap();
    let refusal = pipes.resize(Size { rows: 3, cols: 7 }).unwrap_err().to_string();
    expect_test::expect![
        "resize: inappropriate ioctl for device (ENOTTY); the container was made without -t"
    ]
    .assert_eq(&refusal);
}
