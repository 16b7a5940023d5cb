//! Whole files by host path, each failure naming the path.
//!
//! [`write()`] is for kernel files: one `write(2)`, because they take a value whole or not at all.
//! [`write_atomic`] is for ours: a reader sees the old text or the new one, whoever is killed. It
//! waits for no disk, for what ends with this boot; [`write_lasting`] is for what does not.
//! [`Replacement`] is for those that must tell after a crash what was under way.

mod replacement;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

pub use self::replacement::Replacement;
use crate::{Context, Errno, Error, Result, fault};

/// The whole file.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    read_in(CWD, path).during(|| format!("read {}", path.display()))
}

/// The whole file, which must be UTF-8 (`EILSEQ` otherwise).
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    String::from_utf8(read(path)?)
        .map_err(|_| Error::new(format!("read {}", path.display()), Errno::ILSEQ))
}

/// The whole file `name` of the directory `dir`.
pub fn read_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<Vec<u8>> {
    let name = name.as_ref();
    read_in(dir, name).during(|| format!("read {}", name.display()))
}

/// Writes `value` to an existing file in one `write(2)`; creates and truncates nothing.
pub fn write(path: impl AsRef<Path>, value: impl AsRef<[u8]>) -> Result<()> {
    let (path, value) = (path.as_ref(), value.as_ref());
    write_in(CWD, path, value).during(|| describe_write(path, value))
}

/// [`write()`] to the file `name` of the directory `dir`.
pub fn write_at(dir: impl AsFd, name: impl AsRef<Path>, value: impl AsRef<[u8]>) -> Result<()> {
    let (name, value) = (name.as_ref(), value.as_ref());
    write_in(dir, name, value).during(|| describe_write(name, value))
}

/// Adds `text` at the end of `path`, which is created with `mode` when it is not there.
pub fn append(path: impl AsRef<Path>, text: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(mode))
        .and_then(|fd| write_all(&fd, text.as_ref()))
        .during(|| format!("append to {}", path.display()))
}

/// Replaces `path` by a file that holds `text`: temporary file in the same directory, then rename.
/// `mode` is the file's mode whatever the umask. After a crash of the host it may be empty.
pub fn write_atomic(path: impl AsRef<Path>, text: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    replace(path.as_ref(), text.as_ref(), mode, Durability::Boot)
}

/// [`write_atomic`], and on disk when this returns: fsync of the file before the rename, and of the
/// directory after it.
pub fn write_lasting(path: impl AsRef<Path>, text: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    replace(path.as_ref(), text.as_ref(), mode, Durability::Disk)
}

/// What a file's text outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Every process of this boot.
    Boot,
    /// The host's crash too.
    Disk,
}

fn replace(path: &Path, text: &[u8], mode: u32, durability: Durability) -> Result<()> {
    let call = || format!("write {}", path.display());
    let name = path.file_name().ok_or_else(|| Error::new(call(), Errno::INVAL))?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let dir =
        rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .during(|| format!("open {}", dir.display()))?;
    replace_in(&dir, Path::new(name), text, mode, None, durability).during(call)
}

/// A name in an open directory (not `O_PATH`: it may have to be synced).
pub(crate) fn replace_in(
    dir: &OwnedFd,
    name: &Path,
    text: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
    durability: Durability,
) -> rustix::io::Result<()> {
    let (file, temporary) = create_temporary(dir, name)?;
    let filled = (|| {
        write_all(&file, text)?;
        if let Some((uid, gid)) = owner {
            let uid = rustix::process::Uid::from_raw(uid);
            let gid = rustix::process::Gid::from_raw(gid);
            rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        // After chown, which clears the set-id bits.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        if durability == Durability::Disk {
            fault::check("fsync")?;
            rustix::fs::fsync(&file)?;
        }
        fault::check("renameat")?;
        match durability {
            Durability::Boot => exchange(dir, &temporary, name),
            Durability::Disk => rustix::fs::renameat(dir, &temporary, dir, name),
        }
    })();
    if filled.is_err() {
        // The first failure is the one to report; a leftover is harmless and carries our prefix.
        let _ = rustix::fs::unlinkat(dir, &temporary, AtFlags::empty());
    }
    filled?;
    match durability {
        Durability::Boot => Ok(()),
        Durability::Disk => rustix::fs::fsync(dir),
    }
}

/// Puts `temporary` in the place of `name`, and what was there away.
///
/// A file that a rename puts over another is written out there and then by ext4 (`auto_da_alloc`,
/// Documentation/admin-guide/ext4.rst), which takes longer than all the rest. One that changes
/// places is not.
fn exchange(dir: &OwnedFd, temporary: &Path, name: &Path) -> rustix::io::Result<()> {
    let exchange = || rustix::fs::renameat_with(dir, temporary, dir, name, RenameFlags::EXCHANGE);
    match exchange() {
        Ok(()) => {
            // A directory stays.
            rustix::fs::unlinkat(dir, temporary, AtFlags::empty()).inspect_err(|_| {
                let _ = exchange();
            })
        }
        // The first there is, or a file system where nothing changes places.
        Err(Errno::NOENT | Errno::INVAL) => rustix::fs::renameat(dir, temporary, dir, name),
        Err(errno) => Err(errno),
    }
}

fn create_temporary(dir: &OwnedFd, name: &Path) -> rustix::io::Result<(OwnedFd, PathBuf)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A crashed predecessor may have left a file with our pid in it.
    for _ in 0..64 {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = PathBuf::from(format!(
            ".{}.{}.{number}.tmp",
            name.display(),
            rustix::process::getpid().as_raw_nonzero()
        ));
        fault::check("openat")?;
        match rustix::fs::openat(dir, &temporary, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
            Ok(file) => return Ok((file, temporary)),
        }
    }
    Err(Errno::EXIST)
}

fn read_in(dir: impl AsFd, path: &Path) -> rustix::io::Result<Vec<u8>> {
    let file = rustix::fs::openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_all(&file, usize::MAX)
}

/// Reads to the end, `EFBIG` when that is more than `max` bytes.
pub(crate) fn read_all(file: &OwnedFd, max: usize) -> rustix::io::Result<Vec<u8>> {
    // Kernel files state the size 0 or 4096; one page holds most of them.
    let mut text = Vec::with_capacity(4096);
    loop {
        if text.len() > max {
            return Err(Errno::FBIG);
        }
        text.reserve(4096);
        match rustix::io::read(file, rustix::buffer::spare_capacity(&mut text)) {
            Ok(0) => return Ok(text),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn write_in(dir: impl AsFd, path: &Path, value: &[u8]) -> rustix::io::Result<()> {
    let file = rustix::fs::openat(dir, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    fault::check("write")?;
    match rustix::io::retry_on_intr(|| rustix::io::write(&file, value))? {
        count if count == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Writes all of `text`, in as many calls as it takes.
pub(crate) fn write_all(file: impl AsFd, mut text: &[u8]) -> rustix::io::Result<()> {
    while !text.is_empty() {
        fault::check("write")?;
        let count = rustix::io::retry_on_intr(|| rustix::io::write(&file, text))?;
        text = text.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// `write "b 8:16 rwm" to /sys/fs/cgroup/...`: the value is half of the reason.
fn describe_write(path: &Path, value: &[u8]) -> String {
    const SHOWN: usize = 64;
    let text = String::from_utf8_lossy(value);
    let text = text.trim_end_matches('\n');
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("write {:?}... to {}", &text[..end], path.display()),
        None => format!("write {text:?} to {}", path.display()),
    }
}

#[cfg(test)]
mod tests;
