//! Health checks: a program is run inside now and then, and what comes of it is counted.
//!
//! Nothing here waits: a check is a child like any other, whose end and output the event loop sees.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use container::Config;
use container::config::HealthCheck;
use container::state::{Health, HealthResult, HealthStatus};
use linux::process::{ExitStatus, Pid, Signal};
use runtime::{Exec, ExecRequest, Stdio};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::guest::Guest;
use super::record::now;
use crate::lifecycle::exec;

/// Results that are kept.
const LOG_MAX: usize = 5;
/// Bytes of a check's output that are kept.
const OUTPUT_MAX: usize = 4096;
/// What `ExitCode` says of a check that did not end by itself.
const NO_CODE: i32 = -1;

/// The checks of one run of the container.
#[derive(Debug)]
pub(super) struct Checks {
    check: HealthCheck,
    turn: Turn,
}

#[derive(Debug)]
enum Turn {
    Waits { until: Instant },
    Runs(Box<Probe>),
}

/// A check under way.
#[derive(Debug)]
struct Probe {
    process: Exec,
    /// Closed once everybody who could write to it has.
    output: Option<OwnedFd>,
    text: Vec<u8>,
    start: String,
    until: Instant,
    timed_out: bool,
    status: Option<ExitStatus>,
}

impl Checks {
    pub(super) fn new(check: HealthCheck, now: Instant) -> Self {
        let until = now + Duration::from_millis(check.start_period_ms);
        Self { check, turn: Turn::Waits { until } }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.turn {
            Turn::Waits { until } => Some(*until),
            // Killed, it ends; that is seen.
            Turn::Runs(probe) if probe.timed_out => None,
            Turn::Runs(probe) => Some(probe.until),
        }
    }

    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        match &self.turn {
            Turn::Runs(probe) => probe.output.as_ref().map(AsFd::as_fd),
            Turn::Waits { .. } => None,
        }
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        match &self.turn {
            Turn::Runs(probe) => Some(probe.process.pid),
            Turn::Waits { .. } => None,
        }
    }

    /// The check was reaped.
    pub(super) fn ended(&mut self, status: ExitStatus) {
        if let Turn::Runs(probe) = &mut self.turn {
            probe.status = Some(status);
        }
    }

    /// Does what is due; a result, when there is one.
    pub(super) fn tend(
        &mut self,
        guest: &Guest,
        config: &Config,
        paused: bool,
    ) -> Option<HealthResult> {
        let instant = Instant::now();
        // What enters a frozen cgroup freezes before it can say that it is there.
        let start = || match paused {
            true => Err(anyhow!("the container is paused")),
            false => Probe::start(guest, config, &self.check, instant),
        };
        let result = match &mut self.turn {
            Turn::Waits { until } if *until > instant => return None,
            Turn::Waits { .. } => match start() {
                Ok(probe) => {
                    self.turn = Turn::Runs(Box::new(probe));
                    return None;
                }
                Err(error) => {
                    let time = now();
                    let output = ui::report::chain(&error);
                    HealthResult { start: time.clone(), end: time, exit_code: NO_CODE, output }
                }
            },
            Turn::Runs(probe) => probe.tend(&self.check, instant)?,
        };
        let until = instant + Duration::from_millis(self.check.interval_ms);
        self.turn = Turn::Waits { until };
        Some(result)
    }

    /// Counts a result, and answers with what it made of the container, if that is news.
    pub(super) fn count(&self, health: &mut Health, result: HealthResult) -> Option<HealthStatus> {
        let before = health.status;
        if result.exit_code == 0 {
            health.failing_streak = 0;
            health.status = HealthStatus::Healthy;
        } else {
            health.failing_streak = health.failing_streak.saturating_add(1);
            if health.failing_streak >= self.check.retries {
                health.status = HealthStatus::Unhealthy;
            }
        }
        health.log.push(result);
        let surplus = health.log.len().saturating_sub(LOG_MAX);
        health.log.drain(..surplus);
        Some(health.status).filter(|&status| status != before)
    }

    pub(super) fn kills(&self) -> bool {
        self.check.exit_on_unhealthy
    }
}

impl Probe {
    fn start(
        guest: &Guest,
        config: &Config,
        check: &HealthCheck,
        instant: Instant,
    ) -> Result<Self> {
        let request = exec::Exec {
            args: ["/bin/sh", "-c", &check.command].map(str::to_owned).into(),
            ..exec::Exec::default()
        };
        let process = exec::process(guest.container(), config, &request)?;
        let (output, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        // Ours alone: a program may be surprised by a pipe that does not wait.
        rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let (stdin, stdout, stderr) = (null.as_fd(), theirs.as_fd(), theirs.as_fd());
        let stdio = Stdio::Use { stdin, stdout, stderr };
        let process = guest.exec(&ExecRequest { stdio, ..ExecRequest::new(&process) })?;
        Ok(Self {
            process,
            output: Some(output),
            text: Vec::new(),
            start: now(),
            until: instant + Duration::from_millis(check.timeout_ms),
            timed_out: false,
            status: None,
        })
    }

    fn tend(&mut self, check: &HealthCheck, instant: Instant) -> Option<HealthResult> {
        self.read();
        if self.status.is_none() && instant >= self.until && !self.timed_out {
            self.timed_out = true;
            // One that has ended meanwhile is about to be reaped.
            let _ = self.process.pidfd.signal(Signal::KILL);
        }
        let status = self.status?;
        self.read();
        let output = String::from_utf8_lossy(&self.text).into_owned();
        let start = std::mem::take(&mut self.start);
        let (exit_code, output) = match self.timed_out {
            false => (status.code(), output),
            true => {
                let limit = Duration::from_millis(check.timeout_ms).as_secs_f64();
                (NO_CODE, format!("Health check exceeded timeout ({limit}s)"))
            }
        };
        Some(HealthResult { start, end: now(), exit_code, output })
    }

    /// Takes what has been said; of too much, the beginning is kept.
    fn read(&mut self) {
        let mut chunk = [0; OUTPUT_MAX];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut chunk) {
                Ok(0) => self.output = None,
                Ok(length) => {
                    let room = OUTPUT_MAX.saturating_sub(self.text.len());
                    self.text.extend(chunk.iter().take(length.min(room)));
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.output = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(exit_code: i32) -> HealthResult {
        HealthResult { start: String::new(), end: String::new(), exit_code, output: String::new() }
    }

    #[test]
    fn failures_in_a_row_are_unhealthy_and_one_success_is_not() {
        let check = HealthCheck {
            command: "true".to_owned(),
            interval_ms: 1000,
            timeout_ms: 1000,
            start_period_ms: 0,
            retries: 2,
            exit_on_unhealthy: false,
        };
        let checks = Checks::new(check, Instant::now());
        let mut health = Health::starting();
        let mut seen = vec![];
        for code in [1, 0, 1, 1, 1, 0, 0] {
            let became = checks.count(&mut health, result(code));
            seen.push((health.status, health.failing_streak, became));
        }
        use HealthStatus::{Healthy, Starting, Unhealthy};
        let expected = [
            (Starting, 1, None),
            (Healthy, 0, Some(Healthy)),
            (Healthy, 1, None),
            (Unhealthy, 2, Some(Unhealthy)),
            (Unhealthy, 3, None),
            (Healthy, 0, Some(Healthy)),
            (Healthy, 0, None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(health.log.len(), LOG_MAX);
    }
}
