//! Programs that are not ours: ps(1), whose columns are its own business.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What `ps OPTION...` prints.
///
/// # Errors
/// It is not there, or does not take the options.
pub(crate) fn ps(options: &[String]) -> Result<String> {
    let output = Command::new("ps").args(options).output().context("run ps")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ps {}: {}", options.join(" "), stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
