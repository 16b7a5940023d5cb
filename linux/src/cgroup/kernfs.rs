//! Reading and writing the small files of a cgroup.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::{Errno, Error, Result};

/// Reads a file of at most `max` bytes.
pub(super) fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>> {
    read(path, max).map_err(|errno| Error::new(format!("read {}", path.display()), errno))
}

/// [`read_bounded`] for those who word their own error.
pub(super) fn read(path: &Path, max: usize) -> rustix::io::Result<Vec<u8>> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_open(&file, max)
}

/// Reads on until the end of the file.
pub(super) fn read_open(file: impl rustix::fd::AsFd, max: usize) -> rustix::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(4096);
    loop {
        if text.len() > max {
            return Err(Errno::FBIG);
        }
        text.reserve(4096);
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)) {
            Ok(0) => return Ok(text),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Text of a kernel file, without the final line feed.
pub(super) fn read_text(path: &Path) -> rustix::io::Result<String> {
    let text = read(path, TEXT_MAX)?;
    let mut text = String::from_utf8(text).map_err(|_| Errno::ILSEQ)?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// Largest text file of a cgroup that is read as a whole (numbers of each CPU or device).
pub(super) const TEXT_MAX: usize = 1024 * 1024;

/// Writes `value` in one call, as kernel files want it.
pub(super) fn write(path: &Path, value: &str) -> rustix::io::Result<()> {
    write_open(&open_to_write(path)?, value)
}

/// [`write`] with the act in the error.
pub(super) fn set(path: &Path, value: &str) -> Result<()> {
    write(path, value).map_err(|errno| not_written(path, value, errno))
}

/// [`set`] for a file that takes many values, one in a call.
pub(super) fn set_each(path: &Path, values: &[String]) -> Result<()> {
    let Some(first) = values.first() else { return Ok(()) };
    let file = open_to_write(path).map_err(|errno| not_written(path, first, errno))?;
    values.iter().try_for_each(|value| {
        write_open(&file, value).map_err(|errno| not_written(path, value, errno))
    })
}

fn open_to_write(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

fn write_open(file: &OwnedFd, value: &str) -> rustix::io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes()))? {
        written if written == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

fn not_written(path: &Path, value: &str, errno: Errno) -> Error {
    Error::new(format!("write {value:?} to {}", path.display()), errno)
}
