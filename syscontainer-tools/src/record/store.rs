//! The file of a record, its lock, and the generations around it.
//!
//! ```text
//! <dir>/device_hook.json            the record
//! <dir>/device_hook.json.previous   the generation before it
//! <dir>/device_hook.json.next       there while a change is under way, or if one was cut short
//! <dir>/.device_hook.lock           held from the read to the write; never removed
//! ```
//!
//! The next generation is written before anything is done, and becomes the record when all of it
//! is. Whoever finds one under the lock knows what a killed predecessor was about to do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::error::Context as _;
use linux::file::Replacement;
use linux::lock::Lock;

use super::Record;

/// How long to wait for another command on the same container.
const PATIENCE: Duration = Duration::from_secs(30);

const PREVIOUS: &str = "device_hook.json.previous";
const NEXT: &str = "device_hook.json.next";

/// A container's record, locked.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    record: Record,
    interrupted: Option<Record>,
    announced: Option<(Record, Replacement)>,
    _lock: Lock,
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Never taken for an empty one: a container would start without its devices.
    #[error(
        "read the record {}: {reason}; the generation before it is {}.previous: \
         put it back with isulad-tools recover", path.display(), path.display()
    )]
    Corrupt { path: PathBuf, reason: String },
    #[error(transparent)]
    Kernel(#[from] linux::Error),
}

impl RecordFile {
    /// Locks and reads the record in `dir`. No file is an empty record.
    ///
    /// # Errors
    /// When another command holds the lock for too long, or the file cannot be read or understood.
    pub fn open(dir: &Path) -> Result<Self, RecordError> {
        let lock = Lock::with_deadline(dir.join(".device_hook.lock"), PATIENCE)?;
        let path = dir.join("device_hook.json");
        let record = read(&path)?.unwrap_or_default();
        // One that was not written to its end was cut short before anything was done.
        let interrupted = match read(&dir.join(NEXT)) {
            Err(RecordError::Corrupt { .. }) => Some(record.clone()),
            found => found?,
        };
        Ok(Self { path, record, interrupted, announced: None, _lock: lock })
    }

    /// Whether a change is under way at this moment, or was cut short.
    pub fn is_interrupted(dir: &Path) -> bool {
        dir.join(NEXT).exists()
    }

    /// Reads the record in `dir` as it is at this moment, whoever may be changing it.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn peek(dir: &Path) -> Result<Record, RecordError> {
        Ok(read(&dir.join("device_hook.json"))?.unwrap_or_default())
    }

    /// What is recorded.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What a predecessor was about to make of the record when it was killed.
    pub fn interrupted(&self) -> Option<&Record> {
        self.interrupted.as_ref()
    }

    /// Says that what the predecessor left half done is as the record has it again.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub fn settled(&mut self) -> Result<(), RecordError> {
        if self.interrupted.take().is_some() {
            let next = self.path.with_file_name(NEXT);
            std::fs::remove_file(&next).during(|| format!("remove {}", next.display()))?;
        }
        Ok(())
    }

    /// Writes down what is about to be done.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&mut self, record: &Record) -> Result<(), RecordError> {
        let (next, text) = record.following(&self.record);
        let replacement = Replacement::write(&self.path, NEXT, &text, 0o600)?;
        self.announced = Some((next, replacement));
        Ok(())
    }

    /// Goes on as if it had been done, and writes nothing.
    pub fn pretend(&mut self, record: &Record) {
        self.record = record.clone();
    }

    /// It was done: what was announced is the record.
    ///
    /// # Errors
    /// When the disk does not take it; the record is then the one before, and the announcement stays.
    pub fn commit(&mut self) -> Result<(), RecordError> {
        if let Some((next, replacement)) = &self.announced {
            replacement.commit(PREVIOUS)?;
            self.record = next.clone();
            self.announced = None;
        }
        Ok(())
    }

    /// It was not done.
    ///
    /// # Errors
    /// When the announcement cannot be removed.
    pub fn withdraw(&mut self) -> Result<(), RecordError> {
        match self.announced.take() {
            Some((_, replacement)) => Ok(replacement.discard()?),
            None => Ok(()),
        }
    }

    /// Makes `record` the next generation and keeps the one before it. Writes nothing when nothing
    /// changed.
    ///
    /// # Errors
    /// When a file cannot be written; the record on disk is then the one before.
    pub fn replace(&mut self, record: &Record) -> Result<(), RecordError> {
        if record.same_as(&self.record) {
            return Ok(());
        }
        self.announce(record)?;
        self.commit().or_else(|error| self.withdraw().and(Err(error)))
    }

    /// Puts the generation before the present one back, if the present one cannot be read. Answers
    /// whether it did.
    ///
    /// # Errors
    /// When there is none, or it cannot be read either.
    pub fn recover(dir: &Path) -> Result<bool, RecordError> {
        let _lock = Lock::with_deadline(dir.join(".device_hook.lock"), PATIENCE)?;
        let path = dir.join("device_hook.json");
        match read(&path) {
            Err(RecordError::Corrupt { .. }) => {}
            found => return found.map(|_| false),
        }
        let previous = dir.join(PREVIOUS);
        read(&previous)?;
        let text = linux::file::read(&previous)?;
        linux::file::write_lasting(&path, &text, 0o600)?;
        Ok(true)
    }
}

fn read(path: &Path) -> Result<Option<Record>, RecordError> {
    match linux::file::read(path) {
        Ok(text) => Record::parse(&text)
            .map(Some)
            .map_err(|reason| RecordError::Corrupt { path: path.to_owned(), reason }),
        Err(error) if error.is(linux::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
