//! A stop under way: the polite signal, the end of patience, the kill (pure but for the clock it
//! is given).

use std::time::{Duration, Instant};

use linux::process::Signal;

/// How often an init that does not listen yet is looked at again.
const LISTENS_AGAIN: Duration = Duration::from_millis(50);
/// After a kill this long, somebody should hear that it does not work.
const STUCK: Duration = Duration::from_secs(90);

/// How long an init may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    For(Duration),
    Endless,
}

impl Patience {
    /// As the wire says it: 0 is none, negative is endless.
    pub(super) fn from_ms(timeout_ms: i64, force: bool) -> Self {
        match u64::try_from(timeout_ms) {
            _ if force => Self::None,
            Ok(0) => Self::None,
            Ok(ms) => Self::For(Duration::from_millis(ms)),
            Err(_) => Self::Endless,
        }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Signal(Signal),
    KillAll,
    /// It was killed long ago and is still there.
    Complain,
}

/// A stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopping {
    signal: Signal,
    /// When to see again whether init listens to the signal; `None` once it was sent.
    send_at: Option<Instant>,
    kill_at: Option<Instant>,
    complain_at: Option<Instant>,
    killed: bool,
}

impl Stopping {
    pub(super) fn new(signal: Signal, patience: Patience, now: Instant) -> Self {
        let mut stopping =
            Self { signal, send_at: Some(now), kill_at: None, complain_at: None, killed: false };
        stopping.hurry(patience, now);
        stopping
    }

    /// A further request: the shortest patience counts.
    pub(super) fn hurry(&mut self, patience: Patience, now: Instant) {
        let kill_at = match patience {
            Patience::None => now,
            // A moment too far away to be counted never comes.
            Patience::For(time) => match now.checked_add(time) {
                Some(at) => at,
                None => return,
            },
            Patience::Endless => return,
        };
        if !self.killed {
            self.kill_at = Some(self.kill_at.map_or(kill_at, |at| at.min(kill_at)));
        }
    }

    /// A further request with a signal of its own.
    pub(super) fn send_also(&mut self, signal: Signal, now: Instant) {
        if self.signal != signal {
            self.signal = signal;
            self.send_at = Some(now);
        }
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.send_at, self.kill_at, self.complain_at].into_iter().flatten().min()
    }

    /// What to do now; call until it is `None`. `listens`: whether init would get the signal. The
    /// kernel drops one that init neither catches nor blocks, as one that has just been started
    /// does not yet.
    pub(super) fn step(
        &mut self,
        now: Instant,
        listens: impl FnOnce(Signal) -> bool,
    ) -> Option<Step> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.kill_at) {
            self.kill_at = None;
            self.send_at = None;
            self.killed = true;
            self.complain_at = Some(now + STUCK);
            return Some(Step::KillAll);
        }
        if is_due(self.complain_at) {
            self.complain_at = None;
            return Some(Step::Complain);
        }
        if is_due(self.send_at) {
            if listens(self.signal) {
                self.send_at = None;
                return Some(Step::Signal(self.signal));
            }
            self.send_at = Some(now + LISTENS_AGAIN);
        }
        None
    }
}

#[cfg(test)]
mod tests;
