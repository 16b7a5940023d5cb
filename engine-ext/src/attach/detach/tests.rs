use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(reads: &[&[u8]], pass: &[u8], detach: bool) {
    let mut keys = DetachKeys::default();
    let mut seen = Vec::new();
    for read in reads {
        let typed = keys.feed(read);
        seen.extend(typed.pass);
        if typed.detach {
            assert!(detach, "detached unasked");
            assert_eq!(seen, pass);
            return;
        }
    }
    assert!(!detach, "did not detach");
    seen.extend(keys.finish());
    assert_eq!(seen, pass);
}

#[test]
fn a_sequence_detaches_and_is_not_passed() {
    check(&[b"ls\n\x10\x11"], b"ls\n", true);
    check(&[b"\x01q"], b"", true);
}

#[test]
fn a_sequence_may_come_in_pieces() {
    check(&[b"a\x10", b"\x11b"], b"a", true);
}

#[test]
fn what_follows_a_sequence_is_dropped() {
    check(&[b"\x10\x11rm -rf /\n"], b"", true);
}

#[test]
fn a_half_sequence_is_passed_when_something_else_follows() {
    check(&[b"\x10x"], b"\x10x", false);
    check(&[b"\x01", b"b"], b"\x01b", false);
}

#[test]
fn a_repeated_first_key_still_counts() {
    check(&[b"\x10\x10\x11"], b"\x10", true);
    check(&[b"\x10\x01q"], b"\x10", true);
}

#[test]
fn what_is_held_at_the_end_is_not_lost() {
    check(&[b"x\x10"], b"x\x10", false);
}

#[test]
fn an_overlapping_sequence_is_found() {
    let mut keys = DetachKeys::new(vec![b"aab".to_vec()]);
    assert_eq!(keys.feed(b"aaab"), Typed { pass: b"a".to_vec(), detach: true });
}

/// Where the first sequence ends in `input`, found the slow way.
fn reference(input: &[u8]) -> (Vec<u8>, bool) {
    for end in 2..=input.len() {
        if matches!(&input[end - 2..end], b"\x10\x11" | b"\x01q") {
            return (input[..end - 2].to_vec(), true);
        }
    }
    (input.to_vec(), false)
}

proptest! {
    #[test]
    fn however_it_is_cut_the_result_is_the_same(
        input in proptest::collection::vec(
            prop_oneof![Just(0x10u8), Just(0x11), Just(0x01), Just(b'q'), any::<u8>()], 0..24),
        cut in 1usize..5,
    ) {
        let mut keys = DetachKeys::default();
        let mut seen = Vec::new();
        let mut detached = false;
        for read in input.chunks(cut) {
            let typed = keys.feed(read);
            seen.extend(typed.pass);
            detached = typed.detach;
            if detached { break; }
        }
        if !detached { seen.extend(keys.finish()); }
        prop_assert_eq!((seen, detached), reference(&input));
    }
}
