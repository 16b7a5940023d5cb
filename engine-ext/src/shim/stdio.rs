//! The supervisor's ends of a container's streams: a terminal's master, or three pipes.
//!
//! All of them are non-blocking: the container never waits for us longer than it takes to read,
//! and we never wait for it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::{Context as _, Errno, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize};

use super::protocol::{Kind, Size};

/// Input that the container has not read yet; a client with more waits.
const INPUT_MAX: usize = 64 * 1024;

/// What a container writes to and reads from.
#[derive(Debug)]
pub(super) struct Streams {
    outputs: Vec<Output>,
    input: Input,
    terminal: Option<Terminal>,
}

/// The three descriptors that become the container's 0, 1 and 2.
#[derive(Debug)]
pub(super) struct GuestEnds {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

#[derive(Debug)]
struct Output {
    kind: Kind,
    fd: OwnedFd,
}

#[derive(Debug)]
struct Terminal {
    master: OwnedFd,
    /// Keeps the terminal from hanging up while the guest has it closed (systemd opens
    /// /dev/console only to write to it).
    peer: Option<OwnedFd>,
}

/// What one read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    Data(usize),
    /// Nothing at the moment.
    Empty,
    /// Nothing ever again.
    End,
}

impl Streams {
    /// For a container with a terminal. `size` is what clients last asked for.
    pub(super) fn of_terminal(master: OwnedFd, size: Option<Size>) -> Result<Self> {
        let act = || "set up the container's terminal";
        rustix::io::ioctl_fionbio(&master, true).during(act)?;
        let duplicate = || rustix::io::fcntl_dupfd_cloexec(&master, 3).during(act);
        let output = Output { kind: Kind::Stdout, fd: duplicate()? };
        let input = Input::new(Some(duplicate()?), true);
        let mut terminal = Terminal { master, peer: None };
        terminal.hold_open();
        if let Some(size) = size {
            terminal.resize(size)?;
        }
        Ok(Self { outputs: vec![output], input, terminal: Some(terminal) })
    }

    /// For a container without one; without `open_stdin` it reads /dev/null.
    pub(super) fn of_pipes(open_stdin: bool) -> Result<(Self, GuestEnds)> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(|| "make a pipe");
        let ours = |fd: OwnedFd| {
            rustix::io::ioctl_fionbio(&fd, true).during(|| "set up a pipe").map(|()| fd)
        };
        let (stdout, guest_stdout) = pipe()?;
        let (stderr, guest_stderr) = pipe()?;
        let (input, guest_stdin) = if open_stdin {
            let (guest, fd) = pipe()?;
            (Some(ours(fd)?), guest)
        } else {
            (None, open_null()?)
        };
        let streams = Self {
            outputs: vec![
                Output { kind: Kind::Stdout, fd: ours(stdout)? },
                Output { kind: Kind::Stderr, fd: ours(stderr)? },
            ],
            input: Input::new(input, false),
            terminal: None,
        };
        let guest = GuestEnds { stdin: guest_stdin, stdout: guest_stdout, stderr: guest_stderr };
        Ok((streams, guest))
    }

    /// Those that may still say something.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (Kind, BorrowedFd<'_>)> {
        self.outputs.iter().map(|output| (output.kind, output.fd.as_fd()))
    }

    /// Reads once.
    pub(super) fn read(&mut self, kind: Kind, buffer: &mut [u8]) -> Chunk {
        let Some(at) = self.outputs.iter().position(|output| output.kind == kind) else {
            return Chunk::End;
        };
        let answer = rustix::io::read(&self.outputs[at].fd, buffer);
        match answer {
            Ok(0) => {}
            Ok(length) => return Chunk::Data(length),
            Err(Errno::AGAIN | Errno::INTR) => return Chunk::Empty,
            // The last open end of the terminal was closed, or hung up (vhangup(2), as a getty
            // does). Opening one makes it whole again.
            Err(Errno::IO) => {
                if self.terminal.as_mut().is_some_and(Terminal::hold_open) {
                    return Chunk::Empty;
                }
            }
            Err(_) => {}
        }
        self.outputs.remove(at);
        Chunk::End
    }

    /// Whether clients may send more.
    pub(super) fn input_has_room(&self) -> bool {
        self.input.pending.len() < INPUT_MAX
    }

    /// Where to wait for room, when input waits.
    pub(super) fn blocked_input(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.input.fd.as_ref()?;
        (!self.input.pending.is_empty()).then(|| fd.as_fd())
    }

    pub(super) fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    pub(super) fn resize(&mut self, size: Size) -> Result<()> {
        match &mut self.terminal {
            Some(terminal) => terminal.resize(size),
            None => Err(linux::Error::new("resize", Errno::NOTTY)
                .with_hint("the container was made without -t")),
        }
    }
}

impl Terminal {
    /// Opens the guest's side without becoming its session; `false` when that cannot be.
    fn hold_open(&mut self) -> bool {
        self.peer = None;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        self.peer = rustix::pty::ioctl_tiocgptpeer(&self.master, flags).ok();
        self.peer.is_some()
    }

    fn resize(&mut self, size: Size) -> Result<()> {
        let Size { rows, cols } = size;
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).during(|| "resize the container's terminal")
    }
}

/// What clients typed and the container has yet to read.
#[derive(Debug)]
pub(super) struct Input {
    fd: Option<OwnedFd>,
    is_terminal: bool,
    pending: VecDeque<u8>,
    /// The end comes after what is pending.
    end: bool,
    /// What the terminal was given last ended a line, so an end of file needs no other one first.
    at_line_start: bool,
}

impl Input {
    fn new(fd: Option<OwnedFd>, is_terminal: bool) -> Self {
        Self { fd, is_terminal, pending: VecDeque::new(), end: false, at_line_start: true }
    }

    /// Takes input; what nobody can read any more is dropped, as a closed pipe would.
    pub(super) fn push(&mut self, data: &[u8]) {
        if self.fd.is_some() && !self.end {
            self.pending.extend(data);
            self.flush();
        }
    }

    /// The input ends: a pipe is closed, a terminal is told so in its own way.
    pub(super) fn push_end(&mut self) {
        if self.is_terminal {
            let end = self.end_of_file();
            self.push(&end);
        } else {
            self.end = true;
            self.flush();
        }
    }

    /// What makes the reader of a terminal see an end of file (termios(3), VEOF): once at the
    /// start of a line, twice within one, where the first only hands the line over. A program
    /// that has switched line editing off reads the key itself.
    fn end_of_file(&self) -> Vec<u8> {
        let Some(modes) = self.fd.as_ref().and_then(|fd| tcgetattr(fd).ok()) else {
            return Vec::new();
        };
        let key = modes.special_codes[SpecialCodeIndex::VEOF];
        let within_line = !self.pending.back().map_or(self.at_line_start, |&last| last == b'\n');
        if within_line && modes.local_modes.contains(LocalModes::ICANON) {
            vec![key, key]
        } else {
            vec![key]
        }
    }

    /// Writes as much as there is room for.
    pub(super) fn flush(&mut self) {
        while let Some(fd) = &self.fd
            && !self.pending.is_empty()
        {
            let (front, _) = self.pending.as_slices();
            match rustix::io::write(fd, front) {
                Ok(length) => {
                    self.at_line_start = front.get(..length).is_some_and(|it| it.ends_with(b"\n"));
                    self.pending.drain(..length);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The container has closed its side.
                Err(_) => {
                    self.pending.clear();
                    self.end = true;
                }
            }
        }
        self.pending.shrink_to(4096);
        if self.end {
            self.fd = None;
        }
    }
}

fn open_null() -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .during(|| "open /dev/null")
}

#[cfg(test)]
mod tests;
