//! Speaks for a person or a pipeline with a container's console.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Result;

use super::detach::DetachKeys;
use crate::shim::protocol::{Attach, Request};
use crate::shim::transport;

/// How a session behaves on this side.
#[derive(Debug, Clone)]
pub struct AttachOptions {
    /// Our terminal becomes the container's: raw mode, window size, detach keys.
    pub tty: bool,
    /// Read our stdin.
    pub stdin: bool,
    pub detach_keys: DetachKeys,
    /// Where SIGINT, SIGTERM, SIGHUP and SIGQUIT go: to the container, instead of ending us.
    pub forward_signals: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// The container ended with this code.
    Exited(i32),
    /// The detach keys were typed, or there is nobody left to read.
    Detached,
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
    use std::os::fd::AsFd;
    let request = serde_json::to_vec(&Request::Attach(*attach))?;
    transport::send(connection.as_fd(), &request)?;
    Ok(())
}
