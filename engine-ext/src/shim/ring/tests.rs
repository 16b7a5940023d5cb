use proptest::prelude::*;

use super::super::protocol::parse;
use super::*;

fn shown(ring: &Ring) -> Vec<(Kind, Vec<u8>)> {
    let mut all: Vec<(Kind, Vec<u8>)> = Vec::new();
    for packet in ring.replay() {
        let (kind, payload) = parse(&packet).unwrap();
        match all.last_mut() {
            Some((last, bytes)) if *last == kind => bytes.extend(payload),
            _ => all.push((kind, payload.to_vec())),
        }
    }
    all
}

#[test]
fn streams_are_told_apart_and_in_order() {
    let mut ring = Ring::default();
    ring.push(Kind::Stdout, b"one");
    ring.push(Kind::Stdout, b" two\n");
    ring.push(Kind::Stderr, b"oops\n");
    ring.push(Kind::Stdout, b"three");
    let expected = [
        (Kind::Stdout, b"one two\n".to_vec()),
        (Kind::Stderr, b"oops\n".to_vec()),
        (Kind::Stdout, b"three".to_vec()),
    ];
    assert_eq!(shown(&ring), expected);
}

#[test]
fn an_empty_ring_shows_nothing_and_holds_nothing() {
    let mut ring = Ring::default();
    ring.push(Kind::Stdout, b"");
    assert!(ring.replay().is_empty());
    assert_eq!(ring.bytes.capacity(), 0);
}

#[test]
fn once_something_is_lost_it_begins_with_a_whole_line() {
    let mut ring = Ring::default();
    ring.push(Kind::Stdout, &vec![b'a'; CAPACITY - 1]);
    ring.push(Kind::Stdout, b"\nwhole line\n");
    assert_eq!(shown(&ring), [(Kind::Stdout, b"whole line\n".to_vec())]);
}

#[test]
fn one_endless_line_is_shown_as_it_is() {
    let mut ring = Ring::default();
    ring.push(Kind::Stdout, &vec![b'a'; CAPACITY * 3]);
    assert_eq!(shown(&ring), [(Kind::Stdout, vec![b'a'; CAPACITY])]);
    assert!(ring.replay().iter().all(|packet| packet.len() <= PAYLOAD_MAX + 1));
}

proptest! {
    #[test]
    fn it_is_the_end_of_what_was_written(
        writes in proptest::collection::vec((any::<bool>(), 0usize..40_000), 0..12),
    ) {
        let mut ring = Ring::default();
        let mut all: Vec<(Kind, u8)> = Vec::new();
        for (index, (error, length)) in writes.into_iter().enumerate() {
            let kind = if error { Kind::Stderr } else { Kind::Stdout };
            // No newline: what is kept is exactly the last bytes.
            let byte = b'a' + u8::try_from(index).unwrap();
            ring.push(kind, &vec![byte; length]);
            all.extend(std::iter::repeat_n((kind, byte), length));
        }
        let kept: Vec<(Kind, u8)> = shown(&ring)
            .into_iter()
            .flat_map(|(kind, bytes)| bytes.into_iter().map(move |byte| (kind, byte)))
            .collect();
        prop_assert!(kept == all[all.len().saturating_sub(CAPACITY)..]);
        prop_assert!(ring.bytes.len() <= CAPACITY);
    }
}
