//! The container that a command names, and where it stands.

use std::path::{Path, PathBuf};

use container::layout::bundle;
use container::{Container, OciState, Running, Standing, Store};

use crate::error::Result;

/// One container, found.
#[derive(Debug)]
pub struct Target {
    /// As it was typed.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Where its record is.
    pub dir: PathBuf,
    container: Container,
}

impl Target {
    /// The container that `name` means: an id, a name, or the beginning of an id.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn find(store: &Store, name: &str) -> Result<Self> {
        let container = store.find(name)?;
        Ok(Self {
            name: name.to_owned(),
            id: container.id.to_string(),
            dir: container.dir.clone(),
            container,
        })
    }

    /// The container, if it runs at this moment.
    ///
    /// # Errors
    /// What has its pid is not its init.
    pub fn running(&self) -> Result<Option<Box<Running>>> {
        match self.standing()? {
            Standing::Running(live) => Ok(Some(live)),
            Standing::Starting | Standing::Stopped => Ok(None),
        }
    }

    /// Where it stands at this moment.
    pub(crate) fn standing(&self) -> Result<Standing> {
        Ok(Running::of(&self.container)?)
    }
}

/// Where records of containers are that are not isula's.
pub const RECORDS: &str = "/var/lib/syscontainer";

/// Where the record of the container is whose hook reads `state`: in its bundle if it is isula's,
/// else below `records` by its id. `None`: nothing was ever recorded.
#[must_use]
pub fn record_dir(state: &OciState, records: &Path) -> Option<PathBuf> {
    let is_ours = state.bundle.join(bundle::CONFIG).exists();
    let dir = if is_ours { state.bundle.clone() } else { records.join(&state.id) };
    dir.is_dir().then_some(dir)
}
