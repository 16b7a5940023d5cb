//! What is asked on `shim.sock`, and the answers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use container::Status;
use linux::Errno;
use linux::process::Signal;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::attach::Client;
use super::guest::Init;
use super::protocol::{
    Attach, Kill, Kind, PACKET_MAX, Refusal, Reply, Request, SignalNumber, Size, Stop, parse,
};
use super::stopping::Patience;
use super::supervisor::{Phase, Supervisor};

/// Connections that have not said yet what they want.
pub(super) const STRANGERS_MAX: usize = 64;
/// Connections that wait for the end.
const WAITERS_MAX: usize = 256;
/// A connection that says nothing is closed.
const SILENCE: Duration = Duration::from_secs(10);
/// Packets taken from one client before the others get their turn.
const TURNS: usize = 8;

/// A connection whose first packet is still to come.
#[derive(Debug)]
pub(super) struct Stranger {
    fd: OwnedFd,
    until: Instant,
}

/// A connection that is answered when the container is down.
#[derive(Debug)]
pub(super) struct Waiter {
    fd: OwnedFd,
    /// It asked for the end, so it also hears when that does not come.
    stops: bool,
}

enum Heard {
    Nothing,
    Gone,
    Request(Result<Request>),
}

impl Stranger {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, until: Instant::now() + SILENCE }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    fn hear(&self) -> Heard {
        let mut text = vec![0; PACKET_MAX];
        match recv(&self.fd, &mut text[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Ok((_, 0)) => Heard::Gone,
            Ok((_, length)) => {
                let request = text
                    .get(..length)
                    .with_context(|| format!("request longer than {PACKET_MAX} bytes"))
                    .and_then(|text| serde_json::from_slice(text).context("read the request"));
                Heard::Request(request)
            }
            Err(Errno::AGAIN | Errno::INTR) => Heard::Nothing,
            Err(_) => Heard::Gone,
        }
    }
}

impl AsFd for Stranger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Waiter {
    pub(super) fn answer_end(&self, code: i32) {
        answer(&self.fd, &Reply::Exit { code });
    }
}

impl AsFd for Waiter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends the one answer of a connection. Whoever does not take it has gone.
fn answer(fd: &OwnedFd, reply: &Reply) {
    let text = serde_json::to_vec(reply).expect("plain structs serialize into a Vec");
    let _ = send(fd, &text, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}

fn error(error: &anyhow::Error) -> Reply {
    Reply::Error { message: ui::report::chain(error) }
}

impl Supervisor {
    /// Hears those who have something to say.
    pub(super) fn meet_strangers(&mut self) {
        let now = Instant::now();
        let mut silent = Vec::new();
        for stranger in std::mem::take(&mut self.strangers) {
            match stranger.hear() {
                Heard::Nothing if stranger.until > now => silent.push(stranger),
                Heard::Nothing | Heard::Gone => {}
                Heard::Request(Ok(request)) => self.serve(stranger.fd, request),
                Heard::Request(Err(refusal)) => answer(&stranger.fd, &error(&refusal)),
            }
        }
        self.strangers = silent;
    }

    fn serve(&mut self, fd: OwnedFd, request: Request) {
        match request {
            Request::Attach(attach) => self.serve_attach(fd, attach),
            Request::Stop(stop) => self.serve_stop(fd, &stop),
            Request::Wait {} => self.wait_with(fd, false),
            Request::Kill(Kill { signal }) => {
                let done = signal.parse().map_err(Into::into).and_then(|it| self.kill(it));
                reply(&fd, done);
            }
            Request::Pause {} => reply(&fd, self.pause()),
            Request::Resume {} => reply(&fd, self.resume()),
            Request::Resize(size) => reply(&fd, self.console.resize(size).map_err(Into::into)),
            Request::State {} => {
                let state = serde_json::to_value(self.record.state());
                answer(&fd, &state.map_or_else(|it| error(&it.into()), Reply::State));
            }
        }
    }

    fn serve_attach(&mut self, fd: OwnedFd, attach: Attach) {
        let client = Client::new(fd, attach);
        if let Err(mut client) = self.console.admit(client, attach.replay, Instant::now()) {
            refuse(&mut client, "attach: too many clients are attached");
        }
    }

    fn serve_stop(&mut self, fd: OwnedFd, stop: &Stop) {
        let signal: Result<Option<Signal>, _> =
            stop.signal.as_deref().map(str::parse::<Signal>).transpose();
        match signal {
            Err(refusal) => answer(&fd, &error(&refusal.into())),
            Ok(signal) => {
                self.wait_with(fd, true);
                self.stop(signal, Patience::from_ms(stop.timeout_ms, stop.force), true);
            }
        }
    }

    fn wait_with(&mut self, fd: OwnedFd, stops: bool) {
        if self.waiters.len() < WAITERS_MAX {
            self.waiters.push(Waiter { fd, stops });
        } else {
            let message = format!("wait: {WAITERS_MAX} others wait already");
            answer(&fd, &Reply::Error { message });
        }
    }

    /// Sends a signal to init. SIGKILL and the stop signal are meant to end it for good.
    fn kill(&mut self, signal: Signal) -> Result<()> {
        match &self.phase {
            Phase::Running(_) if signal == Signal::KILL => {
                self.stop(Some(signal), Patience::None, true);
                Ok(())
            }
            Phase::Running(init) => {
                let stop_signal = self.config.stop_signal.as_deref().and_then(|it| it.parse().ok());
                if signal == stop_signal.unwrap_or(Signal::TERM) {
                    self.stop_asked = true;
                    self.record.remember(|state| state.stopped_by_user = true);
                }
                Ok(init.pidfd.signal(signal)?)
            }
            Phase::Restarting { .. } => {
                self.cancel_restart();
                Ok(())
            }
            Phase::Down { .. } => bail!("the container has ended"),
        }
    }

    fn init(&self) -> Result<&Init> {
        match &self.phase {
            Phase::Running(init) => Ok(init),
            _ => bail!("the container does not run"),
        }
    }

    fn pause(&mut self) -> Result<()> {
        match self.record.state().status {
            Status::Running => {}
            other => bail!("only a running container can be paused; it is {}", other.word()),
        }
        self.init()?.freeze()?;
        Ok(self.record.change(|state| state.status = Status::Paused)?)
    }

    fn resume(&mut self) -> Result<()> {
        match self.record.state().status {
            Status::Paused => {}
            other => bail!("only a paused container can be resumed; it is {}", other.word()),
        }
        self.init()?.thaw()?;
        Ok(self.record.change(|state| state.status = Status::Running)?)
    }

    /// It was killed and does not end: those who wait for that hear why.
    pub(super) fn complain(&mut self) {
        let pids = self.init().map(Init::pids).unwrap_or_default();
        let asleep: Vec<String> = pids
            .into_iter()
            .filter(|pid| is_in_disk_sleep(&format!("/proc/{pid}/stat")))
            .map(|pid| pid.to_string())
            .collect();
        let cause = if asleep.is_empty() {
            "the kernel has not let it go".to_owned()
        } else {
            format!("in uninterruptible sleep: {}", asleep.join(", "))
        };
        let message = format!("stop: it was killed 90 s ago and has not ended; {cause}");
        self.notes.add(&message);
        let reply = Reply::Error { message };
        self.waiters.retain(|waiter| {
            if waiter.stops {
                answer(&waiter.fd, &reply);
            }
            !waiter.stops
        });
    }

    /// Takes what a client sends.
    pub(super) fn hear_client(&mut self, index: usize) {
        let mut packet = vec![0; PACKET_MAX];
        for _ in 0..TURNS {
            if !self.console.input_has_room() {
                return;
            }
            let Some(client) = self.console.clients().get_mut(index) else { return };
            let sends_stdin = client.sends_stdin();
            let Some(length) = client.receive(&mut packet) else { return };
            let heard = match packet.get(..length).map(parse) {
                Some(Ok((kind, payload))) => self.obey_client(kind, payload, sends_stdin),
                Some(Err(malformed)) => Err(malformed.into()),
                None => Err(anyhow::anyhow!("packet longer than {PACKET_MAX} bytes")),
            };
            if let Err(refusal) = heard
                && let Some(client) = self.console.clients().get_mut(index)
            {
                refuse(client, &format!("attach: {refusal:#}"));
                return;
            }
        }
    }

    fn obey_client(&mut self, kind: Kind, payload: &[u8], sends_stdin: bool) -> Result<()> {
        match kind {
            Kind::Stdin | Kind::StdinEof if !sends_stdin => {}
            Kind::Stdin => {
                if let Some(streams) = self.console.streams() {
                    streams.input().push(payload);
                }
            }
            Kind::StdinEof => {
                if let Some(streams) = self.console.streams() {
                    streams.input().push_end();
                }
            }
            Kind::Resize => {
                let size: Size = serde_json::from_slice(payload).context("read the size")?;
                // A window that cannot be resized is no reason to lose the client.
                let _ = self.console.resize(size);
            }
            Kind::Signal => {
                let SignalNumber { signal } =
                    serde_json::from_slice(payload).context("read the signal")?;
                let signal = Signal::new(signal).with_context(|| format!("no signal {signal}"))?;
                let sent = self.kill(signal);
                self.notes.check(sent);
            }
            other => bail!("{other:?} is not for a client to send"),
        }
        Ok(())
    }
}

fn reply(fd: &OwnedFd, done: Result<()>) {
    answer(fd, &done.map_or_else(|it| error(&it), |()| Reply::Done {}));
}

fn refuse(client: &mut Client, message: &str) {
    let refusal = Refusal { message: message.to_owned() };
    client.dismiss(&Kind::Error.json(&refusal), Instant::now());
}

fn is_in_disk_sleep(stat: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(stat) else { return false };
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('D'))
}
