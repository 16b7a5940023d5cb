//! Until a container is down for good.

use anyhow::Result;
use container::Container;

use super::takeover;
use crate::shim::client;

/// Its exit code, when it has ended.
pub fn wait(container: &Container) -> Result<i32> {
    if let Some(code) = client::wait(&container.state_dir)? {
        return Ok(code);
    }
    // No shim. It may be down, or its init may live on without one.
    let state = container.state()?;
    if state.status.is_live()
        && let Some(init) = takeover::living_init(&state)?
    {
        init.exits_within(None)?;
    }
    Ok(container.state()?.exit_code)
}
