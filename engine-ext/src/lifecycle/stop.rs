//! Ends a container the way its init understands.

use std::time::Duration;

use anyhow::Result;
use container::Container;
use linux::process::Signal;
use runtime::stop_signal::Init;

use super::{Engine, init, takeover};
use crate::shim::{client, protocol};

/// How it is ended.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// Seconds until everything is killed; negative is never.
    pub timeout: i64,
    /// At once.
    pub force: bool,
}

/// Stops it; one that is down stays as it is.
pub fn stop(engine: &Engine, container: &Container, stop: Stop) -> Result<()> {
    if !container.state()?.status.is_live() {
        return Ok(());
    }
    let config = container.config()?;
    let request = protocol::Stop {
        signal: None,
        timeout_ms: stop.timeout.saturating_mul(1000),
        force: stop.force,
    };
    if client::stop(&container.state_dir, &request)?.is_some() {
        tracing::info!(container = %container.id, "stopped container");
        engine.tell(&config, "stop", &[]);
        return Ok(());
    }
    let (signal, patience) = by_ourselves(container, stop)?;
    takeover::end(engine, container, signal, patience)?;
    tracing::warn!(container = %container.id, "stopped a container whose shim had gone");
    engine.tell(&config, "stop", &[]);
    Ok(())
}

/// What the shim would do.
fn by_ourselves(container: &Container, stop: Stop) -> Result<(Signal, Option<Duration>)> {
    let asked = container.config()?.stop_signal.and_then(|text| text.parse().ok());
    let fitting = || {
        let state = container.saved_state().ok()?;
        init(&state).map(|(pid, _)| Init::of(pid).stop_signal())
    };
    let signal = asked.or_else(fitting).unwrap_or(Signal::TERM);
    match u64::try_from(stop.timeout) {
        _ if stop.force => Ok((Signal::KILL, None)),
        Ok(0) => Ok((Signal::KILL, None)),
        Ok(seconds) => Ok((signal, Some(Duration::from_secs(seconds)))),
        Err(_) => Ok((signal, None)),
    }
}
