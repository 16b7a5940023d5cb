//! What happened to containers, one JSON line each, in `<state>/events.log`.
//!
//! There is no daemon to ask: whoever does something appends a line, in one write(2), which the
//! kernel does not mix with another's. The file is renamed when it has become long; what is older
//! than that is forgotten. An event that cannot be written is no reason to fail what was done.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use container::{Config, Layout};
use rustix::fs::FlockOperation;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// About ten thousand events, twice.
const LENGTH_MAX: u64 = 2 << 20;

/// The files of one state directory.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    path: PathBuf,
}

impl Events {
    #[must_use]
    pub(crate) fn of(layout: &Layout) -> Self {
        Self { path: layout.state().join("events.log") }
    }

    /// The file that is appended to.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The one before it.
    #[must_use]
    pub(crate) fn earlier(&self) -> PathBuf {
        self.path.with_extension("log.1")
    }

    /// Notes that `action` was done to the container.
    pub(crate) fn add(&self, config: &Config, action: &str, further: &[(&str, &str)]) {
        let all = [("name", config.name.as_str()), ("image", &config.image)].into_iter();
        let attributes = all.chain(further.iter().copied());
        let attributes = attributes.map(|(key, value)| (key.to_owned(), json!(value)));
        let event = json!({
            "time": OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            "type": "container",
            "action": action,
            "id": config.id,
            "attributes": attributes.collect::<Map<String, Value>>(),
        });
        if let Err(error) = self.append(&format!("{event}\n")) {
            tracing::warn!(error = ui::report::chain(&error), "did not note an event");
        }
    }

    fn append(&self, line: &str) -> Result<()> {
        let act = || format!("append to {}", self.path.display());
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        let mut file = match options.open(&self.path) {
            // Nothing has run since the host booted.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let directory = self.path.parent().context("a file has a directory")?;
                std::fs::create_dir_all(directory).with_context(act)?;
                options.open(&self.path)
            }
            opened => opened,
        }
        .with_context(act)?;
        file.write_all(line.as_bytes()).with_context(act)?;
        if file.metadata().with_context(act)?.len() > LENGTH_MAX {
            self.rotate(&file).with_context(act)?;
        }
        Ok(())
    }

    /// One of those who find it too long renames it.
    fn rotate(&self, file: &File) -> Result<()> {
        if rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let named = std::fs::metadata(&self.path)?;
        let ours = file.metadata()?;
        if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) {
            std::fs::rename(&self.path, self.earlier())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::config;

    fn count(path: &Path) -> usize {
        std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
    }

    #[test]
    fn a_long_file_is_renamed_and_nothing_is_lost_on_the_way() {
        let state = tempfile::tempdir().unwrap();
        let events = Events::of(&Layout::new("/none", state.path()));
        let config = config();
        events.add(&config, "exit", &[("exitCode", "7")]);
        let text = std::fs::read_to_string(events.path()).unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&event["id"], &event["action"]), (&json!(config.id), &json!("exit")));
        assert_eq!(event["attributes"]["name"], config.name.as_str());
        assert_eq!(event["attributes"]["exitCode"], "7");
        let long = "x".repeat(100_000);
        for _ in 0..25 {
            events.add(&config, &long, &[]);
        }
        assert_eq!(count(events.path()) + count(&events.earlier()), 26);
        assert!(std::fs::metadata(events.path()).unwrap().len() < LENGTH_MAX);
    }
}
