//! Other limits and another restart policy, for this run and those to come.

use anyhow::{Context, Result, bail, ensure};
use container::config::{Resources, RestartPolicy};
use container::{Config, Container, Status};

use super::Engine;
use crate::host::Host;
use crate::prepare;
use crate::request::{Change, resources};
use crate::spec;

/// Sets what `change` names. First in the kernel, which may refuse, then in the file.
pub fn update(engine: &Engine, container: &Container, change: &Change) -> Result<()> {
    prepare::check_cpus(&change.resources)?;
    engine.store.amend(container, |config| {
        let status = container.state()?.status;
        check(config, status, change)?;
        let after = resources::changed(&config.resources, &change.resources)?;
        let changes = change.resources != Resources::default();
        if changes && matches!(status, Status::Running | Status::Paused) {
            apply(engine, container, &change.resources)?;
        }
        config.resources = after;
        config.restart = change.restart.unwrap_or(config.restart);
        engine.tell(config, "update", &[]);
        Ok(())
    })
}

fn check(config: &Config, status: Status, change: &Change) -> Result<()> {
    // Its shim has read the old limits and has not set them yet.
    ensure!(status != Status::Starting, "the container is on its way up; try again");
    if change.resources.kernel_memory.is_some() && status.is_live() {
        bail!("Can not update kernel memory to a running container, please stop it first");
    }
    if config.auto_remove && change.restart.is_some_and(|policy| policy != RestartPolicy::No) {
        bail!("Cannot update restart policy for the auto remove container {}", config.id);
    }
    Ok(())
}

fn apply(engine: &Engine, container: &Container, change: &Resources) -> Result<()> {
    // No device is named, so nothing of the host is needed.
    let mut limits = spec::limits(change, &Host::default())?;
    if let Some(mut memory) = *limits.memory() {
        // The v2 kernel would kill what does not fit.
        memory.set_check_before_update(change.memory.map(|_| true));
        limits.set_memory(Some(memory));
    }
    let runtime = engine.runtime(&container.config()?);
    runtime.update(container.id.as_str(), &limits).context("set the limits")
}
