//! The few things done with files here, each naming its object when it goes wrong.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Adds the act to a refusal of the kernel.
pub(crate) trait During<T> {
    fn during(self, act: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, act: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Io { act: act(), source: error.into() })
    }
}

/// Reads a JSON document; `None` when there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).during(|| format!("read {}", path.display())),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| Error::Corrupt { path: path.to_owned(), reason: error.to_string() })
}

/// Replaces a JSON document: readers see the old one or the new one, also after a power cut.
pub(crate) fn write_json(path: &Path, document: &impl Serialize) -> Result<()> {
    write(path, document, fs::File::sync_all)
}

/// [`write_json`], but that a power cut may leave a file without text.
pub(crate) fn write_json_for_this_boot(path: &Path, document: &impl Serialize) -> Result<()> {
    write(path, document, |_| Ok(()))
}

fn write(
    path: &Path,
    document: &impl Serialize,
    sync: impl FnOnce(&fs::File) -> io::Result<()>,
) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(document)
        .map_err(|error| Error::Corrupt { path: path.to_owned(), reason: error.to_string() })?;
    text.push(b'\n');
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let act = || format!("write {}", path.display());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&temporary, flags, Mode::from_raw_mode(0o640)).during(act)?;
    let mut file = fs::File::from(fd);
    let written = file.write_all(&text).and_then(|()| sync(&file));
    let moved = written.and_then(|()| fs::rename(&temporary, path));
    if moved.is_err() {
        // Best effort: the error that matters is the one being returned.
        let _ = fs::remove_file(&temporary);
    }
    moved.during(act)
}

/// Makes a directory and its parents; what is there stays as it is.
pub(crate) fn make_dir_all(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .during(|| format!("make {}", path.display()))
}

/// Opens a directory to lock it.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).during(|| format!("open {}", path.display()))
}

/// Opens a file to lock it.
pub(crate) fn open_lock(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .during(|| format!("open {}", path.display()))
}

/// Takes a lock; `false` when `operation` does not block and another holds it.
pub(crate) fn lock(fd: &OwnedFd, operation: FlockOperation, path: &Path) -> Result<bool> {
    loop {
        match rustix::fs::flock(fd, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(|| format!("lock {}", path.display())),
        }
    }
}
