//! Volumes: directories that outlive the containers that use them.
//!
//! ```text
//! <root>/volumes/<name>/
//!   volume.json               the volume exists while this does
//!   _data/                    what containers see of it
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file::{self, During};
use crate::id::{ContainerId, is_name};
use crate::layout::Layout;

/// The version of the file format.
const VERSION: u32 = 1;
/// Nobody but root gets here past a container.
const DIRECTORY_MODE: u32 = 0o700;
const DATA_MODE: u32 = 0o755;

/// The name of a volume, which has the grammar of a container's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

/// Text that is no name of a volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid volume name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed.")]
pub struct InvalidVolumeName(String);

impl VolumeName {
    /// A name for a volume that was given none.
    pub fn random() -> rustix::io::Result<Self> {
        Ok(Self(ContainerId::random()?.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VolumeName {
    type Err = InvalidVolumeName;

    fn from_str(text: &str) -> Result<Self, InvalidVolumeName> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(InvalidVolumeName(text.into())) }
    }
}

impl TryFrom<String> for VolumeName {
    type Error = InvalidVolumeName;

    fn try_from(text: String) -> Result<Self, InvalidVolumeName> {
        text.parse()
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Version of this format.
    pub version: u32,
    /// Its name.
    pub name: VolumeName,
    /// When it was made, RFC 3339.
    pub created: String,
    /// It was made for a container that gave it no name, and goes with that if asked to.
    pub anonymous: bool,
    /// Words for people.
    pub labels: BTreeMap<String, String>,
}

impl Volume {
    /// One that is about to be made.
    #[must_use]
    pub fn new(name: VolumeName, created: String) -> Self {
        Self { version: VERSION, name, created, anonymous: false, labels: BTreeMap::new() }
    }
}

/// The volumes below one [`Layout`].
#[derive(Debug, Clone)]
pub struct Volumes {
    directory: PathBuf,
}

/// Nobody makes or removes a volume, or a container that uses one, while this lives.
#[derive(Debug)]
pub struct Unchanged(#[expect(dead_code, reason = "held for its lock")] OwnedFd);

impl Volumes {
    /// The volumes below `layout`.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self { directory: layout.volumes() }
    }

    /// Waits until nobody else changes them.
    pub fn lock(&self) -> Result<Unchanged> {
        file::make_dir_all(&self.directory, DIRECTORY_MODE)?;
        let path = self.directory.join(".lock");
        let fd = file::open_lock(&path)?;
        file::lock(&fd, FlockOperation::LockExclusive, &path)?;
        Ok(Unchanged(fd))
    }

    /// The volume of a name, which has to be there.
    pub fn find(&self, name: &str) -> Result<Volume> {
        let no_volume = || Error::NoVolume(name.to_owned());
        let name = name.parse().map_err(|_| no_volume())?;
        self.get(&name)?.ok_or_else(no_volume)
    }

    /// The volume of a name.
    pub fn get(&self, name: &VolumeName) -> Result<Option<Volume>> {
        file::read_json(&self.document(name))
    }

    /// All volumes, by name.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let act = || format!("list {}", self.directory.display());
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.during(act)?,
        };
        let mut volumes = vec![];
        for entry in entries {
            let name = entry.during(act)?.file_name();
            let name = name.to_str().and_then(|name| name.parse::<VolumeName>().ok());
            if let Some(name) = name {
                volumes.extend(self.get(&name)?);
            }
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Makes `volume` unless there is one of its name; `fill` puts into it what it begins with. It
    /// is a volume once that is done: of a maker who fails or is killed nothing counts. Whether it
    /// was made.
    pub fn make<E: From<Error>>(
        &self,
        volume: &Volume,
        unchanged: &Unchanged,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<bool, E> {
        if self.get(&volume.name)?.is_some() {
            return Ok(false);
        }
        // What lies there was left by somebody who was killed.
        self.remove(&volume.name, unchanged)?;
        let data = self.data(&volume.name);
        file::make_dir_all(&self.directory.join(&volume.name.0), DIRECTORY_MODE)?;
        file::make_dir_all(&data, DATA_MODE)?;
        let filled =
            fill(&data).and_then(|()| Ok(file::write_json(&self.document(&volume.name), volume)?));
        if filled.is_err() {
            // The error that matters is the one being returned.
            let _ = self.remove(&volume.name, unchanged);
        }
        filled.map(|()| true)
    }

    /// Removes a volume and what is in it.
    pub fn remove(&self, name: &VolumeName, _unchanged: &Unchanged) -> Result<()> {
        let document = self.document(name);
        let act = || format!("remove {}", document.display());
        match fs::remove_file(&document) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).during(act),
            _ => {}
        }
        let directory = self.directory.join(&name.0);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).during(|| format!("remove {}", directory.display()))
            }
            _ => Ok(()),
        }
    }

    /// What containers see of it.
    #[must_use]
    pub fn data(&self, name: &VolumeName) -> PathBuf {
        self.directory.join(&name.0).join("_data")
    }

    fn document(&self, name: &VolumeName) -> PathBuf {
        self.directory.join(&name.0).join("volume.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_made_once_and_removed_whole() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = Volumes::of(&Layout::new(directory.path(), directory.path()));
        assert_eq!(volumes.list().unwrap(), []);
        let lock = volumes.lock().unwrap();
        let volume = Volume::new("web_data".parse().unwrap(), "2026-01-01T00:00:00Z".into());
        assert!(volumes.make(&volume, &lock, |_| Ok::<_, Error>(())).unwrap());
        let file = volumes.data(&volume.name).join("a");
        fs::write(&file, "a").unwrap();
        assert!(!volumes.make(&volume, &lock, |_| Ok::<_, Error>(())).unwrap());
        assert!(file.exists());
        assert_eq!(volumes.list().unwrap(), std::slice::from_ref(&volume));
        volumes.remove(&volume.name, &lock).unwrap();
        assert_eq!(volumes.list().unwrap(), []);
        assert!(!file.exists());
    }

    #[test]
    fn what_a_killed_maker_left_is_not_a_volume() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = Volumes::of(&Layout::new(directory.path(), directory.path()));
        let lock = volumes.lock().unwrap();
        let volume = Volume::new("half".parse().unwrap(), String::new());
        fs::create_dir_all(volumes.data(&volume.name).join("left")).unwrap();
        assert_eq!(volumes.list().unwrap(), []);
        assert!(volumes.make(&volume, &lock, |_| Ok::<_, Error>(())).unwrap());
        assert!(!volumes.data(&volume.name).join("left").exists());
    }

    #[test]
    fn one_that_cannot_be_filled_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = Volumes::of(&Layout::new(directory.path(), directory.path()));
        let lock = volumes.lock().unwrap();
        let volume = Volume::new("half".parse().unwrap(), String::new());
        let made = volumes.make(&volume, &lock, |data| {
            fs::write(data.join("some"), "a").unwrap();
            assert_eq!(volumes.list().unwrap(), [], "it is none before it is full");
            Err(Error::NoVolume("all".into()))
        });
        assert!(matches!(made, Err(Error::NoVolume(_))));
        assert!(!volumes.data(&volume.name).exists());
    }

    #[test]
    fn names() {
        for name in ["a", "", "../x", "a/b", ".lock", "-x"] {
            let error = name.parse::<VolumeName>().unwrap_err();
            let text = "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed.";
            assert_eq!(error.to_string(), format!("Invalid volume name ({name}), {text}"));
        }
    }
}
