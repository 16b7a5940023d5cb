//! The order of things: one file a use case, each a list of steps from top to bottom.

mod copy;
mod create;
pub mod exec;
mod export;
mod kill;
mod pause;
mod remove;
mod start;
mod stop;
mod takeover;
mod update;
pub mod volumes;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use container::{Config, Store};
use linux::process::Pid;
use runtime::{Foreign, Runtime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use copy::{Copy, copy_in, copy_out};
pub use create::create;
pub use export::export;
pub use kill::kill;
pub use pause::{pause, unpause};
pub use remove::{Remove, remove, take_away};
pub(crate) use start::outcome;
pub use start::{Foreground, Outcome, Start, start};
pub use stop::{Stop, stop};
pub use update::update;
pub use wait::wait;

use crate::events::Events;

/// What every use case works with.
#[derive(Debug, Clone)]
pub struct Engine {
    pub store: Store,
    /// The `isula-shim` program.
    pub shim: PathBuf,
    /// How long a start may take.
    pub start_timeout: Option<Duration>,
}

impl Engine {
    /// Notes for `isula events` that something was done to a container.
    pub(crate) fn tell(&self, config: &Config, action: &str, further: &[(&str, &str)]) {
        Events::of(self.store.layout()).add(config, action, further);
    }

    /// The runtime of a container, as its shim uses it.
    pub fn runtime(&self, config: &Config) -> Runtime {
        runtime_of(&self.store, config)
    }
}

/// The time as records have it.
pub(crate) fn now() -> Result<String> {
    OffsetDateTime::now_utc().format(&Rfc3339).context("write the time")
}

/// Our own runtime, or the one that was asked for.
pub(crate) fn runtime_of(store: &Store, config: &Config) -> Runtime {
    let layout = store.layout();
    let foreign = config.runtime.as_ref().map(|asked| Foreign {
        name: asked.name.clone(),
        program: asked.path.clone(),
        args: asked.args.clone(),
    });
    Runtime::new(layout.runtime())
        .with_seccomp_cache(layout.state().join("seccomp"))
        .with_foreign(foreign)
}

/// What the runtime of a container is called.
pub fn runtime_name(config: &Config) -> &str {
    config.runtime.as_ref().map_or("isula", |runtime| &runtime.name)
}

/// The name if it has one, else the id.
pub fn shown(config: &container::Config) -> &str {
    let name = config.name.as_str();
    if name == config.id.as_str() { config.id.short() } else { name }
}

/// The init of a container that has one.
fn init(state: &container::State) -> Option<(Pid, u64)> {
    let init = (Pid::new(state.pid?)?, state.start_time?);
    state.is_of_this_boot().then_some(init)
}
