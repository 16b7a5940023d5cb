//! The container that a command names, and where it stands.

use std::path::{Path, PathBuf};

use container::layout::bundle;
use container::{Container, OciState, Running, Standing, Store};
use linux::process::Pid;

use crate::engine::{self, Engine, Foreign};
use crate::error::{Error, Result, io};
use crate::nic::Links;

/// Where records of containers are that are not isula's.
pub const RECORDS: &str = "/var/lib/syscontainer";

/// Where containers are looked for.
#[derive(Debug, Clone)]
pub struct Places {
    /// isula's.
    pub store: Store,
    /// Whose are meant.
    pub engine: Engine,
    /// The directory below which other engines' files are; `/` but in tests.
    pub host: PathBuf,
    /// Where records of other engines' containers are.
    pub records: PathBuf,
    /// What is known of the host's links that containers have.
    pub links: Links,
    /// Where changes are written down for whoever reads the journal.
    pub journal: PathBuf,
    /// A process that is the container's init, instead of looking.
    pub pid: Option<Pid>,
    /// Its bundle.
    pub bundle: Option<PathBuf>,
}

/// One container, found.
#[derive(Debug)]
pub struct Target {
    /// As it was typed.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Where its record is.
    pub dir: PathBuf,
    pub(crate) links: Links,
    pub(crate) journal: PathBuf,
    whose: Whose,
}

#[derive(Debug)]
enum Whose {
    Isula(Container),
    Foreign(Foreign),
    Process { pid: Pid, bundle: Option<PathBuf> },
}

impl Target {
    /// The container that `name` means: an id, a name, or the beginning of an id.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn find(places: &Places, name: &str) -> Result<Self> {
        if let Some(pid) = places.pid {
            return Self::of_process(places, name, pid);
        }
        let isula = match places.engine {
            Engine::Auto | Engine::Isula => places.store.find(name),
            _ => Err(container::Error::NotFound(name.to_owned())),
        };
        let container = match isula {
            Err(container::Error::NotFound(_)) if places.engine != Engine::Isula => {
                return match engine::find(places.engine, &places.host, name) {
                    // In the words of the engine that is ours.
                    Err(Error::NotFound(text))
                        if places.engine == Engine::Auto && !text.contains("candidates") =>
                    {
                        Err(container::Error::NotFound(name.to_owned()).into())
                    }
                    found => Self::of_foreign(places, name, found?),
                };
            }
            found => found?,
        };
        Ok(Self {
            name: name.to_owned(),
            id: container.id.to_string(),
            dir: container.dir.clone(),
            links: places.links.clone(),
            journal: places.journal.clone(),
            whose: Whose::Isula(container),
        })
    }

    fn of_foreign(places: &Places, name: &str, foreign: Foreign) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            id: foreign.id.clone(),
            dir: record_of(&places.records, &foreign.id)?,
            links: places.links.clone(),
            journal: places.journal.clone(),
            whose: Whose::Foreign(foreign),
        })
    }

    fn of_process(places: &Places, name: &str, pid: Pid) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
            return Err(Error::Usage(format!(
                "--pid: {name:?} cannot name a record; use letters, digits, _, . and -"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            id: name.to_owned(),
            dir: record_of(&places.records, name)?,
            links: places.links.clone(),
            journal: places.journal.clone(),
            whose: Whose::Process { pid, bundle: places.bundle.clone() },
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
        match &self.whose {
            Whose::Isula(container) => Ok(Running::of(container)?),
            Whose::Foreign(foreign) => foreign.standing(),
            Whose::Process { pid, bundle } => {
                Ok(Running::of_process(&self.id, *pid, None, bundle.as_deref())?)
            }
        }
    }
}

/// The directory of a record that no engine keeps for us.
fn record_of(records: &Path, id: &str) -> Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let dir = records.join(id);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|error| io(format!("make {}", dir.display()), &error))?;
    Ok(dir)
}

/// Where the record of the container is whose hook reads `state`: in its bundle if it is isula's,
/// else below `records` by its id. `None`: nothing was ever recorded.
#[must_use]
pub fn record_dir(state: &OciState, records: &Path) -> Option<PathBuf> {
    let is_ours = state.bundle.join(bundle::CONFIG).exists();
    let dir = if is_ours { state.bundle.clone() } else { records.join(&state.id) };
    dir.is_dir().then_some(dir)
}
