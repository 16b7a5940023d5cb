//! Finds, makes and removes containers.
//!
//! A container exists from the moment `container.json` does. Before that its directory is a
//! reservation, alive while its maker holds a flock on it; a maker that was killed leaves one
//! that nobody holds, and the next `reserve` clears it away. Names are symbolic links, because
//! symlink(2) makes name and content in one step.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::file::{self, During};
use crate::id::{ContainerId, ContainerName, is_hex};
use crate::layout::{Layout, bundle, running};
use crate::state::State;

const DIRECTORY_MODE: u32 = 0o750;
const STATE_MODE: u32 = 0o700;

/// The containers below one [`Layout`].
#[derive(Debug, Clone)]
pub struct Store {
    layout: Layout,
}

/// One container of a [`Store`].
#[derive(Debug, Clone)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its bundle.
    pub dir: PathBuf,
    /// Where its shim is met; there while it runs.
    pub state_dir: PathBuf,
}

/// An id and a name nobody else can take. Dropped, both are free again; [`Self::commit`]ted, they
/// are a container.
#[derive(Debug)]
pub struct Reservation {
    store: Store,
    container: Container,
    name: ContainerName,
    committed: bool,
    /// Locked: says that this reservation has a living maker.
    _held: OwnedFd,
}

/// A container nobody else supervises, starts or removes while this lives.
#[derive(Debug)]
pub struct Seized(#[expect(dead_code, reason = "held for its lock")] OwnedFd);

impl Store {
    /// The containers below `root` and `state`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self { layout: Layout::new(root, state) }
    }

    /// Where everything is.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes a new id, and `name` for it (without one it is called by its id).
    pub fn reserve(&self, name: Option<&ContainerName>) -> Result<Reservation> {
        file::make_dir_all(&self.layout.bundles(), DIRECTORY_MODE)?;
        file::make_dir_all(&self.layout.names(), DIRECTORY_MODE)?;
        let _store = self.lock()?;
        self.clear_abandoned()?;

        let id = ContainerId::random().during(|| "read random numbers".into())?;
        let container = self.container(id);
        file::make_dir_all(&container.dir, DIRECTORY_MODE)?;
        let held = file::open_dir(&container.dir)?;
        file::lock(&held, FlockOperation::NonBlockingLockExclusive, &container.dir)?;
        let reservation = Reservation {
            store: self.clone(),
            name: name.cloned().unwrap_or_else(|| ContainerName::from(&container.id)),
            container,
            committed: false,
            _held: held,
        };
        if let Some(name) = name {
            self.take_name(name, &reservation.container.id)?;
        }
        Ok(reservation)
    }

    /// The container that `text` means: a full id, else a name, else the beginning of one id.
    pub fn find(&self, text: &str) -> Result<Container> {
        if let Ok(id) = text.parse::<ContainerId>()
            && let Some(container) = self.existing(id)
        {
            return Ok(container);
        }
        if let Ok(name) = text.parse::<ContainerName>()
            && let Some(id) = self.owner(&name)?
            && let Some(container) = self.existing(id)
        {
            return Ok(container);
        }
        let not_found = || Error::NotFound(text.to_owned());
        if !is_hex(text) {
            return Err(not_found());
        }
        let mut matching: Vec<Container> = self.list()?;
        matching.retain(|container| container.id.as_str().starts_with(text));
        if matching.len() > 1 {
            let mut candidates: Vec<String> = matching.iter().map(Container::shown).collect();
            candidates.sort_unstable();
            return Err(Error::Ambiguous { text: text.to_owned(), candidates });
        }
        matching.pop().ok_or_else(not_found)
    }

    /// The container of a full id.
    pub fn get(&self, id: &ContainerId) -> Result<Container> {
        self.existing(id.clone()).ok_or_else(|| Error::NotFound(id.to_string()))
    }

    /// All containers, in no order.
    pub fn list(&self) -> Result<Vec<Container>> {
        let ids = self.directories()?;
        Ok(ids.into_iter().filter_map(|id| self.existing(id)).collect())
    }

    /// Gives a container another name.
    pub fn rename(&self, container: &Container, new: &ContainerName) -> Result<()> {
        let _store = self.lock()?;
        let mut config = container.config()?;
        let old = config.name.clone();
        self.take_name(new, &container.id)?;
        config.name = new.clone();
        // From here on the new name counts: a link that the config does not confirm is stale.
        file::write_json(&container.config_path(), &config)?;
        self.drop_name(&old, &container.id)
    }

    /// Changes what was asked for and writes it, unless `change` fails. Nobody renames, changes or
    /// removes the container meanwhile.
    pub fn amend<E: From<Error>>(
        &self,
        container: &Container,
        change: impl FnOnce(&mut Config) -> Result<(), E>,
    ) -> Result<(), E> {
        let _store = self.lock()?;
        let before = container.config()?;
        let mut config = before.clone();
        change(&mut config)?;
        if config != before {
            file::write_json(&container.config_path(), &config)?;
        }
        Ok(())
    }

    /// Removes every trace of a container that does not run. Its rootfs is not ours.
    pub fn remove(&self, container: &Container) -> Result<()> {
        let _store = self.lock()?;
        let name = container.name();
        // First what makes it a container; the rest is cleared away even if we are killed here.
        remove_file(&container.config_path())?;
        if let Ok(name) = name {
            self.drop_name(&name, &container.id)?;
        }
        remove_files(container)
    }

    fn container(&self, id: ContainerId) -> Container {
        let dir = self.layout.bundle(&id);
        let state_dir = self.layout.container_state(&id);
        Container { id, dir, state_dir }
    }

    fn existing(&self, id: ContainerId) -> Option<Container> {
        let container = self.container(id);
        container.is_made().then_some(container)
    }

    fn lock(&self) -> Result<OwnedFd> {
        let path = self.layout.lock();
        let fd = file::open_lock(&path)?;
        file::lock(&fd, FlockOperation::LockExclusive, &path)?;
        Ok(fd)
    }

    fn directories(&self) -> Result<Vec<ContainerId>> {
        let path = self.layout.bundles();
        let act = || format!("list {}", path.display());
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(error).during(act),
        };
        let mut ids = vec![];
        for entry in entries {
            let name = entry.during(act)?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse::<ContainerId>().ok()));
        }
        Ok(ids)
    }

    /// The id that `name` points to, if anything stands behind it.
    fn owner(&self, name: &ContainerName) -> Result<Option<ContainerId>> {
        let link = self.layout.name(name);
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).during(|| format!("read {}", link.display())),
        };
        let Some(id) = target.to_str().and_then(|id| id.parse::<ContainerId>().ok()) else {
            return Ok(None);
        };
        let container = self.container(id);
        let confirmed = match container.name() {
            Ok(found) => found == *name,
            // In this order: a maker lets go of its lock only after its config is there.
            Err(_) if !container.is_made() => {
                container.is_reserved()? || container.name().is_ok_and(|found| found == *name)
            }
            Err(error) => return Err(error),
        };
        Ok(confirmed.then_some(container.id))
    }

    /// Under the store's lock.
    fn take_name(&self, name: &ContainerName, id: &ContainerId) -> Result<()> {
        if let Some(owner) = self.owner(name)? {
            return Err(Error::NameTaken { name: name.to_string(), id: owner.to_string() });
        }
        let link = self.layout.name(name);
        remove_file(&link)?;
        rustix::fs::symlink(id.as_str(), &link).during(|| format!("make {}", link.display()))
    }

    /// Under the store's lock.
    fn drop_name(&self, name: &ContainerName, id: &ContainerId) -> Result<()> {
        let link = self.layout.name(name);
        let ours = fs::read_link(&link).is_ok_and(|target| target == Path::new(id.as_str()));
        if ours { remove_file(&link) } else { Ok(()) }
    }

    /// Under the store's lock: what a killed `create` or `rm` left.
    fn clear_abandoned(&self) -> Result<()> {
        for id in self.directories()? {
            let container = self.container(id);
            // In this order: a maker lets go of its lock only after its config is there.
            if !container.is_reserved()? && !container.is_made() {
                remove_files(&container)?;
            }
        }
        Ok(())
    }
}

impl Reservation {
    /// The container that is being made.
    #[must_use]
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// The name it will have.
    #[must_use]
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Makes it a container. One that is removed at its end need not outlive the host's boot, and
    /// does not wait for the disk.
    pub fn commit(mut self, config: &Config) -> Result<Container> {
        let path = self.container.config_path();
        match config.auto_remove {
            true => file::write_json_for_this_boot(&path, config)?,
            false => file::write_json(&path, config)?,
        }
        self.committed = true;
        Ok(self.container.clone())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        // What cannot be removed here is cleared away by the next `reserve`.
        let _ = self.store.drop_name(&self.name, &self.container.id);
        let _ = remove_tree(&self.container.dir);
    }
}

impl Container {
    /// What was asked for.
    pub fn config(&self) -> Result<Config> {
        let path = self.config_path();
        file::read_json(&path)?.ok_or_else(|| Error::NotFound(self.id.to_string()))
    }

    /// Its name alone, which is all that it takes to find a container.
    fn name(&self) -> Result<ContainerName> {
        #[derive(serde::Deserialize)]
        struct Named {
            name: ContainerName,
        }
        let named: Option<Named> = file::read_json(&self.config_path())?;
        named.map(|named| named.name).ok_or_else(|| Error::NotFound(self.id.to_string()))
    }

    /// Changes what was asked for; for the holder of [`Self::seize`] or the shim's consent.
    pub fn save_config(&self, config: &Config) -> Result<()> {
        file::write_json(&self.config_path(), config)
    }

    /// What the shim wrote last, whether it lives or not.
    pub fn saved_state(&self) -> Result<State> {
        let path = self.dir.join(bundle::STATE);
        match file::read_json(&path) {
            // What is true for one boot only is not synced, and a power cut leaves nothing of it in
            // the file on some filesystems.
            Err(Error::Corrupt { .. }) if fs::metadata(&path).is_ok_and(|file| file.len() == 0) => {
                Ok(State::created().ended_unseen())
            }
            state => Ok(state?.unwrap_or_else(State::created)),
        }
    }

    /// Writes the state; for the shim, or whoever [`Self::seize`]d the container of a dead one.
    pub fn save_state(&self, state: &State) -> Result<()> {
        file::write_json(&self.dir.join(bundle::STATE), state)
    }

    /// What is true: the saved state, unless shim and init have both gone without a word
    /// (power cut, kill -9 of everything): then it ended, and nobody knows how.
    pub fn state(&self) -> Result<State> {
        let state = self.saved_state()?;
        if !state.status.is_live() || self.is_supervised()? || init_runs(&state) {
            return Ok(state);
        }
        // The shim may have written its last word between our two looks.
        let state = self.saved_state()?;
        if !state.status.is_live() {
            return Ok(state);
        }
        Ok(state.ended_unseen())
    }

    /// Whether a shim lives.
    pub fn is_supervised(&self) -> Result<bool> {
        let path = self.state_dir.join(running::SHIM_LOCK);
        if !path.exists() {
            return Ok(false);
        }
        let fd = file::open_lock(&path)?;
        // Shared, and gone at once: a shim that takes it waits that long.
        Ok(!file::lock(&fd, FlockOperation::NonBlockingLockShared, &path)?)
    }

    /// Takes the place of the shim; `None` while there is one.
    ///
    /// # Errors
    /// The container was removed meanwhile.
    pub fn seize(&self) -> Result<Option<Seized>> {
        file::make_dir_all(&self.state_dir, STATE_MODE)?;
        let path = self.state_dir.join(running::SHIM_LOCK);
        let fd = file::open_lock(&path)?;
        let taken = file::lock(&fd, FlockOperation::NonBlockingLockExclusive, &path)?;
        if taken && !self.is_made() {
            // Its last shim took it away; what has just been made would lead to none.
            remove_tree(&self.state_dir)?;
            return Err(Error::NotFound(self.id.to_string()));
        }
        Ok(taken.then_some(Seized(fd)))
    }

    /// Makes the directory in which its shim is met.
    pub fn make_state_dir(&self) -> Result<()> {
        file::make_dir_all(&self.state_dir, STATE_MODE)
    }

    /// A file of the bundle (see [`bundle`]).
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn config_path(&self) -> PathBuf {
        self.dir.join(bundle::CONFIG)
    }

    /// Whether it is a container. A power cut may leave an empty file of one that was to be removed
    /// at its end.
    fn is_made(&self) -> bool {
        fs::metadata(self.config_path()).is_ok_and(|file| file.len() > 0)
    }

    /// The name if it can be read, else the short id.
    fn shown(&self) -> String {
        match self.name() {
            Ok(name) if name.as_str() != self.id.as_str() => name.to_string(),
            _ => self.id.short().to_owned(),
        }
    }

    /// Whether somebody is making it right now.
    fn is_reserved(&self) -> Result<bool> {
        if !self.dir.exists() {
            return Ok(false);
        }
        let fd = file::open_dir(&self.dir)?;
        Ok(!file::lock(&fd, FlockOperation::NonBlockingLockShared, &self.dir)?)
    }
}

/// Whether the process of that pid is still the one that was started.
fn init_runs(state: &State) -> bool {
    if !state.is_of_this_boot() {
        return false;
    }
    let (Some(pid), Some(start_time)) = (state.pid, state.start_time) else { return false };
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The second field is in parentheses and may hold anything; the 22nd is the start time
    // (proc_pid_stat(5)), the third the state: a zombie does not run.
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_ascii_whitespace();
    !matches!(fields.next(), Some("Z" | "X"))
        && fields.nth(18).and_then(|field| field.parse().ok()) == Some(start_time)
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).during(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The directory that it is known by last: while it is there, the rest is found and cleared away.
fn remove_files(container: &Container) -> Result<()> {
    remove_tree(&container.state_dir)?;
    remove_tree(&container.dir)
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).during(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
