//! Whether a container that ended starts again, and when (pure).
//!
//! A guest's `reboot` is not an exit code: reboot(2) in a pid namespace kills its init with SIGHUP
//! (pid_namespaces(7)), so only that death counts. A process that *exits* with 129 did not reboot.

use std::time::Duration;

use container::config::RestartPolicy as Policy;
use linux::process::ExitStatus;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run of this length is a success: the next delay is the first one again.
const LONG_RUN: Duration = Duration::from_secs(10);
/// Reboots a minute that are taken for a person's; more are a loop.
const QUICK_REBOOTS: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// One end of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) status: ExitStatus,
    /// `stop`, `kill`, `rm -f`, or the end of the shim itself was asked for.
    pub(super) stopped: bool,
    pub(super) system_container: bool,
    pub(super) ran_for: Duration,
}

/// What has happened since a person last started the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Restarts that were not the guest's wish.
    pub(super) restarts: u32,
    /// Restarts that were.
    pub(super) reboots: u32,
    failures: u32,
    /// The delay of the last restart, doubled at the next.
    delay: Option<Duration>,
    reboots_this_minute: u32,
    minute: Duration,
}

/// What to do about an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Stay,
    Restart { after: Duration },
}

/// Why a system container ended, as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Reboot,
    Halt,
}

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;

impl Reason {
    /// What the guest meant, when it meant anything (pid_namespaces(7): reboot(2) with RESTART
    /// ends init by SIGHUP, with HALT or POWER_OFF by SIGINT).
    pub(super) fn of(status: ExitStatus) -> Option<Self> {
        match status {
            ExitStatus::Killed { signal: SIGHUP, .. } => Some(Self::Reboot),
            ExitStatus::Killed { signal: SIGINT, .. } => Some(Self::Halt),
            _ => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Halt => "halt",
        }
    }
}

/// The decision, and the counters that go with it.
pub(super) fn decide(policy: Policy, end: &End, counters: Counters) -> (Decision, Counters) {
    let mut counters = counters;
    if end.stopped {
        return (Decision::Stay, counters);
    }
    let reason = Reason::of(end.status);
    // An ordinary container has no reboot(2); under `on-reboot` its death by SIGHUP still counts.
    let rebooted =
        reason == Some(Reason::Reboot) && (end.system_container || policy == Policy::OnReboot);
    let halted = reason == Some(Reason::Halt) && end.system_container;

    let again = match policy {
        Policy::No => false,
        Policy::Always | Policy::UnlessStopped => true,
        Policy::OnReboot => rebooted,
        Policy::OnFailure(_) if rebooted => true,
        // The guest was shut down from inside: that is no failure.
        Policy::OnFailure(_) if halted => false,
        Policy::OnFailure(most) => {
            let failed = end.status.code() != 0;
            counters.failures += u32::from(failed);
            failed && (most == 0 || counters.failures <= most)
        }
    };
    if !again {
        return (Decision::Stay, counters);
    }
    let after = if rebooted {
        counters.reboots = counters.reboots.saturating_add(1);
        if counters.is_rebooting_in_a_loop(end.ran_for) {
            counters.next_delay(end.ran_for)
        } else {
            counters.delay = None;
            Duration::ZERO
        }
    } else {
        counters.restarts = counters.restarts.saturating_add(1);
        counters.next_delay(end.ran_for)
    };
    counters.minute = counters.minute.saturating_add(after);
    (Decision::Restart { after }, counters)
}

impl Counters {
    fn is_rebooting_in_a_loop(&mut self, ran_for: Duration) -> bool {
        self.minute = self.minute.saturating_add(ran_for);
        if self.minute > MINUTE {
            self.minute = Duration::ZERO;
            self.reboots_this_minute = 0;
        }
        self.reboots_this_minute += 1;
        self.reboots_this_minute > QUICK_REBOOTS
    }

    fn next_delay(&mut self, ran_for: Duration) -> Duration {
        let next = match self.delay {
            Some(last) if ran_for < LONG_RUN => last.saturating_mul(2).min(LONGEST_DELAY),
            _ => FIRST_DELAY,
        };
        self.delay = Some(next);
        next
    }
}

#[cfg(test)]
mod tests;
