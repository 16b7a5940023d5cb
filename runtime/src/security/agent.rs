//! The seccomp agent: the process behind `linux.seccomp.listenerPath` that decides system calls.
//!
//! It gets one message: the container process state of the runtime specification as JSON, and with
//! it the listener's descriptor. The connection is made by the parent, on the host; the message is
//! sent by the filtered process itself, so a profile that puts sendmsg(2) under notification could
//! never start and is refused.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::socket::{self, Kind};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};
use serde::Serialize;

use super::seccomp;
use crate::error::During as _;
use crate::{Error, Result, State};

/// The connection to an agent, and what it will be told.
#[derive(Debug)]
pub(super) struct Agent {
    socket: OwnedFd,
    metadata: Option<String>,
    state: State,
}

/// The container process state (runtime-spec config-linux.md, "Seccomp").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a State,
}

/// Connects to the agent that `profile` names, if it leaves decisions to one.
pub(super) fn connect(profile: &LinuxSeccomp, state: &State) -> Result<Option<Agent>> {
    let path = profile.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty());
    let refuse =
        |member: &str, reason: &str| Err(Error::config(format!("linux.seccomp.{member}"), reason));
    let Some(path) = path else {
        if profile.listener_metadata().is_some() {
            return refuse("listenerMetadata", "needs listenerPath");
        }
        if seccomp::notifies(profile) {
            return refuse("syscalls", "SCMP_ACT_NOTIFY needs listenerPath");
        }
        return Ok(None);
    };
    // "If the SCMP_ACT_NOTIFY action is not used this value is ignored" (config-linux.md).
    if !seccomp::notifies(profile) {
        return Ok(None);
    }
    if asks_about_sending(profile) {
        return refuse(
            "syscalls",
            "sendmsg cannot have the action SCMP_ACT_NOTIFY: the listener itself is sent by it",
        );
    }
    let socket = socket::connect(path, Kind::Stream)
        .step(|| "reach the seccomp agent of linux.seccomp.listenerPath".into())?;
    let metadata = profile.listener_metadata().clone();
    Ok(Some(Agent { socket, metadata, state: state.clone() }))
}

fn asks_about_sending(profile: &LinuxSeccomp) -> bool {
    let mut action = profile.default_action();
    for rule in profile.syscalls().iter().flatten() {
        if rule.names().iter().any(|name| name == "sendmsg") {
            action = rule.action();
            if action == LinuxSeccompAction::ScmpActNotify {
                return true;
            }
        }
    }
    action == LinuxSeccompAction::ScmpActNotify
}

impl Agent {
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Hands `listener` over, from the filtered process, whose host pid is `pid`.
    pub(super) fn send(&self, listener: &OwnedFd, pid: i32) -> linux::Result<()> {
        let message = self.message(pid)?;
        socket::send_fds(&self.socket, &message, &[listener.as_fd()]).map(drop)
    }

    fn message(&self, pid: i32) -> linux::Result<Vec<u8>> {
        let mut state = self.state.clone();
        if state.pid == 0 {
            state.pid = pid;
        }
        let message = Message {
            oci_version: &self.state.oci_version,
            fds: ["seccompFd"],
            pid,
            metadata: self.metadata.as_deref(),
            state: &state,
        };
        serde_json::to_vec(&message).map_err(|_| {
            linux::Error::new("encode the container process state", linux::Errno::INVAL)
        })
    }
}

#[cfg(test)]
mod tests;
