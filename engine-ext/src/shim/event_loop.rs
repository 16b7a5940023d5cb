//! Waiting for whatever comes next, and giving each its turn.
//!
//! The set of descriptors is made anew from what there is: with the few that a container has this
//! costs less than keeping a second account of them right.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use linux::process::{ExitStatus, Signal};
use linux::{Context as _, Errno};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;

use super::console::Console;
use super::health::Checks;
use super::protocol::{Kind, Ready};
use super::reap::reap;
use super::requests::{STRANGERS_MAX, Stranger};
use super::supervisor::{Phase, Supervisor};

/// How long connections wait in the kernel when we have no descriptor left for them.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What woke us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Signals,
    Init,
    Listener,
    Notify,
    Stranger,
    Waiter(usize),
    Output(Kind),
    Input,
    Client(usize),
    Health,
}

/// The listening socket, unless it rests.
#[derive(Debug)]
pub(super) struct Listener {
    fd: Option<OwnedFd>,
    rests_until: Option<Instant>,
}

impl Listener {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd: Some(fd), rests_until: None }
    }

    pub(super) fn close(&mut self) {
        self.fd = None;
    }

    fn accept(&mut self, now: Instant) -> Vec<Stranger> {
        let mut strangers = Vec::new();
        let Some(fd) = &self.fd else { return strangers };
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(fd, flags) {
                Ok(stranger) => strangers.push(Stranger::new(stranger)),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return strangers,
                Err(_) => {
                    self.rests_until = Some(now + OUT_OF_DESCRIPTORS);
                    return strangers;
                }
            }
        }
    }
}

impl Supervisor {
    /// Leads the container to its last end, and answers everyone.
    pub(super) fn supervise(mut self) -> linux::Result<()> {
        loop {
            if let Phase::Down { code } = self.phase {
                let mut console = self.finish(code);
                return see_clients_off(&mut console);
            }
            let woken = self.wait()?;
            self.turn(&woken);
        }
    }

    fn wait(&self) -> linux::Result<Vec<(Token, PollFlags)>> {
        let (tokens, mut fds): (Vec<Token>, Vec<PollFd<'_>>) = self.interests().into_iter().unzip();
        sleep_until(self.deadline(), &mut fds)?;
        let woken = tokens.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(woken.filter(|(_, events)| !events.is_empty()).collect())
    }

    fn interests(&self) -> Vec<(Token, PollFd<'_>)> {
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut all = vec![(Token::Signals, readable(self.signals.as_fd()))];
        if let Phase::Running(init) = &self.phase {
            all.push((Token::Init, readable(init.pidfd.as_fd())));
        }
        if let Some(fd) = &self.listener.fd
            && self.listener.rests_until.is_none()
            && self.strangers.len() < STRANGERS_MAX
        {
            all.push((Token::Listener, readable(fd.as_fd())));
        }
        all.extend(self.notify.iter().map(|socket| (Token::Notify, readable(socket.as_fd()))));
        all.extend(self.strangers.iter().map(|it| (Token::Stranger, readable(it.as_fd()))));
        let waiters = self.waiters.iter().enumerate();
        all.extend(waiters.map(|(index, it)| (Token::Waiter(index), readable(it.as_fd()))));
        if let Some(streams) = self.console.streams_ref() {
            if self.console.may_read() {
                all.extend(streams.outputs().map(|(kind, fd)| (Token::Output(kind), readable(fd))));
            }
            let blocked = streams.blocked_input();
            all.extend(
                blocked.map(|fd| (Token::Input, PollFd::from_borrowed_fd(fd, PollFlags::OUT))),
            );
        }
        let check = self.checks.as_ref().and_then(Checks::output);
        all.extend(check.map(|fd| (Token::Health, readable(fd))));
        all.extend(client_interests(&self.console));
        all
    }

    fn deadline(&self) -> Option<Instant> {
        let restart = match &self.phase {
            Phase::Restarting { at, .. } => Some(*at),
            _ => None,
        };
        let stop = self.stopping.as_ref().and_then(|stopping| stopping.deadline());
        let health = self.checks.as_ref().and_then(Checks::deadline);
        let rest = self.listener.rests_until;
        let fixed = [restart, stop, health, rest, self.console.deadline(), self.settles_at];
        let strangers = self.strangers.iter().map(Stranger::until);
        fixed.into_iter().flatten().chain(strangers).min()
    }

    fn turn(&mut self, woken: &[(Token, PollFlags)]) {
        let now = Instant::now();
        let mut ended = None;
        let mut gone = Vec::new();
        for &(token, events) in woken {
            match token {
                Token::Signals => ended = self.take_signals().or(ended),
                Token::Output(kind) => self.console.read(kind, now),
                Token::Input => self.console.flush_input(),
                Token::Client(index) => self.tend_client(index, events),
                Token::Notify => self.hear_guest(),
                Token::Waiter(index) => gone.push(index),
                // What was accepted may have said something already; those known are heard too.
                Token::Listener => self.strangers.extend(self.listener.accept(now)),
                Token::Stranger | Token::Init | Token::Health => {}
            }
        }
        // A waiter has nothing more to say: if it is readable, it has gone.
        for index in gone.into_iter().rev() {
            self.waiters.swap_remove(index);
        }
        self.meet_strangers();
        self.console.tend_clients(now);
        self.tend_log(now);
        if self.listener.rests_until.is_some_and(|until| until <= now) {
            self.listener.rests_until = None;
        }
        self.go_on_stopping();

        let init_is_gone = woken.iter().any(|(token, _)| *token == Token::Init);
        if init_is_gone || ended.is_some() {
            let status = ended.or_else(|| self.reap());
            self.init_ended(status);
        }
        self.tend_health();
        if self.settles_at.is_some_and(|at| at <= now) {
            self.settle();
        }
        if let Phase::Restarting { at, .. } = self.phase
            && at <= Instant::now()
        {
            self.restart();
        }
    }

    fn init_pid(&self) -> Option<linux::process::Pid> {
        match &self.phase {
            Phase::Running(init) => Some(init.pid),
            _ => None,
        }
    }

    /// Reaps on SIGCHLD, stops on the signals that ask for it; SIGHUP is not for us.
    fn take_signals(&mut self) -> Option<linux::process::ExitStatus> {
        let received = self.signals.read().unwrap_or_default();
        let is = |wanted: &[Signal]| received.iter().any(|it| wanted.contains(&it.signal));
        if is(&[Signal::TERM, Signal::INT, Signal::QUIT]) {
            self.stop_by_signal();
        }
        is(&[Signal::CHLD]).then(|| self.reap()).flatten()
    }

    /// Reaps all who have ended, and answers how init did, if it is among them.
    fn reap(&mut self) -> Option<ExitStatus> {
        let init = self.init_pid();
        let mut end = None;
        for (pid, status) in reap() {
            if Some(pid) == init {
                end = Some(status);
            } else if let Some(checks) = self.checks.as_mut().filter(|it| it.pid() == Some(pid)) {
                checks.ended(status);
            }
        }
        end
    }

    fn tend_client(&mut self, index: usize, events: PollFlags) {
        if events.contains(PollFlags::OUT)
            && let Some(client) = self.console.clients().get_mut(index)
        {
            client.flush();
        }
        if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.hear_client(index);
        }
    }

    fn hear_guest(&mut self) {
        let is_ready = self.notify.as_ref().is_some_and(|socket| socket.receive());
        if is_ready && !self.record.state().ready {
            self.notes.check(self.record.change(|state| state.ready = true));
            self.ready.tell(&Ready::Ready { ready: true });
            self.ready.close();
        }
    }

    fn tend_log(&mut self, now: Instant) {
        let Some(log) = self.console.log() else { return };
        if log.deadline().is_some_and(|deadline| deadline <= now) {
            log.flush();
        }
        if let Some(trouble) = log.trouble() {
            self.notes.add(trouble);
        }
    }
}

fn client_interests(console: &Console) -> impl Iterator<Item = (Token, PollFd<'_>)> {
    let has_room = console.input_has_room();
    console.clients_ref().iter().enumerate().filter_map(move |(index, client)| {
        let interest = client.interest(has_room)?;
        Some((Token::Client(index), PollFd::from_borrowed_fd(client.as_fd(), interest)))
    })
}

/// The container is down and everyone else has gone; clients take what is left for them.
fn see_clients_off(console: &mut Console) -> linux::Result<()> {
    loop {
        console.tend_clients(Instant::now());
        if console.clients_ref().is_empty() {
            return Ok(());
        }
        let (tokens, mut fds): (Vec<Token>, Vec<PollFd<'_>>) = console
            .clients_ref()
            .iter()
            .enumerate()
            .map(|(index, client)| {
                let interest = PollFlags::OUT;
                (Token::Client(index), PollFd::from_borrowed_fd(client.as_fd(), interest))
            })
            .unzip();
        sleep_until(console.deadline(), &mut fds)?;
        let woken: Vec<Token> = tokens
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(token, _)| token)
            .collect();
        for token in woken {
            if let Token::Client(index) = token
                && let Some(client) = console.clients().get_mut(index)
            {
                client.flush();
            }
        }
    }
}

/// Waits until a descriptor has something or the time has come.
fn sleep_until(deadline: Option<Instant>, fds: &mut [PollFd<'_>]) -> linux::Result<()> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        // The kernel is short of memory for a moment.
        Err(Errno::AGAIN | Errno::NOMEM) => Ok(()),
        Err(errno) => Err(errno).during(|| "wait for the container"),
    }
}
