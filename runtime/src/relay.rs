//! Between our stdio and that of a process in the container, until the process has ended.
//!
//! The end is that of the process, not of its pipes: what it left running in the background may
//! hold them for ever.

use std::io::{Stdin, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use linux::Context as _;
use linux::process::{ExitStatus, PidFd, Signal};
use linux::pty::{self, RawMode};
use linux::signal::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::Result;

/// What the process said last is on its way when it has ended.
const DRAIN: Duration = Duration::from_millis(100);
const BUFFER: usize = 32 * 1024;
/// ctrl-d.
const END_OF_TRANSMISSION: u8 = 4;

/// See the module.
#[derive(Debug)]
pub struct Relay {
    /// The process's input; `None` when it has ended.
    input: Option<OwnedFd>,
    /// Read from our stdin and not yet taken.
    pending: Vec<u8>,
    /// Our stdin has more.
    stdin_open: bool,
    /// What it says, and where it goes.
    outputs: Vec<(OwnedFd, Target)>,
    /// The master of its terminal.
    console: Option<OwnedFd>,
    signals: SignalFd,
    _raw: Option<RawMode<Stdin>>,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Stdout,
    Stderr,
}

/// Who is ready.
#[derive(Default)]
struct Ready {
    ended: bool,
    signal: bool,
    stdin: bool,
    input: bool,
    outputs: Vec<bool>,
}

impl Relay {
    /// Passes our stdin on through `input`, if there is one, and what comes from `out` and `err` to
    /// our stdout and stderr.
    ///
    /// # Errors
    /// A descriptor cannot be set up.
    pub fn pipes(input: Option<OwnedFd>, out: OwnedFd, err: OwnedFd) -> Result<Self> {
        if let Some(input) = &input {
            rustix::io::ioctl_fionbio(input, true).during(|| "set up a pipe")?;
        }
        Ok(Self {
            stdin_open: input.is_some(),
            input,
            pending: vec![],
            outputs: vec![(out, Target::Stdout), (err, Target::Stderr)],
            console: None,
            signals: SignalFd::new(&[Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT])?,
            _raw: None,
        })
    }

    /// Nothing but signals: the process has our own streams.
    ///
    /// # Errors
    /// Signals cannot be caught.
    pub fn signals() -> Result<Self> {
        Ok(Self {
            input: None,
            pending: vec![],
            stdin_open: false,
            outputs: vec![],
            console: None,
            signals: SignalFd::new(&[Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT])?,
            _raw: None,
        })
    }

    /// Between our terminal and the process's, whose master `console` is; `interactive`: our stdin
    /// is passed on.
    ///
    /// # Errors
    /// A descriptor or our terminal cannot be set up.
    pub fn terminal(console: OwnedFd, interactive: bool) -> Result<Self> {
        rustix::io::ioctl_fionbio(&console, true).during(|| "set up the terminal")?;
        let copy = || console.try_clone().during(|| "copy a descriptor");
        let is_terminal = rustix::termios::isatty(stdin());
        let relay = Self {
            input: Some(copy()?),
            pending: vec![],
            stdin_open: interactive,
            outputs: vec![(copy()?, Target::Stdout)],
            signals: SignalFd::new(&[Signal::WINCH, Signal::TERM, Signal::HUP])?,
            _raw: (is_terminal && interactive).then(|| RawMode::enter(stdin())).transpose()?,
            console: Some(console),
        };
        relay.follow_size();
        Ok(relay)
    }

    /// Passes everything on until the process ends.
    ///
    /// # Errors
    /// A stream breaks in a way that is not an end.
    pub fn run(mut self, process: &PidFd) -> Result<ExitStatus> {
        let mut drain_until: Option<Instant> = None;
        loop {
            let limit = drain_until.map(|end| end.saturating_duration_since(Instant::now()));
            if drain_until.is_some() && (self.outputs.is_empty() || limit == Some(Duration::ZERO)) {
                return Ok(process.wait()?);
            }
            let ready = self.wait(process, limit)?;
            if ready.ended && drain_until.is_none() {
                drain_until = Some(Instant::now() + DRAIN);
            }
            if ready.signal {
                self.pass_signals(process)?;
            }
            for index in (0..ready.outputs.len()).rev() {
                if ready.outputs[index] && !self.pass_output(index)? {
                    self.outputs.remove(index);
                }
            }
            if ready.stdin {
                self.read_stdin()?;
            }
            if ready.input {
                self.write_input()?;
            }
        }
    }

    fn wait(&self, process: &PidFd, limit: Option<Duration>) -> Result<Ready> {
        let stdin = stdin();
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            // Ended is asked once; then it would always be ready.
            PollFd::from_borrowed_fd(
                process.as_fd(),
                if limit.is_none() { PollFlags::IN } else { PollFlags::empty() },
            ),
        ];
        fds.extend(self.outputs.iter().map(|(fd, _)| PollFd::new(fd, PollFlags::IN)));
        let reads = self.stdin_open && self.pending.is_empty() && limit.is_none();
        let writer = self.input.as_ref().filter(|_| !self.pending.is_empty());
        if reads {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        } else if let Some(input) = writer {
            fds.push(PollFd::new(input, PollFlags::OUT));
        }
        let span = limit.and_then(|limit| Timespec::try_from(limit).ok());
        match poll(&mut fds, span.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Ok(Err(errno).during(|| "wait for the process")?),
        }
        let is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let last = is_ready.get(2 + self.outputs.len()).copied().unwrap_or(false);
        Ok(Ready {
            signal: is_ready[0],
            ended: is_ready[1],
            outputs: is_ready[2..2 + self.outputs.len()].to_vec(),
            stdin: reads && last,
            input: !reads && writer.is_some() && last,
        })
    }

    /// `false` at the end of the output, or when nobody hears it.
    fn pass_output(&self, index: usize) -> Result<bool> {
        let (fd, target) = &self.outputs[index];
        let mut buffer = [0; BUFFER];
        let text = match rustix::io::read(fd, &mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => &buffer[..length],
            Err(Errno::INTR | Errno::AGAIN) => return Ok(true),
            // Nobody has the other side of the terminal open (tty_ioctl(4) hangup).
            Err(Errno::IO) => return Ok(false),
            Err(errno) => return Ok(Err(errno).during(|| "read what the process says")?),
        };
        let written = match target {
            Target::Stdout => write_all(stdout().as_fd(), text),
            Target::Stderr => write_all(stderr().as_fd(), text),
        };
        match written {
            Ok(()) => Ok(true),
            Err(Errno::PIPE) => Ok(false),
            Err(errno) => Ok(Err(errno).during(|| "write what the process says")?),
        }
    }

    fn read_stdin(&mut self) -> Result<()> {
        let mut buffer = [0; BUFFER];
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(0) | Err(Errno::IO) => {
                self.stdin_open = false;
                match &self.console {
                    Some(_) => self.pending.push(END_OF_TRANSMISSION),
                    None => self.input = None,
                }
            }
            Ok(length) => self.pending.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Ok(Err(errno).during(|| "read stdin")?),
        }
        Ok(())
    }

    fn write_input(&mut self) -> Result<()> {
        let Some(input) = &self.input else { return Ok(()) };
        match rustix::io::write(input, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // It does not read any more, and may go on without.
            Err(Errno::PIPE | Errno::IO) => {
                self.pending.clear();
                self.stdin_open = false;
                self.input = None;
            }
            Err(errno) => return Ok(Err(errno).during(|| "write to the process")?),
        }
        Ok(())
    }

    fn pass_signals(&self, process: &PidFd) -> Result<()> {
        for info in self.signals.read()? {
            if info.signal == Signal::WINCH {
                self.follow_size();
            } else {
                process.signal(info.signal)?;
            }
        }
        Ok(())
    }

    fn follow_size(&self) {
        // A pipe has no size, and a terminal that hung up none any more.
        if let (Some(console), Ok(size)) = (&self.console, pty::size(stdin())) {
            let _ = pty::set_size(console, size);
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, mut text: &[u8]) -> rustix::io::Result<()> {
    while !text.is_empty() {
        match rustix::io::write(fd, text) {
            Ok(length) => text = &text[length..],
            Err(Errno::INTR) => {}
            // Somebody set our stdout non-blocking; it is theirs too, so it stays so.
            Err(Errno::AGAIN) => {
                let fd = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
                let _ = poll(&mut { fd }, None);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
