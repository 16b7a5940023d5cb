use std::os::fd::OwnedFd;
use std::time::Duration;

use super::super::protocol::{Attach, parse};
use super::super::stdio::GuestEnds;
use super::super::transport;
use super::*;

const ALL: Attach =
    Attach { stdin: true, stdout: true, stderr: true, replay: true, lossless: false };

fn console() -> (Console, GuestEnds) {
    let (streams, guest) = Streams::of_pipes(true).unwrap();
    let mut console = Console::new(false, None);
    console.set_streams(streams);
    (console, guest)
}

fn attach(console: &mut Console, wants: Attach) -> OwnedFd {
    let (ours, theirs) = transport::pair().unwrap();
    let client = Client::new(theirs, wants);
    console.admit(client, wants.replay, Instant::now()).unwrap();
    rustix::io::ioctl_fionbio(&ours, true).unwrap();
    ours
}

/// Everything that has come for a client: kind and payload.
fn received(client: &OwnedFd) -> Vec<(Kind, Vec<u8>)> {
    let mut all = Vec::new();
    let mut packet = vec![0; PAYLOAD_MAX + 1];
    while let Ok((length, _)) =
        rustix::net::recv(client, &mut packet[..], rustix::net::RecvFlags::DONTWAIT)
        && length > 0
    {
        let (kind, payload) = parse(&packet[..length]).unwrap();
        all.push((kind, payload.to_vec()));
    }
    all
}

fn output(client: &OwnedFd) -> Vec<u8> {
    let all = received(client).into_iter();
    all.filter(|(kind, _)| *kind == Kind::Stdout).flat_map(|(_, payload)| payload).collect()
}

fn say(guest: &GuestEnds, text: &[u8]) {
    assert_eq!(rustix::io::write(&guest.stdout, text).unwrap(), text.len());
}

#[test]
fn everyone_sees_what_is_said_and_late_comers_what_was() {
    let (mut console, guest) = console();
    let early = attach(&mut console, ALL);
    say(&guest, b"hello\n");
    console.read(Kind::Stdout, Instant::now());
    let late = attach(&mut console, ALL);
    let expected =
        [(Kind::Attached, br#"{"tty":false}"#.to_vec()), (Kind::Stdout, b"hello\n".to_vec())];
    assert_eq!(received(&early), expected);
    assert_eq!(received(&late), expected);
    let indifferent = attach(&mut console, Attach { replay: false, ..ALL });
    assert_eq!(received(&indifferent).len(), 1);
}

#[test]
fn a_client_gets_only_the_streams_it_wants() {
    let (mut console, guest) = console();
    let client = attach(&mut console, Attach { stdout: false, ..ALL });
    say(&guest, b"out");
    rustix::io::write(&guest.stderr, b"err").unwrap();
    console.read(Kind::Stdout, Instant::now());
    console.read(Kind::Stderr, Instant::now());
    assert_eq!(received(&client)[1..], [(Kind::Stderr, b"err".to_vec())]);
}

/// Writes and reads until somebody is full; how many bytes that took.
fn fill(console: &mut Console, guest: &GuestEnds, now: Instant) -> usize {
    let text = vec![b'x'; 60_000];
    let mut total = 0;
    while console.may_read() {
        say(guest, &text);
        console.read(Kind::Stdout, now);
        total += text.len();
        assert!(total < 100_000_000, "nothing bounds the queue");
    }
    total
}

#[test]
fn a_slow_reader_is_waited_for_a_moment_and_then_dropped() {
    let (mut console, guest) = console();
    let start = Instant::now();
    let slow = attach(&mut console, ALL);
    fill(&mut console, &guest, start);
    assert_eq!(console.deadline(), Some(start + Duration::from_secs(1)));
    console.tend_clients(start + Duration::from_millis(999));
    assert!(!console.may_read());
    console.tend_clients(start + Duration::from_secs(1));
    assert!(console.may_read(), "the container goes on");

    // It hears why as soon as it reads again.
    let heard = received(&slow);
    for client in console.clients() {
        client.flush();
    }
    console.tend_clients(start + Duration::from_secs(2));
    assert!(console.clients().is_empty());
    let (kind, message) = received(&slow).pop().unwrap();
    assert_eq!(kind, Kind::Error);
    assert!(String::from_utf8(message).unwrap().contains("faster than it was read"));
    assert!(heard.iter().all(|(kind, _)| *kind != Kind::Error));
}

#[test]
fn a_slow_reader_that_catches_up_loses_nothing() {
    let (mut console, guest) = console();
    let client = attach(&mut console, ALL);
    let now = Instant::now();
    let total = fill(&mut console, &guest, now);
    let mut seen = 0;
    for _ in 0..100 {
        seen += output(&client).len();
        console.clients()[0].flush();
    }
    console.tend_clients(now + Duration::from_secs(5));
    assert!(console.may_read());
    console.read(Kind::Stdout, now);
    seen += output(&client).len();
    assert_eq!(seen, total);
}

#[test]
fn a_lossless_reader_is_waited_for_as_long_as_it_lives() {
    let (mut console, guest) = console();
    let client = attach(&mut console, Attach { lossless: true, ..ALL });
    let now = Instant::now();
    fill(&mut console, &guest, now);
    console.tend_clients(now + Duration::from_secs(1000));
    assert!(!console.may_read());
    assert_eq!(console.deadline(), None);
    drop(client);
    console.clients()[0].flush();
    console.tend_clients(now);
    assert!(console.may_read());
    assert_eq!(console.clients()[0].receive(&mut [0; 8]), None);
    console.tend_clients(now);
    assert!(console.clients().is_empty());
}

#[test]
fn a_client_that_sent_and_went_is_still_heard() {
    let (mut console, _guest) = console();
    let (ours, theirs) = transport::pair().unwrap();
    transport::send(std::os::fd::AsFd::as_fd(&ours), &Kind::Stdin.packet(b"go\n")).unwrap();
    drop(ours);
    let now = Instant::now();
    console.admit(Client::new(theirs, ALL), true, now).unwrap();
    console.tend_clients(now);
    assert_eq!(console.clients()[0].receive(&mut [0; 8]), Some(4));
}

#[test]
fn the_end_comes_after_everything_that_was_said() {
    let (mut console, guest) = console();
    let client = attach(&mut console, ALL);
    say(&guest, b"last words");
    drop(guest);
    let now = Instant::now();
    console.drain(now);
    console.announce_end(3, now);
    console.tend_clients(now);
    assert!(console.clients().is_empty(), "it took everything at once");
    let all = received(&client);
    assert_eq!(all[1], (Kind::Stdout, b"last words".to_vec()));
    assert_eq!(all[2], (Kind::Exit, br#"{"code":3}"#.to_vec()));
}

#[test]
fn a_restart_keeps_the_clients() {
    let (mut console, guest) = console();
    let client = attach(&mut console, ALL);
    drop(guest);
    console.drain(Instant::now());
    let (streams, guest) = Streams::of_pipes(true).unwrap();
    console.set_streams(streams);
    console.announce_restart(Instant::now());
    say(&guest, b"again");
    console.read(Kind::Stdout, Instant::now());
    let kinds: Vec<Kind> = received(&client).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Kind::Attached, Kind::Restarted, Kind::Stdout]);
}

#[test]
fn there_is_an_end_to_the_number_of_clients() {
    let (mut console, _guest) = console();
    let clients: Vec<OwnedFd> = (0..CLIENTS_MAX).map(|_| attach(&mut console, ALL)).collect();
    let (_ours, theirs) = transport::pair().unwrap();
    assert!(console.admit(Client::new(theirs, ALL), false, Instant::now()).is_err());
    assert_eq!(clients.len(), CLIENTS_MAX);
}
