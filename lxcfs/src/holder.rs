//! The holder: mounts, keeps `/dev/fuse` and the state, and sees that somebody serves.
//!
//! A worker that dies, hangs or is upgraded is replaced; the kernel hands its unanswered requests
//! out again. When five have failed within ten seconds, the holder answers with host values itself
//! and tries again. Nothing here depends on what a container can do.

mod link;
mod setup;

use std::{
    collections::VecDeque,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use linux::{
    poll::{Interest, Poll},
    signal::{Signal, SignalFd},
    socket::{self, Kind},
};

use self::link::{expect, is_readable};
use crate::{
    connection::Devices,
    last_resort,
    orders::{self, Answer, Options, Order},
    relay::Relays,
    systemd,
};

/// So many failures within so long, and the holder serves itself.
const FAILURES: usize = 5;
const WITHIN: Duration = Duration::from_secs(10);
/// A worker that was killed from outside has not failed, unless it did not even get this old: the
/// kernel kills too, when memory is short.
const INFANCY: Duration = Duration::from_millis(500);
/// How long the holder serves itself before it tries a worker again.
const RECOVERY: Duration = Duration::from_secs(10);
/// How long a worker may take to get ready.
const START: Duration = Duration::from_secs(10);
/// How often a worker is asked whether it lives.
const PING: Duration = Duration::from_millis(500);

const SIGNALS: u64 = 0;
const WORKER: u64 = 1;

/// Runs the daemon until it is told to end.
pub fn run(options: Options, pid_file: &Path) -> Result<()> {
    let signals = SignalFd::new(&[
        Signal::TERM,
        Signal::INT,
        Signal::CHLD,
        Signal::USR1,
        Signal::USR2,
        Signal::HUP,
    ])?;
    let _lock = setup::lock(pid_file)?;
    for dir in [options.runtime_dir.clone(), options.containers()] {
        setup::make_dir(&dir)?;
    }
    let (devices, memory) = setup::connection(&options)?;
    if systemd::is_manager() {
        systemd::store(&devices, memory.as_fd())?;
    }
    let mut holder = Holder {
        control: setup::listen(&options.control(), Kind::SeqPacket)?,
        metrics: setup::listen(&options.metrics, Kind::Stream)?,
        // The one call that tells whether the kernel can.
        relays: (options.relay || !devices.resend()?).then(Relays::default),
        devices: Arc::new(devices),
        memory,
        program: std::env::current_exe().context("find our own program")?,
        poll: Poll::new()?,
        worker: None,
        generation: 0,
        passthrough: false,
        failures: VecDeque::new(),
        last_resort: None,
        options,
    };
    if holder.relays.is_some() {
        tracing::info!("requests are relayed");
    }
    holder.poll.add(&signals, SIGNALS, Interest::READ)?;
    holder.replace_worker();
    systemd::ready()?;
    let ended = holder.events(&signals);
    holder.end();
    ended
}

/// A worker that serves.
#[derive(Debug)]
struct Worker {
    process: Child,
    link: OwnedFd,
    since: Instant,
    /// When it was last asked whether it lives, and whether it has answered.
    asked: Instant,
    answered: bool,
}

#[derive(Debug)]
struct Holder {
    options: Options,
    devices: Arc<Devices>,
    /// Where requests are passed on instead of handed out again.
    relays: Option<Relays>,
    memory: OwnedFd,
    control: OwnedFd,
    metrics: OwnedFd,
    program: PathBuf,
    poll: Poll,
    worker: Option<Worker>,
    generation: u16,
    passthrough: bool,
    failures: VecDeque<Instant>,
    last_resort: Option<LastResort>,
}

#[derive(Debug)]
struct LastResort {
    since: Instant,
    stop: OwnedFd,
    thread: JoinHandle<()>,
}

impl Holder {
    fn events(&mut self, signals: &SignalFd) -> Result<()> {
        loop {
            for event in self.poll.wait(Some(PING))? {
                match event.token {
                    SIGNALS => {
                        for signal in signals.read()? {
                            if self.signalled(signal.signal)? {
                                return Ok(());
                            }
                        }
                    }
                    _ => self.hear(),
                }
            }
            self.look_after();
            if self.is_unmounted() {
                tracing::info!("unmounted, ending");
                return Ok(());
            }
        }
    }

    /// Whether to end.
    fn signalled(&mut self, signal: Signal) -> Result<bool> {
        match signal {
            Signal::TERM | Signal::INT => return Ok(true),
            Signal::USR1 | Signal::HUP => {
                tracing::info!(signal = %signal, "replacing the worker");
                self.replace_worker();
            }
            Signal::USR2 => {
                self.passthrough = !self.passthrough;
                if let Some(worker) = &self.worker {
                    orders::send(&worker.link, &Order::Passthrough(self.passthrough), &[])?;
                }
            }
            _ => self.reap(),
        }
        Ok(false)
    }

    /// Reads what the worker has to say.
    fn hear(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        // The event may have been a worker's that was replaced since.
        if !is_readable(&worker.link, Duration::ZERO) {
            return;
        }
        match orders::receive::<Answer>(&worker.link, 0) {
            Ok(Some((Answer::Pong, _))) => worker.answered = true,
            Ok(Some(_)) => {}
            // It is ending; its death comes by signal.
            Ok(None) | Err(_) => {
                let _ = self.poll.remove(&worker.link);
                let _ = worker.process.kill();
            }
        }
    }

    /// A worker that does not answer in time is as good as dead.
    fn look_after(&mut self) {
        self.reap();
        let deadline = self.options.deadline();
        if let Some(worker) = &mut self.worker {
            if worker.answered && worker.asked.elapsed() >= PING {
                (worker.asked, worker.answered) = (Instant::now(), false);
                let _ = orders::send(&worker.link, &Order::Ping, &[]);
            } else if !worker.answered && worker.asked.elapsed() > deadline {
                tracing::error!(pid = worker.process.id(), "the worker hangs");
                let _ = worker.process.kill();
            }
            return;
        }
        let over = self.last_resort.as_ref().is_some_and(|last| last.since.elapsed() > RECOVERY);
        if over {
            self.replace_worker();
        }
    }

    fn reap(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        let Ok(Some(status)) = worker.process.try_wait() else { return };
        tracing::warn!(pid = worker.process.id(), %status, "the worker died");
        let killed = status.signal() == Some(Signal::KILL.get());
        if !killed || worker.since.elapsed() < INFANCY {
            self.failures.push_back(Instant::now());
        }
        self.worker = None;
        if self.is_unmounted() {
            return;
        }
        self.replace_worker();
    }

    /// Gets a new worker to serve, whether there is one or not.
    fn replace_worker(&mut self) {
        loop {
            self.failures.retain(|failure| failure.elapsed() < WITHIN);
            if self.failures.len() >= FAILURES {
                self.serve_ourselves();
                return;
            }
            match self.start_worker() {
                Ok(worker) => {
                    self.worker = Some(worker);
                    return;
                }
                Err(error) => {
                    tracing::error!(error = ui::report::chain(&error), "no worker");
                    self.failures.push_back(Instant::now());
                }
            }
        }
    }

    fn start_worker(&mut self) -> Result<Worker> {
        self.generation = self.generation.wrapping_add(1).max(1);
        let (link, theirs) = socket::pair(Kind::SeqPacket)?;
        let process = self.spawn(theirs)?;
        let now = Instant::now();
        let worker = Worker { process, link, since: now, asked: now, answered: true };
        let mut starting = Starting(Some(worker));
        let link = &starting.get().link;
        let order = Order::Prepare {
            options: Box::new(self.options.clone()),
            generation: self.generation,
            passthrough: self.passthrough,
        };
        orders::send(link, &order, &[])?;
        expect(link, Answer::Prepared)?;
        // From here to Serving nobody reads requests; they wait in the kernel, a few milliseconds.
        self.end_worker();
        self.end_last_resort();
        let [live, kept] = match &mut self.relays {
            Some(relays) => relays.start(&self.devices, self.options.deadline())?,
            None => {
                let resent = self.devices.resend()?;
                tracing::debug!(resent, "requests of the last worker");
                let Devices { live, kept } = self.devices.try_clone()?;
                [live, kept]
            }
        };
        let devices = [&self.devices.live, &self.devices.kept, &live, &kept];
        let others = [&self.memory, &self.control, &self.metrics];
        let fds: Vec<_> = devices.into_iter().chain(others).map(AsFd::as_fd).collect();
        orders::send(link, &Order::Serve, &fds)?;
        expect(link, Answer::Serving)?;
        self.poll.add(link, WORKER, Interest::READ)?;
        tracing::info!(generation = self.generation, "a worker serves");
        starting.0.take().context("a worker was started")
    }

    /// The installed program, which an upgrade may have changed; else the one we are.
    fn spawn(&self, stdin: OwnedFd) -> Result<Child> {
        let command = |program: &Path, stdin: OwnedFd| {
            Command::new(program)
                .arg(crate::cli::daemon::WORKER_FLAG)
                .stdin(Stdio::from(stdin))
                .spawn()
        };
        let again = stdin.try_clone().context("duplicate a socket")?;
        command(&self.program, stdin)
            .or_else(|_| command(Path::new("/proc/self/exe"), again))
            .with_context(|| format!("start {}", self.program.display()))
    }

    fn end_worker(&mut self) {
        // One that lives answers what it was asked; of one that does not, it is remembered.
        if let Some(relays) = &mut self.relays {
            relays.end();
        }
        if let Some(mut worker) = self.worker.take() {
            let _ = worker.process.kill();
            let _ = worker.process.wait();
        }
    }

    fn serve_ourselves(&mut self) {
        if let Some(last) = &mut self.last_resort {
            last.since = Instant::now();
            return;
        }
        tracing::error!("workers keep dying, host values are shown");
        self.end_worker();
        let _ = self.devices.resend();
        let unanswered = self.relays.as_ref().map(Relays::unanswered).unwrap_or_default();
        let started =
            socket::pair(Kind::Stream).map_err(anyhow::Error::from).and_then(|(stop, stopped)| {
                let thread = last_resort::spawn(Arc::clone(&self.devices), unanswered, stopped)?;
                Ok(LastResort { since: Instant::now(), stop, thread })
            });
        match started {
            Ok(last) => self.last_resort = Some(last),
            Err(error) => tracing::error!(%error, "host values cannot be shown"),
        }
    }

    fn end_last_resort(&mut self) {
        if let Some(last) = self.last_resort.take() {
            // Its end of the pair closing is what it waits for.
            drop(last.stop);
            if last.thread.join().is_err() {
                tracing::error!("the last resort panicked");
            }
        }
    }

    /// The device reports an error once the last mount of the connection is gone.
    fn is_unmounted(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.devices.live, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
    }

    /// Ends: the mount goes too, unless the service manager keeps the connection for the next.
    fn end(&mut self) {
        self.end_worker();
        self.end_last_resort();
        if systemd::is_manager() {
            return;
        }
        let live = Some(self.options.mount.clone()).filter(|_| !self.is_unmounted());
        for mount in live.into_iter().chain([self.options.kept()]) {
            if let Err(error) = linux::mount::detach(&mount) {
                tracing::error!(%error, "the mount stays");
            }
        }
        let _ = rustix::fs::rmdir(self.options.kept());
        for path in [self.options.control(), self.options.metrics.clone()] {
            let _ = rustix::fs::unlink(&path);
        }
        let attachments = std::fs::read_dir(self.options.containers());
        for entry in attachments.into_iter().flatten().flatten() {
            let _ = rustix::fs::unlink(entry.path());
        }
        let _ = rustix::fs::rmdir(self.options.containers());
        let _ = rustix::fs::rmdir(&self.options.runtime_dir);
    }
}

/// A worker on its way; killed if it does not get there.
struct Starting(Option<Worker>);

impl Starting {
    fn get(&self) -> &Worker {
        self.0.as_ref().expect("taken only at the end of start_worker")
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(worker) = &mut self.0 {
            let _ = worker.process.kill();
            let _ = worker.process.wait();
        }
    }
}
