//! From a container that stands still to one that runs, and to whoever watches it.

use anyhow::{Context, Result, bail};
use container::{Container, Status};
use linux::process::Signal;

use super::{Engine, shown, takeover};
use crate::attach::client::{self, AttachOptions, ExitReason};
use crate::attach::detach::DetachKeys;
use crate::shim::client::{Launch, Readiness, TookTooLong, launch};
use crate::shim::protocol::Attach;

/// How it is started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start {
    /// Stay with its console until it ends.
    pub foreground: Option<Foreground>,
    /// Return when the guest says that it is up.
    pub wait: bool,
}

/// A person or a pipeline in front of it.
#[derive(Debug, Clone, Copy)]
pub struct Foreground {
    /// Its stdio is a terminal, and so is ours.
    pub tty: bool,
    /// Read our stdin.
    pub stdin: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It runs in the background.
    Runs,
    /// It ended with this code while we were there.
    Ended(i32),
    /// The console was left; it runs on.
    Left,
}

/// Starts it. A container that runs already stays as it is.
pub fn start(engine: &Engine, container: &Container, start: Start) -> Result<Outcome> {
    let config = container.config()?;
    match container.state()?.status {
        Status::Paused => bail!("Cannot start a paused container, try unpause instead."),
        Status::Running | Status::Starting => return Ok(Outcome::Runs),
        Status::Restarting => bail!(
            "container {} is about to restart; to start it at once, stop it first: isula stop {0}",
            shown(&config)
        ),
        Status::Created | Status::Stopped => {}
    }
    container.make_state_dir()?;
    let session =
        start.foreground.map(|foreground| client::pair(&attach(foreground))).transpose()?;
    let (ours, theirs) = session.map_or((None, None), |(ours, theirs)| (Some(ours), Some(theirs)));
    let layout = engine.store.layout();
    let launched = launch(Launch {
        program: &engine.shim,
        root: layout.root(),
        state: layout.state(),
        id: container.id.as_str(),
        attach: theirs,
        limit: engine.start_timeout,
    });
    if launched.as_ref().is_err_and(|error| error.is::<TookTooLong>()) {
        takeover::end(engine, container, Signal::KILL, None)?;
    }
    let mut started = launched?;
    tracing::info!(container = %container.id, pid = started.pid, "started container");
    if start.wait {
        match started.wait_ready()? {
            Readiness::Ready => {}
            Readiness::Exited(code) => {
                bail!("the container ended with code {code} before it was ready")
            }
        }
    }
    let (Some(connection), Some(foreground)) = (ours, start.foreground) else {
        return Ok(Outcome::Runs);
    };
    let end = client::run(connection, options(foreground)).context("attach")?;
    outcome(container, end)
}

fn attach(foreground: Foreground) -> Attach {
    Attach {
        stdin: foreground.stdin,
        stdout: true,
        stderr: true,
        // Every byte was and will be said to us.
        replay: false,
        // A pipeline's reader holds its writer; a person's terminal does not.
        lossless: !foreground.tty,
    }
}

fn options(foreground: Foreground) -> AttachOptions {
    AttachOptions {
        tty: foreground.tty,
        stdin: foreground.stdin,
        detach_keys: if foreground.tty { DetachKeys::default() } else { DetachKeys::none() },
        // With a terminal, ctrl-c is a byte for the guest; without, it is a signal to us.
        forward_signals: !foreground.tty,
    }
}

/// What the end of a console session means for the command.
pub(crate) fn outcome(container: &Container, end: ExitReason) -> Result<Outcome> {
    match end {
        ExitReason::Exited(code) => Ok(Outcome::Ended(code)),
        ExitReason::Detached => Ok(Outcome::Left),
        // What a shell says of a command that a signal ended.
        ExitReason::Interrupted(signal) => Ok(Outcome::Ended(128 + signal.get())),
        ExitReason::Lost => {
            let state = container.state().context("the shim has gone")?;
            match state.status.is_live() {
                true => {
                    bail!("the shim has gone; the container runs on: isula stop {}", container.id)
                }
                false => Ok(Outcome::Ended(state.exit_code)),
            }
        }
    }
}
