//! Freezes and thaws.

use anyhow::{Result, bail};
use container::{Container, Status};

use super::Engine;
use crate::shim::client;

/// Freezes a running container.
pub fn pause(engine: &Engine, container: &Container) -> Result<()> {
    match container.state()?.status {
        Status::Running => {}
        Status::Paused => bail!("Container {} is already paused", container.id),
        _ => bail!("Container {} is not running", container.id),
    }
    if !client::pause(&container.state_dir)? {
        bail!("container {} has no shim; stop it: isula stop {0}", container.id.short());
    }
    engine.tell(&container.config()?, "pause", &[]);
    Ok(())
}

/// Thaws a frozen one.
pub fn unpause(engine: &Engine, container: &Container) -> Result<()> {
    if container.state()?.status != Status::Paused {
        bail!("Container {} is not paused", container.id);
    }
    if !client::resume(&container.state_dir)? {
        bail!("container {} has no shim; stop it: isula stop {0}", container.id.short());
    }
    engine.tell(&container.config()?, "unpause", &[]);
    Ok(())
}
