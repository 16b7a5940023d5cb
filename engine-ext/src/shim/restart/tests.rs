use proptest::prelude::*;

use super::*;

const SHORT: Duration = Duration::from_secs(1);
const EXIT_0: ExitStatus = ExitStatus::Exited(0);
const EXIT_1: ExitStatus = ExitStatus::Exited(1);
const REBOOT: ExitStatus = ExitStatus::Killed { signal: 1, core: false };
const HALT: ExitStatus = ExitStatus::Killed { signal: 2, core: false };
const KILLED: ExitStatus = ExitStatus::Killed { signal: 9, core: false };

fn system(status: ExitStatus) -> End {
    End { status, stopped: false, system_container: true, ran_for: SHORT }
}

fn ordinary(status: ExitStatus) -> End {
    End { system_container: false, ..system(status) }
}

fn restarts(policy: Policy, end: End) -> bool {
    decide(policy, &end, Counters::default()).0 != Decision::Stay
}

#[test]
fn the_table_of_policies() {
    use Policy::{Always, No, OnFailure, OnReboot, UnlessStopped};
    //                 exit 0, exit 1, SIGKILL, reboot, halt
    for (policy, expected) in [
        (No, [false, false, false, false, false]),
        (Always, [true, true, true, true, true]),
        (UnlessStopped, [true, true, true, true, true]),
        (OnFailure(0), [false, true, true, true, false]),
        (OnFailure(3), [false, true, true, true, false]),
        (OnReboot, [false, false, false, true, false]),
    ] {
        let seen = [EXIT_0, EXIT_1, KILLED, REBOOT, HALT].map(|end| restarts(policy, system(end)));
        assert_eq!(seen, expected, "{policy:?}");
    }
}

#[test]
fn an_exit_with_129_is_not_a_reboot() {
    let exited = ExitStatus::Exited(129);
    assert_eq!(Reason::of(exited), None);
    assert!(!restarts(Policy::OnReboot, ordinary(exited)));
    assert!(!restarts(Policy::OnReboot, system(exited)));
    assert!(restarts(Policy::OnReboot, ordinary(REBOOT)));
}

#[test]
fn a_stop_that_was_asked_for_is_final_under_every_policy() {
    for policy in [Policy::Always, Policy::UnlessStopped, Policy::OnFailure(0), Policy::OnReboot] {
        assert!(!restarts(policy, End { stopped: true, ..system(REBOOT) }), "{policy:?}");
    }
}

#[test]
fn failures_are_limited_and_reboots_are_not_failures() {
    let policy = Policy::OnFailure(2);
    let mut counters = Counters::default();
    let ends = [EXIT_1, REBOOT, EXIT_1, REBOOT, EXIT_1];
    let seen = ends.map(|status| {
        let (decision, next) = decide(policy, &system(status), counters);
        counters = next;
        decision != Decision::Stay
    });
    assert_eq!(seen, [true, true, true, true, false]);
    assert_eq!((counters.restarts, counters.reboots), (2, 2));
}

fn delays(ends: &[End]) -> Vec<u128> {
    let mut counters = Counters::default();
    ends.iter()
        .map(|end| {
            let (decision, next) = decide(Policy::Always, end, counters);
            counters = next;
            match decision {
                Decision::Restart { after } => after.as_millis(),
                Decision::Stay => panic!("always restarts"),
            }
        })
        .collect()
}

#[test]
fn delays_double_up_to_a_minute() {
    let seen = delays(&[ordinary(EXIT_1); 12]);
    let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000];
    assert_eq!(seen, expected);
}

#[test]
fn a_long_run_resets_the_delay() {
    let long = End { ran_for: LONG_RUN, ..ordinary(EXIT_1) };
    let short = ordinary(EXIT_1);
    assert_eq!(delays(&[short, short, short, long, short]), [100, 200, 400, 100, 200]);
}

#[test]
fn a_reboot_waits_for_nothing_until_it_is_a_loop() {
    let mut ends = vec![system(REBOOT); 12];
    let seen = delays(&ends);
    assert_eq!(seen[..10], [0; 10]);
    assert_eq!(seen[10..], [100, 200]);
    ends[11].ran_for = MINUTE;
    assert_eq!(delays(&ends)[11], 0, "a minute later it is a person again");
}

proptest! {
    #[test]
    fn no_history_overflows_or_waits_longer_than_a_minute(
        ends in proptest::collection::vec((0u8..5, 0u64..100), 0..200),
        most in 0u32..5,
    ) {
        for policy in [Policy::Always, Policy::OnFailure(most), Policy::OnReboot] {
            let mut counters = Counters::default();
            for &(which, seconds) in &ends {
                let status = [EXIT_0, EXIT_1, KILLED, REBOOT, HALT][usize::from(which)];
                let end = End { ran_for: Duration::from_secs(seconds), ..system(status) };
                let (decision, next) = decide(policy, &end, counters);
                if let Decision::Restart { after } = decision {
                    prop_assert!(after <= LONGEST_DELAY);
                    let more = (next.restarts + next.reboots) - (counters.restarts + counters.reboots);
                    prop_assert_eq!(more, 1);
                }
                counters = next;
            }
        }
    }
}
