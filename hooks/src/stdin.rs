//! The container's state, which the runtime writes to our stdin.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use container::OciState;

/// No state is longer.
const MAX: u64 = 1 << 20;

/// Reads and checks it.
pub(crate) fn state() -> Result<OciState> {
    let mut text = Vec::new();
    let stdin = std::io::stdin().lock();
    stdin.take(MAX + 1).read_to_end(&mut text).context("read stdin")?;
    ensure!(text.len() as u64 <= MAX, "read stdin: more than {MAX} bytes");
    Ok(OciState::parse(&text)?)
}
