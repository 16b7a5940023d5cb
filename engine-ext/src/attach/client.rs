//! Speaks for a person or a pipeline with a container's console.
//!
//! Nothing here waits on the connection alone: what the container says is read while what it shall
//! read waits to be sent, or both sides would wait for each other.

use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use linux::signal::{Signal, SignalFd};
use linux::{Context as _, Errno};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::detach::DetachKeys;
use super::terminal::RawTerminal;
use crate::shim::protocol::{
    Attach, Attached, Exit, Kind, PACKET_MAX, PAYLOAD_MAX, Refusal, Request, SignalNumber, parse,
};
use crate::shim::transport;

/// How a session behaves on this side.
#[derive(Debug, Clone)]
pub struct AttachOptions {
    /// Our terminal becomes the container's, if it has one: raw mode, window size, detach keys.
    pub tty: bool,
    /// Read our stdin.
    pub stdin: bool,
    pub detach_keys: DetachKeys,
    /// SIGINT, SIGTERM, SIGHUP and SIGQUIT go to the container instead of ending the session.
    pub forward_signals: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// The container ended with this code.
    Exited(i32),
    /// The detach keys were typed, or nobody reads our stdout any more.
    Detached,
    /// A signal ended the session; the caller may now die of it.
    Interrupted(Signal),
    /// The shim vanished without a word; `state.json` says what it can.
    Lost,
}

/// Attaches to a running container; `None` when it has no shim.
pub fn open(state_dir: &Path, attach: &Attach) -> Result<Option<OwnedFd>> {
    let Some(connection) = transport::connect(state_dir)? else { return Ok(None) };
    ask(&connection, attach)?;
    Ok(Some(connection))
}

/// A session that exists before its shim: our end, and the end that `shim::client::Launch` takes.
pub fn pair(attach: &Attach) -> Result<(OwnedFd, OwnedFd)> {
    let (ours, shims) = transport::pair()?;
    ask(&ours, attach)?;
    Ok((ours, shims))
}

fn ask(connection: &OwnedFd, attach: &Attach) -> Result<()> {
    let request = serde_json::to_vec(&Request::Attach(*attach)).context("encode the request")?;
    transport::send(connection.as_fd(), &request)?;
    Ok(())
}

/// Runs the session to its end. The terminal is as it was when this returns.
pub fn run(connection: OwnedFd, options: AttachOptions) -> Result<ExitReason> {
    rustix::io::ioctl_fionbio(&connection, true).during(|| "set up the connection")?;
    let signals = Signals::catch()?;
    let session = Session {
        connection,
        signals,
        stdin_open: options.stdin,
        options,
        terminal: None,
        unsent: Vec::new(),
        buffer: vec![0; PACKET_MAX],
    };
    session.run()
}

struct Session {
    connection: OwnedFd,
    signals: Signals,
    options: AttachOptions,
    terminal: Option<RawTerminal>,
    stdin_open: bool,
    /// Packets that the connection has had no room for, the oldest last.
    unsent: Vec<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Session {
    fn run(mut self) -> Result<ExitReason> {
        loop {
            let ready = self.wait()?;
            if ready.signal
                && let Some(end) = self.take_signals()?
            {
                return Ok(end);
            }
            // What the container said comes before the news of its end, and before our own keys.
            if ready.connection
                && let Some(end) = self.receive()?
            {
                return Ok(end);
            }
            if ready.stdin
                && let Some(end) = self.read_stdin()?
            {
                return Ok(end);
            }
            self.send_unsent()?;
        }
    }

    fn wait(&self) -> Result<Readiness> {
        let stdin = io::stdin();
        let mut interest = PollFlags::IN;
        if !self.unsent.is_empty() {
            interest |= PollFlags::OUT;
        }
        let mut fds = vec![
            PollFd::new(&self.connection, interest),
            PollFd::from_borrowed_fd(self.signals.0.as_fd(), PollFlags::IN),
        ];
        if self.stdin_open && self.unsent.is_empty() {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(|| "wait for the container")?,
        }
        let woken = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let readable = fds[0].revents() & !PollFlags::OUT;
        Ok(Readiness { connection: !readable.is_empty(), signal: woken(1), stdin: woken(2) })
    }

    fn take_signals(&mut self) -> Result<Option<ExitReason>> {
        for received in self.signals.0.read()? {
            match received.signal {
                Signal::WINCH => self.announce_size(),
                Signal::CONT => {
                    if let Some(terminal) = &self.terminal {
                        terminal.reapply()?;
                    }
                    self.announce_size();
                }
                signal if self.options.forward_signals => {
                    let number = SignalNumber { signal: signal.get() };
                    self.queue(Kind::Signal.json(&number));
                }
                signal => return Ok(Some(ExitReason::Interrupted(signal))),
            }
        }
        Ok(None)
    }

    /// Reads all that is there. A reader that has gone ends the session quietly.
    fn receive(&mut self) -> Result<Option<ExitReason>> {
        loop {
            let length = match recv(&self.connection, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(Some(ExitReason::Lost)),
                Ok((_, length)) => length,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).during(|| "receive from the container")?,
            };
            let (kind, payload) =
                parse(&self.buffer[..length]).context("receive from the container")?;
            let written = match kind {
                Kind::Stdout => write_out(io::stdout().lock(), payload),
                Kind::Stderr => write_out(io::stderr().lock(), payload),
                Kind::Exit => {
                    let Exit { code } = serde_json::from_slice(payload).context("read the end")?;
                    return Ok(Some(ExitReason::Exited(code)));
                }
                Kind::Error => {
                    let Refusal { message } =
                        serde_json::from_slice(payload).context("read the refusal")?;
                    bail!(message);
                }
                Kind::Attached => {
                    let Attached { tty } =
                        serde_json::from_slice(payload).context("read the welcome")?;
                    if tty && self.options.tty {
                        self.terminal = RawTerminal::enter(io::stdin())?;
                        self.announce_size();
                    }
                    Ok(())
                }
                Kind::Restarted => {
                    // The new terminal has no size yet.
                    self.announce_size();
                    Ok(())
                }
                Kind::Stdin | Kind::Resize | Kind::StdinEof | Kind::Signal => Ok(()),
            };
            match written {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Some(ExitReason::Detached));
                }
                Err(error) => return Err(error).context("write the container's output"),
            }
        }
    }

    fn read_stdin(&mut self) -> Result<Option<ExitReason>> {
        let mut input = vec![0; PAYLOAD_MAX];
        let length = match io::stdin().lock().read(&mut input) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            // A terminal that hung up reads as EIO; that is an end as well.
            Err(_) => 0,
        };
        if length == 0 {
            self.stdin_open = false;
            let held = self.options.detach_keys.finish();
            self.queue_input(&held);
            self.queue(Kind::StdinEof.packet(&[]));
            return Ok(None);
        }
        if self.terminal.is_none() {
            self.queue_input(&input[..length]);
            return Ok(None);
        }
        let typed = self.options.detach_keys.feed(&input[..length]);
        self.queue_input(&typed.pass);
        Ok(typed.detach.then_some(ExitReason::Detached))
    }

    fn announce_size(&mut self) {
        if let Some(size) = self.terminal.as_ref().and_then(RawTerminal::size) {
            self.queue(Kind::Resize.json(&size));
        }
    }

    fn queue_input(&mut self, input: &[u8]) {
        for part in input.chunks(PAYLOAD_MAX) {
            self.queue(Kind::Stdin.packet(part));
        }
    }

    fn queue(&mut self, packet: Vec<u8>) {
        self.unsent.insert(0, packet);
    }

    fn send_unsent(&mut self) -> Result<()> {
        while let Some(packet) = self.unsent.last() {
            match send(&self.connection, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                // What the shim said before it went is still to be read.
                Err(Errno::PIPE | Errno::CONNRESET) => self.stdin_open = false,
                Err(errno) => return Err(errno).during(|| "send to the container")?,
            }
            self.unsent.pop();
        }
        Ok(())
    }
}

/// The signals that concern a session, delivered as usual again when this is dropped.
struct Signals(SignalFd);

impl Signals {
    const ALL: [Signal; 6] =
        [Signal::WINCH, Signal::CONT, Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

    fn catch() -> linux::Result<Self> {
        SignalFd::new(&Self::ALL).map(Self)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // It cannot fail for valid signals, and blocking them has worked.
        let _ = linux::signal::unblock(&Self::ALL);
    }
}

struct Readiness {
    connection: bool,
    signal: bool,
    stdin: bool,
}

fn write_out(mut stream: impl Write, data: &[u8]) -> io::Result<()> {
    stream.write_all(data)?;
    stream.flush()
}
