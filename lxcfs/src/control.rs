//! The control socket: attach and detach containers, status, metrics, and the connection itself
//! for a daemon that takes over.
//!
//! One JSON request and one JSON answer a connection, by message socket, root only by its mode.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use linux::process::Pid;
use serde::{Deserialize, Serialize};

use crate::{
    connection::Devices,
    orders::{self, Options},
    server::Server,
};

/// Connections are answered one after the other; one that says nothing does not stop the rest.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Make `containers/ID` for the container whose init is `pid`.
    Attach {
        /// Its id.
        id: String,
        /// Its init, as the host numbers it.
        pid: i32,
    },
    /// Take `containers/ID` away.
    Detach {
        /// Its id.
        id: String,
    },
    /// What is going on.
    Status,
    /// The metrics text.
    Metrics,
    /// The connection and the state, for a new daemon.
    Handover,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It is so.
    Done,
    /// What is going on.
    Status(Status),
    /// The metrics text.
    Metrics(String),
    /// The descriptors come along: the live device, the kept one, the state.
    Handover {
        /// Where it is mounted.
        mount: std::path::PathBuf,
        /// The worker that sends this.
        pid: i32,
    },
    /// It is not so, and why.
    Error(String),
}

/// What is going on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where it is mounted.
    pub mount: std::path::PathBuf,
    /// The worker's pid.
    pub worker: i32,
    /// Version of the program.
    pub version: String,
    /// Reads answered.
    pub reads: u64,
    /// Host values shown, by cause.
    pub fallbacks: Vec<(String, u64)>,
    /// Workers replaced.
    pub restarts: u64,
    /// All files show host values.
    pub passthrough: bool,
    /// Ids of attached containers.
    pub containers: Vec<String>,
}

/// What a successor needs.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Handover {
    pub devices: Devices,
    pub memory: OwnedFd,
}

/// Serves the control socket on a thread of its own.
pub fn spawn(
    server: Arc<Server>,
    options: &Options,
    listener: OwnedFd,
    handover: Handover,
) -> Result<()> {
    let mount = options.mount.clone();
    thread::Builder::new()
        .name("control".into())
        .spawn(move || {
            loop {
                let Ok(peer) = linux::socket::accept(&listener) else { continue };
                if let Err(error) = answer(&server, &mount, &handover, &peer) {
                    tracing::debug!(%error, "control connection ended");
                }
            }
        })
        .context("start thread control")?;
    Ok(())
}

fn answer(server: &Server, mount: &Path, handover: &Handover, peer: &OwnedFd) -> linux::Result<()> {
    patience(peer, PATIENCE)?;
    let Some((request, _)) = orders::receive::<Request>(peer, 0)? else { return Ok(()) };
    let response = match request {
        Request::Attach { id, pid } => attach(server, &id, pid),
        Request::Detach { id } => {
            let known = server.attached.detach(&id);
            known.map_or_else(|| Response::Error(format!("no container {id}")), |_| Response::Done)
        }
        Request::Status => Response::Status(status(server, mount)),
        Request::Metrics => Response::Metrics(server.metrics_text()),
        Request::Handover => {
            let response =
                Response::Handover { mount: mount.to_owned(), pid: Pid::current().get() };
            let devices = &handover.devices;
            let fds = [devices.live.as_fd(), devices.kept.as_fd(), handover.memory.as_fd()];
            return orders::send(peer, &response, &fds);
        }
    };
    orders::send(peer, &response, &[])
}

fn attach(server: &Server, id: &str, pid: i32) -> Response {
    let Some(pid) = Pid::new(pid) else {
        return Response::Error(format!("attach {id}: bad pid {pid}"));
    };
    match server.attached.attach(server, id, pid) {
        Ok(_) => {
            tracing::info!(container = id, %pid, "container attached");
            Response::Done
        }
        Err(error) => Response::Error(error.to_string()),
    }
}

fn status(server: &Server, mount: &Path) -> Status {
    let mut containers: Vec<_> = server.attached.ids().into_iter().map(|(id, _)| id).collect();
    containers.sort();
    Status {
        mount: mount.to_owned(),
        worker: Pid::current().get(),
        version: env!("CARGO_PKG_VERSION").into(),
        reads: server.metrics.reads(),
        fallbacks: server
            .metrics
            .fallbacks
            .counts()
            .map(|(cause, count)| (cause.to_owned(), count))
            .collect(),
        restarts: server.restarts(),
        passthrough: server.is_passthrough(),
        containers,
    }
}

/// Serves the metrics text to whoever connects: plain, or by HTTP if that is asked for.
pub fn spawn_metrics(server: Arc<Server>, listener: OwnedFd) -> Result<()> {
    thread::Builder::new()
        .name("metrics".into())
        .spawn(move || {
            loop {
                let Ok(peer) = linux::socket::accept(&listener) else { continue };
                let _ = scrape(&server, &peer);
            }
        })
        .context("start thread metrics")?;
    Ok(())
}

fn scrape(server: &Server, peer: &OwnedFd) -> rustix::io::Result<()> {
    const SILENCE: Duration = Duration::from_millis(100);
    let text = server.metrics_text();
    let mut request = [0; 1024];
    let span = rustix::event::Timespec::try_from(SILENCE).ok();
    let mut poll = [rustix::event::PollFd::new(peer, rustix::event::PollFlags::IN)];
    let asked = rustix::event::poll(&mut poll, span.as_ref())? > 0;
    let got = if asked { rustix::io::read(peer, &mut request)? } else { 0 };
    let mut reply = String::new();
    if request[..got].starts_with(b"GET ") {
        reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            text.len()
        );
    }
    reply.push_str(&text);
    let mut rest = reply.as_bytes();
    while !rest.is_empty() {
        let flags = rustix::net::SendFlags::NOSIGNAL;
        let sent = rustix::net::send(peer, rest, flags)?;
        rest = &rest[sent..];
    }
    Ok(())
}

fn patience(peer: &OwnedFd, limit: Duration) -> linux::Result<()> {
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    for timeout in [Timeout::Recv, Timeout::Send] {
        linux::Context::during(
            set_socket_timeout(peer, timeout, Some(limit)),
            || "set a socket's timeout",
        )?;
    }
    Ok(())
}

/// Asks the daemon whose control socket is at `path`.
pub fn ask(path: &Path, request: &Request) -> linux::Result<(Response, Vec<OwnedFd>)> {
    ask_within(path, request, PATIENCE)
}

/// The same, for as long as it takes up to `limit`: `EAGAIN` then.
pub fn ask_within(
    path: &Path,
    request: &Request,
    limit: Duration,
) -> linux::Result<(Response, Vec<OwnedFd>)> {
    let socket = linux::socket::connect(path, linux::socket::Kind::SeqPacket)?;
    patience(&socket, limit.max(Duration::from_millis(1)))?;
    orders::send(&socket, request, &[])?;
    orders::receive(&socket, 3)?.ok_or_else(|| {
        linux::Error::new(format!("ask {}", path.display()), linux::Errno::CONNRESET)
    })
}
