//! Before the start and after the end.

use std::path::Path;

use anyhow::{Context as _, Result};
use container::{OciState, Spec};
use syscontainer_tools::nic::Links;
use syscontainer_tools::privileges;
use syscontainer_tools::session::Session;
use syscontainer_tools::target::record_dir;

use crate::modules;

/// Modules first: a device may need one. Then everything that is recorded, or nothing of it.
pub(crate) fn prestart(
    state: &OciState,
    records: &Path,
    links: Links,
    modules_allow: &Path,
    journal: &Path,
) -> Result<()> {
    let spec = Spec::read(&state.bundle)?;
    modules::load(&spec, modules_allow)?;
    privileges::keep_needed()?;
    let Some(dir) = record_dir(state, records) else { return Ok(()) };
    let mut session = Session::of_hook(state, &dir, links, journal)?;
    session.replay().context("add what was recorded")
}

/// Links of the host's go home. What was half done to the life that ended is no matter any more.
pub(crate) fn poststop(state: &OciState, records: &Path, links: Links) -> Result<()> {
    privileges::keep_needed()?;
    let Some(dir) = record_dir(state, records) else { return Ok(()) };
    drop(Session::of_stopped(&state.id, &dir, links).context("return links")?);
    Ok(())
}
