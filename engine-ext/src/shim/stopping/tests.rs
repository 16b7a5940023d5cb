use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Steps as they come when init listens from `listens_after` on, with their times in ms.
fn run(mut stopping: Stopping, start: Instant, listens_after: Duration) -> Vec<(u128, Step)> {
    let mut steps = Vec::new();
    let mut now = start;
    for _ in 0..10_000 {
        while let Some(step) = stopping.step(now, |_| now - start >= listens_after) {
            steps.push(((now - start).as_millis(), step));
        }
        match stopping.deadline() {
            Some(next) => now = next,
            None => break,
        }
    }
    steps
}

#[test]
fn signal_then_kill_then_complaint() {
    let now = Instant::now();
    let stopping = Stopping::new(Signal::TERM, Patience::For(10 * SECOND), now);
    let expected =
        [(0, Step::Signal(Signal::TERM)), (10_000, Step::KillAll), (100_000, Step::Complain)];
    assert_eq!(run(stopping, now, Duration::ZERO), expected);
}

#[test]
fn the_signal_waits_until_init_listens() {
    let now = Instant::now();
    let stopping = Stopping::new(Signal::TERM, Patience::For(10 * SECOND), now);
    let steps = run(stopping, now, Duration::from_millis(120));
    assert_eq!(steps[0], (150, Step::Signal(Signal::TERM)));
    assert_eq!(steps[1], (10_000, Step::KillAll));
}

#[test]
fn an_init_that_never_listens_is_killed_in_time() {
    let now = Instant::now();
    let stopping = Stopping::new(Signal::TERM, Patience::For(SECOND), now);
    assert_eq!(run(stopping, now, 1000 * SECOND)[0], (1000, Step::KillAll));
}

#[test]
fn no_patience_sends_no_signal() {
    let now = Instant::now();
    for patience in [Patience::from_ms(0, false), Patience::from_ms(10_000, true)] {
        let stopping = Stopping::new(Signal::TERM, patience, now);
        assert_eq!(run(stopping, now, Duration::ZERO)[0], (0, Step::KillAll));
    }
}

#[test]
fn endless_patience_kills_never_until_hurried() {
    let now = Instant::now();
    let mut stopping = Stopping::new(Signal::TERM, Patience::from_ms(-1, false), now);
    assert_eq!(run(stopping, now, Duration::ZERO), [(0, Step::Signal(Signal::TERM))]);
    stopping.hurry(Patience::For(SECOND), now);
    assert_eq!(run(stopping, now, Duration::ZERO)[1], (1000, Step::KillAll));
}

#[test]
fn a_second_request_never_lengthens_the_first() {
    let now = Instant::now();
    let mut stopping = Stopping::new(Signal::TERM, Patience::For(SECOND), now);
    stopping.hurry(Patience::For(5 * SECOND), now);
    stopping.hurry(Patience::Endless, now);
    stopping.hurry(Patience::from_ms(i64::MAX, false), now);
    assert_eq!(run(stopping, now, Duration::ZERO)[1], (1000, Step::KillAll));
}

#[test]
fn a_second_signal_is_sent_too() {
    let now = Instant::now();
    let mut stopping = Stopping::new(Signal::TERM, Patience::Endless, now);
    assert_eq!(stopping.step(now, |_| true), Some(Step::Signal(Signal::TERM)));
    stopping.send_also(Signal::TERM, now);
    assert_eq!(stopping.step(now, |_| true), None);
    stopping.send_also(Signal::PWR, now);
    assert_eq!(stopping.step(now, |_| true), Some(Step::Signal(Signal::PWR)));
}
