//! The file of a record, its lock, and the generation before it.
//!
//! ```text
//! <bundle>/device_hook.json            the record
//! <bundle>/device_hook.json.previous   the generation before it
//! <bundle>/.device_hook.lock           held from the read to the write; never removed
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::lock::Lock;

use super::Record;

/// How long to wait for another command on the same container.
const PATIENCE: Duration = Duration::from_secs(30);

/// A container's record, locked.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    record: Record,
    /// The text on disk, if there is a file.
    text: Option<Vec<u8>>,
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
    /// Locks and reads the record in `bundle`. No file is an empty record.
    ///
    /// # Errors
    /// When another command holds the lock for too long, or the file cannot be read or understood.
    pub fn open(bundle: &Path) -> Result<Self, RecordError> {
        let lock = Lock::with_deadline(bundle.join(".device_hook.lock"), PATIENCE)?;
        let path = bundle.join("device_hook.json");
        let text = match linux::file::read(&path) {
            Ok(text) => Some(text),
            Err(error) if error.is(linux::Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let record = match &text {
            None => Record::default(),
            Some(text) => Record::parse(text)
                .map_err(|reason| RecordError::Corrupt { path: path.clone(), reason })?,
        };
        Ok(Self { path, record, text, _lock: lock })
    }

    /// What is recorded.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Makes `record` the next generation and keeps the one before it. Writes nothing when nothing
    /// changed.
    ///
    /// # Errors
    /// When a file cannot be written; the record on disk is then the one before.
    pub fn replace(&mut self, record: Record) -> Result<(), RecordError> {
        if record == self.record {
            return Ok(());
        }
        let (next, text) = record.next();
        if let Some(previous) = &self.text {
            linux::file::write_atomic(self.path.with_extension("json.previous"), previous, 0o600)?;
        }
        linux::file::write_atomic(&self.path, &text, 0o600)?;
        self.record = next;
        self.text = Some(text);
        Ok(())
    }

    /// Puts the generation before the present one back, if the present one cannot be read. Answers
    /// whether it did.
    ///
    /// # Errors
    /// When there is none, or it cannot be read either.
    pub fn recover(bundle: &Path) -> Result<bool, RecordError> {
        let _lock = Lock::with_deadline(bundle.join(".device_hook.lock"), PATIENCE)?;
        let path = bundle.join("device_hook.json");
        match linux::file::read(&path) {
            Ok(text) if Record::parse(&text).is_ok() => return Ok(false),
            Err(error) if error.is(linux::Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let previous = path.with_extension("json.previous");
        let text = linux::file::read(&previous)?;
        Record::parse(&text).map_err(|reason| RecordError::Corrupt { path: previous, reason })?;
        linux::file::write_atomic(&path, &text, 0o600)?;
        Ok(true)
    }
}
