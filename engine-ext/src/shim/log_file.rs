//! The console log in json-file form, with rotation by rename.
//!
//! One line a record: `{"log":"text\n","stream":"stdout","time":"RFC 3339 with nanoseconds"}`.
//! A record without a newline at its end goes on in the next one of its stream. Nothing here ever
//! fails the caller: a disk that is full loses records, counts them, and says so where it can.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux::{Context as _, Errno, Result};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A line that is longer is cut into records of this size.
const RECORD_MAX: usize = 16 * 1024;
/// A line without an end (a prompt) is written when nothing has followed for this long.
const PARTIAL_AGE: Duration = Duration::from_secs(1);

/// Which of the container's streams a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout = 0,
    Stderr = 1,
}

/// How large, how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Size at which a file is put aside; `None`: never.
    pub(super) max_size: Option<u64>,
    /// Files in all, the one written to among them.
    pub(super) max_file: u32,
}

/// An open log.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    partial: [Vec<u8>; 2],
    /// When the older of the unfinished lines is written as it is.
    deadline: Option<Instant>,
    loss: Loss,
}

/// What could not be written since the last record that could.
#[derive(Debug, Default)]
struct Loss {
    records: u64,
    cause: String,
    /// The supervisor has been told about this spell.
    told: bool,
}

impl LogFile {
    /// Opens the log for appending.
    pub(super) fn open(path: &Path, rotation: Rotation) -> Result<Self> {
        let file = open(path)?;
        let size = file.metadata().during(|| format!("stat {}", path.display()))?.len();
        Ok(Self {
            path: path.to_owned(),
            rotation,
            file,
            size,
            partial: [Vec::new(), Vec::new()],
            deadline: None,
            loss: Loss::default(),
        })
    }

    /// Takes what the container wrote.
    pub(super) fn write(&mut self, stream: Stream, data: &[u8]) {
        let time = now();
        // Small enough not to carry a file far over its size.
        let batch = self.rotation.max_size.map_or(RECORD_MAX, |max| {
            RECORD_MAX.min(usize::try_from(max / 16).unwrap_or(RECORD_MAX))
        });
        let mut out = Vec::new();
        for line in data.split_inclusive(|&byte| byte == b'\n') {
            let partial = &mut self.partial[stream as usize];
            if line.ends_with(b"\n") && partial.is_empty() && line.len() <= RECORD_MAX {
                record(&mut out, stream, line, &time);
            } else {
                partial.extend_from_slice(line);
                cut(partial, &mut out, stream, &time);
            }
            if out.len() >= batch {
                self.append(&out);
                out.clear();
            }
        }
        self.append(&out);
        let unfinished = self.partial.iter().any(|partial| !partial.is_empty());
        self.deadline = unfinished.then(|| Instant::now() + PARTIAL_AGE);
    }

    /// When [`Self::flush`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Writes unfinished lines as they are.
    pub(super) fn flush(&mut self) {
        self.deadline = None;
        let time = now();
        let mut out = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                record(&mut out, stream, &partial, &time);
            }
        }
        self.append(&out);
    }

    /// A sentence for the supervisor's own log, once for each spell of trouble.
    pub(super) fn trouble(&mut self) -> Option<String> {
        if self.loss.records == 0 || self.loss.told {
            return None;
        }
        self.loss.told = true;
        Some(format!("{}; output is not logged until that works", self.loss.cause))
    }

    /// Appends whole records.
    fn append(&mut self, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        if let Some(max) = self.rotation.max_size
            && self.size > 0
            && self.size.saturating_add(records.len() as u64) > max
            && let Err(error) = self.rotate()
        {
            // It grows over its size rather than losing anything.
            self.loss.cause = error.to_string();
        }
        if self.loss.records > 0 {
            let mut apology = Vec::new();
            let text = format!("[{} records lost: {}]\n", self.loss.records, self.loss.cause);
            record(&mut apology, Stream::Stderr, text.as_bytes(), &now());
            if self.put(&apology).is_err() {
                self.loss.records += count(records);
                return;
            }
            self.loss = Loss::default();
        }
        if let Err(error) = self.put(records) {
            self.loss.records += count(records);
            self.loss.cause = error.to_string();
        }
    }

    /// Writes all or nothing: half a record would spoil the line after it.
    fn put(&mut self, records: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(records) {
            // The file may be gone or read-only; the next record finds out.
            let _ = self.file.set_len(self.size);
            return Err(error).during(|| format!("write {}", self.path.display()));
        }
        self.size += records.len() as u64;
        Ok(())
    }

    /// `console.log` becomes `console.log.1`, that becomes `.2`, and the last one goes.
    fn rotate(&mut self) -> Result<()> {
        if self.rotation.max_file <= 1 {
            self.file.set_len(0).during(|| format!("empty {}", self.path.display()))?;
            self.size = 0;
            return Ok(());
        }
        for number in (1..self.rotation.max_file - 1).rev() {
            rename(&self.numbered(number), &self.numbered(number + 1))?;
        }
        rename(&self.path, &self.numbered(1))?;
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .during(|| format!("open {}", path.display()))
}

/// Moves a file aside; one that is not there needs no moving.
fn rename(from: &Path, to: &Path) -> Result<()> {
    match rustix::fs::rename(from, to) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => {
            Err(errno).during(|| format!("rename {} to {}", from.display(), to.display()))
        }
    }
}

/// Takes whole records off the front of an unfinished line.
fn cut(partial: &mut Vec<u8>, out: &mut Vec<u8>, stream: Stream, time: &str) {
    while partial.len() > RECORD_MAX {
        let end = boundary(&partial[..RECORD_MAX]);
        record(out, stream, &partial[..end], time);
        partial.drain(..end);
    }
    if partial.ends_with(b"\n") {
        record(out, stream, partial, time);
        partial.clear();
    }
}

/// Where `bytes` can be cut without splitting a UTF-8 character.
fn boundary(bytes: &[u8]) -> usize {
    let start = bytes.len().saturating_sub(4);
    for at in (start..bytes.len()).rev() {
        let width = match bytes[at] {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        return if at + width > bytes.len() { at } else { bytes.len() };
    }
    bytes.len()
}

fn count(records: &[u8]) -> u64 {
    records.iter().filter(|&&byte| byte == b'\n').count() as u64
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

fn record(out: &mut Vec<u8>, stream: Stream, text: &[u8], time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.extend_from_slice(match stream {
        Stream::Stdout => b"\",\"stream\":\"stdout\",\"time\":\"",
        Stream::Stderr => b"\",\"stream\":\"stderr\",\"time\":\"",
    });
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// JSON string escapes (RFC 8259 section 7).
fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests;
