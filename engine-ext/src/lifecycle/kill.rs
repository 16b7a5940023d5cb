//! One signal to the init.

use anyhow::{Result, bail};
use container::Container;
use linux::process::Signal;

use super::{Engine, takeover};
use crate::shim::client;

/// Sends `signal`; a restart that is due is cancelled.
pub fn kill(engine: &Engine, container: &Container, signal: Signal) -> Result<()> {
    let config = container.config()?;
    send(engine, container, signal)?;
    engine.tell(&config, "kill", &[("signal", &signal.to_string())]);
    Ok(())
}

fn send(engine: &Engine, container: &Container, signal: Signal) -> Result<()> {
    if !container.state()?.status.is_live() {
        bail!("Cannot kill container: Container {} is not running", container.id);
    }
    if client::kill(&container.state_dir, &signal.to_string())? {
        return Ok(());
    }
    if signal == Signal::KILL {
        takeover::end(engine, container, signal, None)?;
        return Ok(());
    }
    match takeover::living_init(&container.saved_state()?)? {
        Some(init) => Ok(init.signal(signal)?),
        None => bail!("Cannot kill container: Container {} is not running", container.id),
    }
}
