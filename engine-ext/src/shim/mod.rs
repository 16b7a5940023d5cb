//! One container's supervisor, and how others talk to it.
//!
//! ```text
//!   isula -- fd 0: first attach   +------------+  pty or pipes   +-----------+
//!     |      fd 1: ready pipe --> | isula-shim | <-------------> | container |
//!     '----- shim.sock ---------> '------------'  pidfd, signals '-----------'
//!                                   |  state.json, console.log, shim.log
//! ```
//!
//! It is one thread that never waits for anything but poll(2) (the runtime's own steps apart):
//! neither a client, nor the log, nor the guest can hold it.

mod attach;
pub mod client;
mod console;
mod event_loop;
mod guest;
mod health;
mod log_file;
pub mod protocol;
mod ready;
mod reap;
mod record;
mod requests;
mod restart;
mod ring;
mod stdio;
mod stopping;
mod supervisor;
pub mod transport;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use linux::process::Signal;
use linux::{Context as _, Errno};
use rustix::fs::{Mode, OFlags};
use rustix::net::SocketType;

use protocol::Ready;
use ready::ReadyPipe;
use requests::Stranger;
use supervisor::{Start, Supervisor};

const USAGE: &str = "usage: isula-shim --root DIR --state DIR ID (isula starts it)";

/// The program: `--root R --state S ID`. Descriptor 1 is the ready pipe, descriptor 0 may be an
/// attach connection. What goes wrong before there is a container is told on the ready pipe.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
    // Before anything else: it executes the program once more.
    runtime::exe::seal("isula-shim")?;
    let mut start = parse(arguments)?;
    let (first, mut ready) = take_streams()?;
    start.first = first.map(Stranger::new);
    match detach().map_err(Into::into).and_then(|()| Supervisor::start(start)) {
        Ok(mut supervisor) => {
            ready.tell(&Ready::Started { pid: supervisor.pid() });
            supervisor.report_to(ready);
            Ok(supervisor.supervise()?)
        }
        Err(error) => {
            let exit_code = guest::exit_code(&error);
            ready.tell(&Ready::Failed { error: ui::report::chain(&error), exit_code });
            Ok(())
        }
    }
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Start> {
    let mut arguments = arguments.into_iter();
    let (mut root, mut state, mut id) = (None, None, None);
    while let Some(argument) = arguments.next() {
        let place = match argument.to_str() {
            Some("--root") => &mut root,
            Some("--state") => &mut state,
            Some(text) if !text.starts_with('-') && id.is_none() => {
                id = Some(text.to_owned());
                continue;
            }
            _ => bail!("unexpected argument {argument:?}; {USAGE}"),
        };
        let value =
            arguments.next().with_context(|| format!("{argument:?} needs a value; {USAGE}"))?;
        *place = Some(PathBuf::from(value));
    }
    Ok(Start {
        root: root.with_context(|| format!("--root is missing; {USAGE}"))?,
        state: state.with_context(|| format!("--state is missing; {USAGE}"))?,
        id: id.with_context(|| format!("the container's id is missing; {USAGE}"))?,
        first: None,
    })
}

/// Keeps what the caller gave us on the standard streams, and puts /dev/null in its place: the
/// caller's terminal or pipeline must not wait for us.
fn take_streams() -> linux::Result<(Option<OwnedFd>, ReadyPipe)> {
    let stdin = std::io::stdin();
    let is_socket = rustix::net::sockopt::socket_type(&stdin) == Ok(SocketType::SEQPACKET);
    let first = is_socket.then(|| keep(&stdin)).transpose()?;
    let ready = ReadyPipe::new(keep(std::io::stdout())?);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .during(|| "open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).during(|| "let go of stdin")?;
    rustix::stdio::dup2_stdout(&null).during(|| "let go of stdout")?;
    rustix::stdio::dup2_stderr(&null).during(|| "let go of stderr")?;
    Ok((first, ready))
}

fn keep(fd: impl AsFd) -> linux::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).during(|| "keep a descriptor")
}

/// Leaves the caller's session, directory, umask and signals. What it ignored would hide the end
/// of our children, or our own, from us.
fn detach() -> linux::Result<()> {
    linux::signal::restore_defaults()?;
    // A write to whoever has gone answers EPIPE then.
    linux::signal::block(&[Signal::PIPE])?;
    match rustix::process::setsid() {
        // We lead a session already.
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno).during(|| "leave the caller's session"),
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .during(|| "become the reaper of orphans")?;
    rustix::process::chdir("/").during(|| "change to /")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}
