//! A container's life as its supervisor leads it: start, end, start again, the last end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use container::layout::{bundle, running};
use container::state::{Health, HealthStatus};
use container::{Config, Container, Status, Store};
use linux::lock::Lock;
use linux::process::{ExitStatus, Signal};
use linux::signal::SignalFd;
use runtime::stop_signal::Init as InitProgram;

use super::console::Console;
use super::event_loop::Listener;
use super::guest::{Guest, Init};
use super::health::Checks;
use super::log_file::{LogFile, Rotation};
use super::protocol::Ready;
use super::ready::{NotifySocket, ReadyPipe};
use super::record::{Notes, Record};
use super::requests::{Stranger, Waiter};
use super::restart::{Counters, Decision, End, Reason, decide};
use super::stopping::{Patience, Step, Stopping};
use super::{guest, transport};
use crate::events::Events;
use crate::lifecycle::{runtime_of, take_away};
use crate::prepare::{Held, before_start, give_back};

/// A predecessor that has answered everyone may still be on its way out.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// A container that has run for so long is taken to run on.
const SETTLING: Duration = Duration::from_secs(1);
/// What a stop may take when the one who asks cannot say (SIGTERM to the shim).
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// init has ended as far as its pidfd says, and somebody else has its status.
const STATUS_UNKNOWN: ExitStatus = ExitStatus::Killed { signal: 9, core: false };

/// The supervisor of one container.
pub(super) struct Supervisor {
    pub(super) store: Store,
    pub(super) container: Container,
    pub(super) config: Config,
    pub(super) guest: Guest,
    pub(super) console: Console,
    pub(super) record: Record,
    pub(super) notes: Notes,
    pub(super) phase: Phase,
    pub(super) stopping: Option<Stopping>,
    /// Somebody wants it down: it does not start again.
    pub(super) stop_asked: bool,
    pub(super) strangers: Vec<Stranger>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) listener: Listener,
    pub(super) signals: SignalFd,
    pub(super) notify: Option<NotifySocket>,
    pub(super) ready: ReadyPipe,
    pub(super) checks: Option<Checks>,
    counters: Counters,
    /// Nothing is left of the last run.
    cleared: bool,
    /// When what only the start needed is given back; a container may be over before.
    pub(super) settles_at: Option<Instant>,
    held: Option<Held>,
    lock: Lock,
}

/// Where the container is.
pub(super) enum Phase {
    Running(Init),
    Restarting { at: Instant, code: i32 },
    Down { code: i32 },
}

/// What the supervisor of a container is started with.
pub(super) struct Start {
    pub(super) root: PathBuf,
    pub(super) state: PathBuf,
    pub(super) id: String,
    /// A client that is there from the first byte on.
    pub(super) first: Option<Stranger>,
}

impl Supervisor {
    /// Takes the container's lock and runs it. On failure nothing is left running.
    pub(super) fn start(start: Start) -> Result<Self> {
        let store = Store::new(start.root, start.state);
        let container = store.get(&start.id.parse().context("read the container's id")?)?;
        container.make_state_dir()?;
        let lock =
            Lock::with_deadline(container.state_dir.join(running::SHIM_LOCK), LOCK_PATIENCE)?;
        // Whoever removes a container does so under the lock: it may be gone by now.
        let config = container.config()?;

        let signals =
            SignalFd::new(&[Signal::CHLD, Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP])?;
        let listener = Listener::new(transport::listen(&container.state_dir)?);
        let notify = match config.system_container {
            true => Some(NotifySocket::bind(&container.state_dir.join(running::NOTIFY))?),
            false => None,
        };
        let console = Console::new(config.process.tty, open_log(&container, &config)?);
        let guest = Guest::new(runtime_of(&store, &config), &container);
        let mut supervisor = Self {
            guest,
            console,
            record: Record::begin(container.path(bundle::STATE), config.auto_remove),
            notes: Notes::new(&container.state_dir),
            phase: Phase::Down { code: 0 },
            stopping: None,
            stop_asked: false,
            strangers: start.first.into_iter().collect(),
            waiters: Vec::new(),
            listener,
            signals,
            notify,
            ready: ReadyPipe::closed(),
            checks: None,
            counters: Counters::default(),
            cleared: true,
            settles_at: Some(Instant::now() + SETTLING),
            held: None,
            lock,
            store,
            container,
            config,
        };
        supervisor.meet_strangers();
        supervisor.first_start()?;
        Ok(supervisor)
    }

    fn first_start(&mut self) -> Result<()> {
        // What a killed predecessor left is in the way.
        self.notes.check(self.guest.delete(None));
        self.record.starting()?;
        let started = self.start_guest();
        if let Err(error) = &started {
            let text = ui::report::chain(error);
            self.notes.check(self.record.failed(text, guest::exit_code(error)));
            self.let_go();
            self.close();
        }
        started
    }

    fn start_guest(&mut self) -> Result<()> {
        let spec =
            before_start(self.store.layout(), &self.container, &self.config, &mut self.held)?;
        let lease = self.held.as_ref().and_then(|held| held.lease.as_ref());
        let (init, streams) = self.guest.start(&self.config, spec, self.console.size(), lease)?;
        let network = lease.cloned();
        self.record.remember(|state| state.network = network);
        self.console.set_streams(streams);
        self.checks = self.config.health.clone().map(|check| Checks::new(check, Instant::now()));
        let health = self.checks.is_some().then(Health::starting);
        self.record.remember(|state| state.health = health);
        if let Err(error) = self.record.running(init.pid, init.start_time) {
            // Nobody could find a container that is not recorded.
            self.notes.check(self.guest.delete(None));
            return Err(error.into());
        }
        self.phase = Phase::Running(init);
        self.tell("start", &[]);
        Ok(())
    }

    /// Who hears that the guest is ready, or that it ended before it was.
    pub(super) fn report_to(&mut self, mut ready: ReadyPipe) {
        if self.notify.is_none() {
            // It will never say so.
            ready.close();
        }
        self.ready = ready;
    }

    /// The pid to report to whoever started us.
    pub(super) fn pid(&self) -> i32 {
        self.record.state().pid.unwrap_or(0)
    }

    /// Init has ended: takes its last words, clears away, decides.
    pub(super) fn init_ended(&mut self, status: Option<ExitStatus>) {
        let Phase::Running(init) = &self.phase else { return };
        let status = status.unwrap_or(STATUS_UNKNOWN);
        let ran_for = init.since.elapsed();
        let oom_killed = init.was_oom_killed();
        self.checks = None;
        self.console.drain(Instant::now());
        let reason = Reason::of(status).filter(|_| self.config.system_container);
        self.clear_away(reason);
        self.record.remember(|state| {
            state.oom_killed = oom_killed;
            state.network = None;
        });
        if oom_killed {
            self.tell("oom", &[]);
        }
        self.decide(status, reason, ran_for);
    }

    fn decide(&mut self, status: ExitStatus, reason: Option<Reason>, ran_for: Duration) {
        let end = End {
            status,
            stopped: self.stop_asked,
            system_container: self.config.system_container,
            ran_for,
        };
        self.reread();
        let (decision, counters) = decide(self.config.restart, &end, self.counters);
        self.counters = counters;
        let code = status.code();
        let why = reason.map_or("", Reason::as_str);
        self.tell("exit", &[("exitCode", &code.to_string()), ("reason", why)]);
        let next = match decision {
            Decision::Stay => Status::Stopped,
            Decision::Restart { .. } => Status::Restarting,
        };
        self.notes.check(self.record.ended(next, status, reason, &self.counters));
        self.stopping = None;
        self.phase = match decision {
            Decision::Stay => Phase::Down { code },
            Decision::Restart { after } => Phase::Restarting { at: Instant::now() + after, code },
        };
    }

    /// Notes for `isula events` what became of the container.
    fn tell(&self, action: &str, further: &[(&str, &str)]) {
        Events::of(self.store.layout()).add(&self.config, action, further);
    }

    /// `update` and `rename` may have changed it since.
    fn reread(&mut self) {
        if let Ok(config) = self.container.config() {
            self.config.name = config.name;
            self.config.restart = config.restart;
            self.config.auto_remove = config.auto_remove;
            self.record.set_auto_remove(config.auto_remove);
            self.config.resources = config.resources;
        }
    }

    /// Gives back the memory of the start. Most of this program is about starting a container, and
    /// that is done: a few faults at the next event against memory for as long as it runs.
    pub(super) fn settle(&mut self) {
        self.settles_at = None;
        self.notes.check(linux::memory::forget_startup());
    }

    /// The pause before a restart is over.
    pub(super) fn restart(&mut self) {
        self.reread();
        match self.start_guest() {
            Ok(()) => {
                let now = Instant::now();
                self.settles_at = Some(now + SETTLING);
                self.console.announce_restart(now);
            }
            Err(error) => {
                self.notes.add(format_args!("restart: {error:#}"));
                let code = guest::exit_code(&error);
                let text = format!("restart: {}", ui::report::chain(&error));
                self.record.remember(|state| state.error = text);
                self.decide(ExitStatus::Exited(i32::from(code)), None, Duration::ZERO);
            }
        }
    }

    /// Does what a health check has to do by now, and keeps what came of it.
    pub(super) fn tend_health(&mut self) {
        let (Phase::Running(init), Some(checks)) = (&self.phase, &mut self.checks) else { return };
        let paused = self.record.state().status == Status::Paused;
        let Some(result) = checks.tend(&self.guest, &self.config, paused) else { return };
        let mut became = None;
        let kept = self.record.change(|state| {
            became = checks.count(state.health.get_or_insert_with(Health::starting), result);
        });
        if became == Some(HealthStatus::Unhealthy) && checks.kills() {
            // Nobody asked for a stop: the restart policy decides what comes next.
            self.notes.check(init.pidfd.signal(Signal::KILL));
        }
        self.notes.check(kept);
        if let Some(status) = became {
            self.tell("health_status", &[("healthStatus", status.word())]);
        }
    }

    /// Somebody wants it down.
    pub(super) fn stop(&mut self, signal: Option<Signal>, patience: Patience, by_user: bool) {
        let now = Instant::now();
        self.stop_asked = true;
        self.record.remember(|state| state.stopped_by_user |= by_user);
        match &self.phase {
            Phase::Running(init) => {
                let asked = signal.or_else(|| self.config.stop_signal.as_deref()?.parse().ok());
                match &mut self.stopping {
                    Some(stopping) => {
                        stopping.hurry(patience, now);
                        if let Some(signal) = signal {
                            stopping.send_also(signal, now);
                        }
                    }
                    None => {
                        let fitting = || InitProgram::of(init.pid).stop_signal();
                        let signal = asked.unwrap_or_else(fitting);
                        self.stopping = Some(Stopping::new(signal, patience, now));
                    }
                }
                self.thaw();
                self.go_on_stopping();
            }
            Phase::Restarting { .. } => self.cancel_restart(),
            Phase::Down { .. } => {}
        }
    }

    pub(super) fn stop_by_signal(&mut self) {
        self.stop(None, Patience::For(STOP_PATIENCE), false);
    }

    pub(super) fn cancel_restart(&mut self) {
        if let Phase::Restarting { code, .. } = self.phase {
            self.stop_asked = true;
            let stopped = self.record.change(|state| {
                state.status = Status::Stopped;
                state.stopped_by_user = true;
            });
            self.notes.check(stopped);
            self.phase = Phase::Down { code };
        }
    }

    /// A frozen process takes no signal on cgroup v1, and cannot shut down on either.
    pub(super) fn thaw(&mut self) {
        if self.record.state().status == Status::Paused
            && let Phase::Running(init) = &self.phase
        {
            self.notes.check(init.thaw());
            self.notes.check(self.record.change(|state| state.status = Status::Running));
        }
    }

    /// Does what a stop under way has to do by now.
    pub(super) fn go_on_stopping(&mut self) {
        let now = Instant::now();
        while let (Phase::Running(init), Some(stopping)) = (&self.phase, &mut self.stopping) {
            let listens = |signal| InitProgram::of(init.pid).handles(signal);
            match stopping.step(now, listens) {
                None => return,
                Some(Step::Signal(signal)) => self.notes.check(init.pidfd.signal(signal)),
                Some(Step::KillAll) => {
                    // Init first: its end is the end of its pid namespace.
                    let killed = init.pidfd.signal(Signal::KILL);
                    self.notes.check(self.guest.kill_all());
                    self.notes.check(killed);
                }
                Some(Step::Complain) => self.complain(),
            }
        }
    }

    /// It is down for good: says so everywhere and lets go of everything.
    pub(super) fn finish(mut self, code: i32) -> Console {
        self.close();
        if !self.cleared {
            self.clear_away(None);
        }
        self.let_go();
        if self.config.auto_remove
            && self.cleared
            && let Err(error) = take_away(&self.store, &self.container, &self.config, true)
        {
            self.notes.add(format_args!("remove: {error:#}"));
        }
        // Whoever hears the answer may start or remove the container at once.
        drop(self.held);
        drop(self.lock);
        for waiter in self.waiters {
            waiter.answer_end(code);
        }
        self.ready.tell(&Ready::Exited { exited: code });
        self.ready.close();
        self.console.announce_end(code, Instant::now());
        self.console
    }

    /// Gives back what the host had ready for it.
    fn let_go(&mut self) {
        self.notes.check(give_back(self.store.layout(), &self.container, &self.config));
    }

    /// Has the runtime clear away what the run left. Until that has gone well the container is not
    /// removed: it is all that leads to what is left.
    fn clear_away(&mut self, reason: Option<Reason>) {
        let deleted = self.guest.delete(reason);
        self.cleared = deleted.is_ok();
        self.notes.check(deleted);
    }

    /// Nobody can reach us any more.
    fn close(&mut self) {
        self.listener.close();
        let socket = self.container.state_dir.join(running::SHIM_SOCKET);
        self.notes.check(transport::remove(&socket));
    }
}

fn open_log(container: &Container, config: &Config) -> Result<Option<LogFile>> {
    let log = &config.log;
    if log.disabled {
        return Ok(None);
    }
    let path = log.path.clone().unwrap_or_else(|| container.path(bundle::CONSOLE_LOG));
    let max_size = Some(log.max_size).filter(|&size| size > 0);
    Ok(Some(LogFile::open(&path, Rotation { max_size, max_file: log.max_file })?))
}
