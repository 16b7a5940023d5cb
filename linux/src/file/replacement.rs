//! A file's next text, on disk beside it: whoever comes after a crash finds what was meant.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

use crate::{Context, Errno, Error, Result, fault};

/// A text that is to take the place of a file. Dropped, it stays where it is.
#[derive(Debug)]
pub struct Replacement {
    dir: OwnedFd,
    file: OwnedFd,
    path: PathBuf,
    name: PathBuf,
}

impl Replacement {
    /// Writes `text` into `name` in the directory of `path`. Readers of `path` see nothing of it.
    ///
    /// Nothing waits for the disk yet: a process that dies leaves it readable, a host that does
    /// forgets with it what was done on its behalf.
    pub fn write(path: impl AsRef<Path>, name: &str, text: &[u8], mode: u32) -> Result<Self> {
        let path = path.as_ref();
        let call = || format!("write {}", path.with_file_name(name).display());
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, dir, flags, Mode::empty())
            .during(|| format!("open {}", dir.display()))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fault::check("openat")
            .and_then(|()| rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(mode)))
            .during(call)?;
        let written = super::write_all(&file, text).during(call);
        let replacement = Self { dir, file, path: path.to_owned(), name: name.into() };
        match written {
            Ok(()) => Ok(replacement),
            Err(error) => {
                // The first failure is the one to report; half a text says nothing.
                let _ = replacement.discard();
                Err(error)
            }
        }
    }

    /// Makes it the file, on disk when this returns. The file before it is kept as `previous`.
    ///
    /// Refused, all is as before: the text waits still.
    pub fn commit(&self, previous: &str) -> Result<()> {
        let call = || format!("write {}", self.path.display());
        let name = self.path.file_name().ok_or_else(|| Error::new(call(), Errno::INVAL))?;
        let placed: rustix::io::Result<bool> = (|| {
            fault::check("fsync")?;
            rustix::fs::fdatasync(&self.file)?;
            let had_one = self.keep(name, previous)?;
            fault::check("renameat")?;
            rustix::fs::renameat(&self.dir, &self.name, &self.dir, name)?;
            Ok(had_one)
        })();
        let had_one = placed.during(call)?;
        rustix::fs::fsync(self.dir.as_fd()).during(call).inspect_err(|_| {
            // Readers have it and the disk may not. The first failure is the one to report.
            let _ = self.take_back(name, had_one.then_some(previous));
        })
    }

    /// A second name for the file as it is: its text is on disk already. Whether there is one.
    fn keep(&self, name: &OsStr, previous: &str) -> rustix::io::Result<bool> {
        match rustix::fs::unlinkat(&self.dir, previous, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => {}
            Err(errno) => return Err(errno),
        }
        fault::check("linkat")?;
        match rustix::fs::linkat(&self.dir, name, &self.dir, previous, AtFlags::empty()) {
            // The first there is.
            Err(Errno::NOENT) => Ok(false),
            answer => answer.map(|()| true),
        }
    }

    /// The file is the one before it again, at no moment none.
    fn take_back(&self, name: &OsStr, previous: Option<&str>) -> rustix::io::Result<()> {
        let Some(previous) = previous else {
            return rustix::fs::renameat(&self.dir, name, &self.dir, &self.name);
        };
        let exchange = RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(&self.dir, previous, &self.dir, name, exchange)?;
        rustix::fs::renameat(&self.dir, previous, &self.dir, &self.name)
    }

    /// Takes it away.
    pub fn discard(self) -> Result<()> {
        rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty())
            .during(|| format!("remove {}", self.path.with_file_name(&self.name).display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::read_to_string;

    #[test]
    fn the_text_waits_beside_the_file_until_it_is_committed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let write = |text: &str| Replacement::write(&path, "next", text.as_bytes(), 0o600).unwrap();
        let first = write("one");
        assert!(!path.exists());
        first.commit("previous").unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "one");
        assert!(!dir.path().join("previous").exists() && !dir.path().join("next").exists());
        drop(write("longer than two"));
        write("two").commit("previous").unwrap();
        write("three").discard().unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "two");
        assert_eq!(read_to_string(dir.path().join("previous")).unwrap(), "one");
        assert!(!dir.path().join("next").exists());
    }
}
