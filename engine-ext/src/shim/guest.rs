//! The container as the supervisor sees it: the one file that speaks to the runtime.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Context, Result};
use container::state::Lease;
use container::{Config, Container};
use linux::cgroup::Cgroup;
use linux::process::{Pid, PidFd, Signal};
use oci_spec::runtime::Spec;
use runtime::{CreateRequest, Exec, ExecRequest, Runtime, Stdio};

use super::protocol::Size;
use super::restart::Reason;
use super::stdio::Streams;
use crate::prepare::bridge;

/// A container's bundle and who runs it.
#[derive(Debug)]
pub(super) struct Guest {
    runtime: Runtime,
    id: String,
    container: Container,
}

/// Its init.
#[derive(Debug)]
pub(super) struct Init {
    pub(super) pid: Pid,
    pub(super) pidfd: PidFd,
    pub(super) start_time: Option<u64>,
    pub(super) since: Instant,
    /// Where it began; a system container's systemd moves on, down from there.
    cgroup: Option<Cgroup>,
}

/// The container's program could not be executed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct NotExecuted(#[from] runtime::Error);

impl Guest {
    pub(super) fn new(runtime: Runtime, container: &Container) -> Self {
        Self { runtime, id: container.id.to_string(), container: container.clone() }
    }

    pub(super) fn container(&self) -> &Container {
        &self.container
    }

    /// From the bundle, whose document is `spec`, to a running init. When it fails nothing is left.
    pub(super) fn start(
        &self,
        config: &Config,
        spec: Spec,
        size: Option<Size>,
        lease: Option<&Lease>,
    ) -> Result<(Init, Streams)> {
        let started = self.try_start(config, spec, size, lease);
        if started.is_err() {
            // The first error is the one to report; what cannot be deleted here is found and
            // deleted by the next start.
            let _ = self.delete(None);
        }
        started
    }

    fn try_start(
        &self,
        config: &Config,
        spec: Spec,
        size: Option<Size>,
        lease: Option<&Lease>,
    ) -> Result<(Init, Streams)> {
        let mut request = CreateRequest::new(&self.id, &self.container.dir);
        let pipes = match config.process.tty {
            true => None,
            false => Some(Streams::of_pipes(config.process.open_stdin)?),
        };
        if let Some((_, guest)) = &pipes {
            request.stdio = Stdio::Use {
                stdin: guest.stdin.as_fd(),
                stdout: guest.stdout.as_fd(),
                stderr: guest.stderr.as_fd(),
            };
        }
        request.spec = Some(spec);
        let created = self.runtime.create(request)?;
        if let Some(lease) = lease {
            bridge::attach(lease, created.pid)?;
        }
        let streams = match pipes {
            Some((streams, _guest)) => streams,
            None => {
                let master = created.console.context("the runtime gave no terminal")?;
                Streams::of_terminal(master, size)?
            }
        };
        let init = Init {
            start_time: created.start_time,
            cgroup: created.cgroup,
            pid: created.pid,
            pidfd: created.pidfd,
            since: Instant::now(),
        };
        self.runtime.start(&self.id).map_err(NotExecuted)?;
        Ok((init, streams))
    }

    /// Runs a further process in it.
    pub(super) fn exec(&self, request: &ExecRequest<'_>) -> Result<Exec> {
        Ok(self.runtime.exec(&self.id, request)?)
    }

    pub(super) fn kill_all(&self) -> Result<()> {
        Ok(self.runtime.kill(&self.id, Signal::KILL, true)?)
    }

    /// Clears away what a run left: processes, cgroup, runtime state; runs the poststop hooks, who
    /// hear whether the guest is about to come back.
    pub(super) fn delete(&self, reason: Option<Reason>) -> Result<()> {
        let action = if reason == Some(Reason::Reboot) { "reboot" } else { "shutdown" };
        let told = [format!("CONTAINER_ACTION={action}")];
        Ok(self.runtime.delete_telling(&self.id, true, &told)?)
    }
}

impl Init {
    pub(super) fn freeze(&self) -> Result<()> {
        Ok(self.cgroup()?.freeze()?)
    }

    pub(super) fn thaw(&self) -> Result<()> {
        Ok(self.cgroup()?.thaw()?)
    }

    /// Pids of everything in it, as the host counts.
    pub(super) fn pids(&self) -> Vec<Pid> {
        self.cgroup().and_then(|cgroup| Ok(cgroup.procs()?)).unwrap_or_default()
    }

    fn cgroup(&self) -> Result<&Cgroup> {
        self.cgroup.as_ref().context("the container's cgroup was not found at its start")
    }

    /// Whether the kernel has killed something of it for memory. To be asked before its cgroup
    /// goes.
    pub(super) fn was_oom_killed(&self) -> bool {
        let events = self.cgroup.as_ref().and_then(|cgroup| cgroup.memory_events().ok());
        events.is_some_and(|events| events.oom_kills > 0)
    }
}

/// What a caller ends with when the container's process never ran: as a shell has it, 127 for a
/// program that is not there, 126 for one that cannot be executed; 125 is ours.
pub(super) fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(NotExecuted(error)) = error.downcast_ref() {
        return if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
    }
    match error.downcast_ref::<runtime::Error>() {
        Some(runtime::Error::Child { kind: ErrorKind::NotFound, .. }) => 127,
        Some(runtime::Error::Child { kind: ErrorKind::PermissionDenied, .. }) => 126,
        _ => 125,
    }
}
