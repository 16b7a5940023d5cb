//! Signals by name and number, and receiving them as data (signalfd(2)).
//!
//! Real-time signals are counted as glibc and systemd count them: SIGRTMIN is 34, because the C
//! library keeps 32 and 33 (signal(7)). systemd as pid 1 halts at SIGRTMIN+3, which is 37.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::SfdFlags;

use crate::process::{ExitStatus, Pid};
use crate::{Context, Errno, Error, Result, raw};

/// A signal number, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

const RTMIN: i32 = 34;
const MAX: i32 = 64;

macro_rules! signals {
    ($($name:ident = $value:expr;)*) => {
        #[expect(missing_docs, reason = "each is the signal of its name in signal(7)")]
        impl Signal {
            $(pub const $name: Self = Self($value);)*
        }
        const NAMES: &[(&str, i32)] = &[$((stringify!($name), $value)),*];
    };
}

signals! {
    HUP = libc::SIGHUP; INT = libc::SIGINT; QUIT = libc::SIGQUIT; ILL = libc::SIGILL;
    TRAP = libc::SIGTRAP; ABRT = libc::SIGABRT; BUS = libc::SIGBUS; FPE = libc::SIGFPE;
    KILL = libc::SIGKILL; USR1 = libc::SIGUSR1; SEGV = libc::SIGSEGV; USR2 = libc::SIGUSR2;
    PIPE = libc::SIGPIPE; ALRM = libc::SIGALRM; TERM = libc::SIGTERM; STKFLT = libc::SIGSTKFLT;
    CHLD = libc::SIGCHLD; CONT = libc::SIGCONT; STOP = libc::SIGSTOP; TSTP = libc::SIGTSTP;
    TTIN = libc::SIGTTIN; TTOU = libc::SIGTTOU; URG = libc::SIGURG; XCPU = libc::SIGXCPU;
    XFSZ = libc::SIGXFSZ; VTALRM = libc::SIGVTALRM; PROF = libc::SIGPROF;
    WINCH = libc::SIGWINCH; IO = libc::SIGIO; PWR = libc::SIGPWR; SYS = libc::SIGSYS;
}

/// Second names that `kill -l` and old scripts know.
const ALIASES: &[(&str, Signal)] =
    &[("CLD", Signal::CHLD), ("IOT", Signal::ABRT), ("POLL", Signal::IO), ("UNUSED", Signal::SYS)];

impl Signal {
    /// `None` unless it is 1 to 64.
    pub fn new(number: i32) -> Option<Self> {
        (1..=MAX).contains(&number).then_some(Self(number))
    }

    /// SIGRTMIN+`offset`, for 0 to 30.
    pub fn real_time(offset: i32) -> Option<Self> {
        Self::new(RTMIN.checked_add(offset)?).filter(|signal| signal.0 >= RTMIN)
    }

    /// Its number.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, value)| *value == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None if self.0 == MAX => f.write_str("SIGRTMAX"),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl FromStr for Signal {
    type Err = Error;

    /// A number, or a name in any case with or without `SIG`: `15`, `term`, `SIGRTMIN+3`,
    /// `RTMAX-1`.
    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::new(format!("parse signal {text:?}"), Errno::INVAL)
                .with_hint("give a number from 1 to 64 or a name such as TERM or RTMIN+3")
        })
    }
}

fn parse(text: &str) -> Option<Signal> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Signal::new(text.parse().ok()?);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let offset = if rest.is_empty() { 0 } else { offset(rest.strip_prefix('+')?)? };
        return Signal::real_time(offset);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        let offset = if rest.is_empty() { 0 } else { offset(rest.strip_prefix('-')?)? };
        return Signal::real_time(MAX - RTMIN - offset);
    }
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, value)| Signal(*value));
    known.or_else(|| ALIASES.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal))
}

/// Digits only: `parse` of the standard library would take a second sign.
fn offset(digits: &str) -> Option<i32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// One received signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalInfo {
    /// Which one.
    pub signal: Signal,
    /// Who sent it, or the child a SIGCHLD is about; `None` when the kernel sent it or the sender
    /// is out of sight in our pid namespace.
    pub pid: Option<Pid>,
    /// The sender's real user id.
    pub uid: u32,
    /// si_code of sigaction(2).
    pub code: i32,
    /// si_status: exit status or signal number of a SIGCHLD.
    pub status: i32,
}

impl SignalInfo {
    /// What a SIGCHLD says of its child, `None` for a stop or another signal.
    ///
    /// SIGCHLDs merge: it is a reason to look at every child, not an account of them.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match (self.signal, self.code) {
            (Signal::CHLD, libc::CLD_EXITED) => Some(ExitStatus::Exited(self.status)),
            (Signal::CHLD, libc::CLD_KILLED) => {
                Some(ExitStatus::Killed { signal: self.status, core: false })
            }
            (Signal::CHLD, libc::CLD_DUMPED) => {
                Some(ExitStatus::Killed { signal: self.status, core: true })
            }
            _ => None,
        }
    }
}

/// Blocked signals as a descriptor to poll. Children inherit the blocked mask: call
/// [`restore_defaults`] before an exec.
#[derive(Debug)]
pub struct SignalFd(nix::sys::signalfd::SignalFd);

impl SignalFd {
    /// Blocks `signals` in this thread and opens a non-blocking descriptor that receives them.
    /// Call it before any other thread exists: those that exist keep their masks.
    pub fn new(signals: &[Signal]) -> Result<Self> {
        block(signals)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        nix::sys::signalfd::SignalFd::with_flags(&raw::signal::set(signals), flags)
            .map(Self)
            .during(|| "open a signalfd")
    }

    /// Everything that is pending, oldest first; empty when nothing is.
    pub fn read(&self) -> Result<Vec<SignalInfo>> {
        let mut all = Vec::new();
        loop {
            match self.0.read_signal() {
                Ok(Some(info)) => all.extend(convert(&info)),
                Ok(None) => return Ok(all),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno).during(|| "read a signalfd"),
            }
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn convert(info: &nix::sys::signalfd::siginfo) -> Option<SignalInfo> {
    let number = i32::try_from(info.ssi_signo).ok()?;
    Some(SignalInfo {
        signal: Signal::new(number)?,
        pid: i32::try_from(info.ssi_pid).ok().and_then(Pid::new),
        uid: info.ssi_uid,
        code: info.ssi_code,
        status: info.ssi_status,
    })
}

/// Blocks `signals` in this thread.
pub fn block(signals: &[Signal]) -> Result<()> {
    raw::signal::set(signals).thread_block().during(|| "block signals")
}

/// Unblocks `signals` in this thread.
pub fn unblock(signals: &[Signal]) -> Result<()> {
    raw::signal::set(signals).thread_unblock().during(|| "unblock signals")
}

/// Gives every signal its default disposition and blocks none, as a program expects to find them.
///
/// exec(2) keeps the mask and keeps ignored signals ignored, and the Rust runtime ignores SIGPIPE.
pub fn restore_defaults() -> Result<()> {
    for signal in (1..=MAX).map(Signal) {
        let changeable = ![Signal::KILL, Signal::STOP].contains(&signal);
        if changeable {
            raw::signal::set_default(signal).during(|| format!("reset {signal}"))?;
        }
    }
    SigSet::empty().thread_set_mask().during(|| "unblock all signals")
}

#[cfg(test)]
mod tests;
