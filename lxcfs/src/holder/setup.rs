//! What a holder needs before it can hold: the lock, its sockets, the connection.

use std::{os::fd::OwnedFd, path::Path};

use anyhow::{Context as _, Result, bail};
use linux::{
    lock::Lock,
    process::{Pid, PidFd},
    signal::Signal,
    socket::{self, Kind},
};

use super::START;
use crate::{
    connection::{self, Devices},
    control::{self, Request, Response},
    orders::Options,
    state, systemd,
};

/// The pid file is also the lock: a second daemon on it is refused.
pub(super) fn lock(path: &Path) -> Result<Lock> {
    let Some(lock) = Lock::try_exclusive(path)? else {
        let holder = linux::lock::holder(path)
            .map_or_else(|| "another process".to_owned(), |pid| format!("pid {pid}"));
        bail!(
            "lock {}: held by {holder}; end that daemon, or give this one its own --pidfile and \
             --runtime-dir",
            path.display()
        );
    };
    let own = format!("{}\n", Pid::current());
    // Not by rename: the lock is on this very file.
    std::fs::write(path, own).with_context(|| format!("write {}", path.display()))?;
    Ok(lock)
}

/// Makes a directory and those above it.
pub(super) fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))
}

/// A listening socket at `path`.
pub(super) fn listen(path: &Path, kind: Kind) -> Result<OwnedFd> {
    // Left by a daemon that was killed: we have the lock, so nobody listens there any more.
    match rustix::fs::unlink(path) {
        Ok(()) | Err(linux::Errno::NOENT) => {}
        Err(errno) => {
            return Err(linux::Error::new(format!("remove {}", path.display()), errno).into());
        }
    }
    Ok(socket::listen(path, kind)?)
}

/// The connection and the state: what the service manager kept, what the worker of a holder that
/// was killed still has, or new ones.
pub(super) fn connection(options: &Options) -> Result<(Devices, OwnedFd)> {
    if let Some(stored) = systemd::stored()? {
        tracing::info!("connection taken over from the service manager");
        return Ok(stored);
    }
    match control::ask(&options.control(), &Request::Handover) {
        Ok((Response::Handover { mount, pid }, fds)) if mount == options.mount => {
            if let Ok([live, kept, memory]) = <[OwnedFd; 3]>::try_from(fds) {
                end_orphan(pid)?;
                let devices = Devices { live, kept };
                devices.resend()?;
                tracing::info!(pid, "connection taken over from a worker without a holder");
                return Ok((devices, memory));
            }
        }
        Ok((Response::Handover { mount, pid }, _)) => bail!(
            "start at {}: worker {pid} of an earlier daemon serves {}; give this one its own \
             --runtime-dir",
            options.mount.display(),
            mount.display()
        ),
        Ok((response, _)) => tracing::warn!(?response, "a worker would not hand over"),
        Err(_) => {}
    }
    let kept = connection::mount(&options.kept())?;
    Ok((Devices { live: connection::mount(&options.mount)?, kept }, state::create()?))
}

fn end_orphan(pid: i32) -> Result<()> {
    let Some(pid) = Pid::new(pid) else { return Ok(()) };
    let Ok(process) = PidFd::open(pid) else { return Ok(()) };
    process.signal(Signal::KILL)?;
    if !process.exits_within(Some(START))? {
        bail!("end worker {pid} of an earlier daemon: it does not end");
    }
    Ok(())
}
