//! Removes every trace of a container. Its rootfs is not ours and stays.

use anyhow::{Context, Result, bail};
use container::{Config, Container, Status, Store};
use linux::process::Signal;

use super::{Engine, Stop, stop, takeover, volumes};
use crate::events::Events;
use crate::prepare::host_channel;

/// How it is removed.
#[derive(Debug, Clone, Copy)]
pub struct Remove {
    /// It is killed first.
    pub force: bool,
    /// The volumes that were made for it go with it.
    pub volumes: bool,
}

/// Removes it.
pub fn remove(engine: &Engine, container: &Container, remove: Remove) -> Result<()> {
    let Remove { force, volumes } = remove;
    match container.state()?.status {
        status if force && status.is_live() => {
            stop(engine, container, Stop { timeout: 0, force: true })?;
            // One of `run --rm` is gone by now.
            if engine.store.get(&container.id).is_err() {
                return Ok(());
            }
        }
        Status::Created | Status::Stopped => {}
        Status::Paused => bail!(
            "You cannot remove a paused container {}. Unpause and then stop the container before \
             attempting removal or use -f",
            container.id
        ),
        Status::Running | Status::Starting | Status::Restarting => bail!(
            "You cannot remove a running container {}. Stop the container before attempting \
             removal or use -f",
            container.id
        ),
    }
    let seized = takeover::seize(container)?;
    // Under our lock there is no shim; but one that was killed may have left its init.
    if !force && takeover::living_init(&container.saved_state()?)?.is_some() {
        bail!("container {} has been started meanwhile; use -f", container.id.short());
    }
    takeover::end_seized(engine, container, &seized, Signal::KILL, None)?;
    take_away(&engine.store, container, &container.config()?, volumes)?;
    tracing::info!(container = %container.id, "removed container");
    Ok(())
}

/// The files of a container that has ended; for the holder of its lock.
pub fn take_away(
    store: &Store,
    container: &Container,
    config: &Config,
    volumes: bool,
) -> Result<()> {
    if let Some(channel) = &config.host_channel {
        host_channel::remove(channel, config)?;
    }
    store.remove(container).context("remove the container's files")?;
    Events::of(store.layout()).add(config, "remove", &[]);
    match volumes {
        true => volumes::remove_anonymous(store, config),
        false => Ok(()),
    }
}
