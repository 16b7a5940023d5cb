//! The other side of a shim: start one, ask one. Everything here blocks until answered.
//!
//! A shim that is gone is an answer, not an error (`None`): its container has ended, and
//! `state.json` says how.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::protocol::{Kill, Ready, Reply, Request, Size, Stop};
use super::transport;

/// What a shim is started with.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The `isula-shim` program.
    pub program: &'a Path,
    pub root: &'a Path,
    pub state: &'a Path,
    /// The container's full id.
    pub id: &'a str,
    /// A connection to be attached from the first byte on (see `attach::client::pair`).
    pub attach: Option<OwnedFd>,
    /// How long it may take, if there is a limit.
    pub limit: Option<Duration>,
}

/// The container did not run in time; its shim has been killed.
#[derive(Debug, thiserror::Error)]
#[error("it was not up within {} s (start-timeout in daemon.json)", .0.as_secs_f64())]
pub struct TookTooLong(Duration);

/// A shim whose container runs.
#[derive(Debug)]
pub struct Started {
    pub pid: i32,
    lines: BufReader<std::process::ChildStdout>,
    /// Kept so that a foreground caller reaps it; a caller that ends first leaves it to init.
    _shim: Child,
}

/// Why the container's process never ran. `exit_code` is what the command line ends with.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    pub message: String,
    pub exit_code: u8,
}

/// What came of waiting for `READY=1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// The container ended first.
    Exited(i32),
}

/// The program that stands beside the running one.
pub fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find isula-shim: read /proc/self/exe")?;
    Ok(own.with_file_name("isula-shim"))
}

/// Starts the shim and, through it, the container. A refusal is a [`LaunchError`] in the chain.
pub fn launch(launch: Launch<'_>) -> Result<Started> {
    let program = launch.program;
    // Sealed from its first instruction, it need not execute itself once more.
    let sealed = runtime::exe::sealed(program)?;
    let mut shim = Command::new(format!("/proc/self/fd/{}", sealed.as_raw_fd()))
        .arg0(program)
        .arg("--root")
        .arg(launch.root)
        .arg("--state")
        .arg(launch.state)
        .arg(launch.id)
        .stdin(launch.attach.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let pipe = shim.stdout.take().expect("stdout was asked to be a pipe");
    if let Some(limit) = launch.limit
        && !says_something(&pipe, limit)?
    {
        shim.kill().with_context(|| format!("kill {}", program.display()))?;
        shim.wait().with_context(|| format!("wait for {}", program.display()))?;
        return Err(TookTooLong(limit).into());
    }
    let mut lines = BufReader::new(pipe);
    match read_line(&mut lines)? {
        Some(Ready::Started { pid }) => Ok(Started { pid, lines, _shim: shim }),
        Some(Ready::Failed { error, exit_code }) => {
            // It has cleaned up and is about to end: what it held is free when we return.
            let _ = shim.wait();
            Err(LaunchError { message: error, exit_code }.into())
        }
        Some(other) => bail!("{} spoke out of turn: {other:?}", program.display()),
        None => {
            let status = shim.wait().with_context(|| format!("wait for {}", program.display()))?;
            bail!("{} ended before the container ran ({status})", program.display())
        }
    }
}

fn says_something(pipe: impl AsFd, limit: Duration) -> Result<bool> {
    let until = Instant::now() + limit;
    loop {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now()))
            .context("wait for the shim")?;
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
            Ok(said) => return Ok(said > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for the shim"),
        }
    }
}

impl Started {
    /// Waits for the guest's `READY=1`, or its end.
    pub fn wait_ready(&mut self) -> Result<Readiness> {
        match read_line(&mut self.lines)? {
            Some(Ready::Ready { .. }) => Ok(Readiness::Ready),
            Some(Ready::Exited { exited }) => Ok(Readiness::Exited(exited)),
            Some(other) => bail!("wait until ready: unexpected answer of the shim: {other:?}"),
            None => bail!("wait until ready: the shim has gone"),
        }
    }
}

fn read_line(lines: &mut BufReader<std::process::ChildStdout>) -> Result<Option<Ready>> {
    let mut line = String::new();
    if lines.read_line(&mut line).context("read the shim's answer")? == 0 {
        return Ok(None);
    }
    let ready = serde_json::from_str(&line)
        .with_context(|| format!("read the shim's answer {:?}", line.trim_end()))?;
    Ok(Some(ready))
}

/// Ends the container; its exit code, or `None` when there is no shim (it is down already).
pub fn stop(state_dir: &Path, stop: &Stop) -> Result<Option<i32>> {
    exit_code(request(state_dir, &Request::Stop(stop.clone()))?)
}

/// Waits until the container is down for good; `None` when there is no shim.
pub fn wait(state_dir: &Path) -> Result<Option<i32>> {
    exit_code(request(state_dir, &Request::Wait {})?)
}

/// Signals the init (and cancels a pending restart); `false` when there is no shim.
pub fn kill(state_dir: &Path, signal: &str) -> Result<bool> {
    done(request(state_dir, &Request::Kill(Kill { signal: signal.to_owned() }))?)
}

/// Freezes the container; `false` when there is no shim.
pub fn pause(state_dir: &Path) -> Result<bool> {
    done(request(state_dir, &Request::Pause {})?)
}

/// Thaws the container; `false` when there is no shim.
pub fn resume(state_dir: &Path) -> Result<bool> {
    done(request(state_dir, &Request::Resume {})?)
}

/// Sets the size of the container's terminal; `false` when there is no shim.
pub fn resize(state_dir: &Path, rows: u16, cols: u16) -> Result<bool> {
    done(request(state_dir, &Request::Resize(Size { rows, cols }))?)
}

fn exit_code(reply: Option<Reply>) -> Result<Option<i32>> {
    match reply {
        None => Ok(None),
        Some(Reply::Exit { code }) => Ok(Some(code)),
        Some(other) => bail!("unexpected answer of the shim: {other:?}"),
    }
}

fn done(reply: Option<Reply>) -> Result<bool> {
    match reply {
        None => Ok(false),
        Some(Reply::Done {}) => Ok(true),
        Some(other) => bail!("unexpected answer of the shim: {other:?}"),
    }
}

/// One request, one answer. `None`: nobody listens, or the shim went away while we waited (it
/// does when the container is down; then `state.json` is complete).
pub fn request(state_dir: &Path, request: &Request) -> Result<Option<Reply>> {
    let Some(connection) = transport::connect(state_dir)? else { return Ok(None) };
    let text = serde_json::to_vec(request).context("encode the request")?;
    if !transport::send(connection.as_fd(), &text)? {
        return Ok(None);
    }
    let mut buffer = vec![0; super::protocol::PACKET_MAX];
    let Some(length) = transport::receive(connection.as_fd(), &mut buffer)? else {
        return Ok(None);
    };
    match serde_json::from_slice(&buffer[..length]).context("read the shim's answer")? {
        Reply::Error { message } => bail!(message),
        reply => Ok(Some(reply)),
    }
}
