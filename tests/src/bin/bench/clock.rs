//! How long a command takes, and nothing of what looking at it takes: its end is waited for, not
//! looked for, and what it says goes nowhere.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::Call;

/// The command with its streams led nowhere.
pub(crate) fn quiet(call: &Call) -> std::process::Command {
    let mut command = call.command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Milliseconds from starting it to its end.
pub(crate) fn timed(call: &Call) -> Result<f64> {
    let started = Instant::now();
    let status = quiet(call).status().context("start it")?;
    let elapsed = started.elapsed();
    ensure!(status.success(), "{status}: {}", tests::command::show(call.argv()));
    Ok(milliseconds(elapsed))
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
