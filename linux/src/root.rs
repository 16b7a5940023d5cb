//! A directory tree whose owner may be hostile: nothing done here leaves it.
//!
//! What exists is found by openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`: absolute
//! links and `..` stay inside. What is made is made in an open parent directory, by its last name
//! alone, never through a link. Between look and act there is a descriptor, not a path. Only
//! regular files are opened for real: opening a FIFO waits, and opening a device may act on it.
//!
//! Reading and writing go through `/proc/self/fd`, so a /proc that can be trusted is needed.

mod walk;

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags};

use crate::device::{DeviceKind, DeviceNode, DeviceNumber};
use crate::{Change, Context, Errno, Error, Result, fault, file};

/// [`Root::identity`] of the caller's own root.
pub fn own_identity() -> Result<(u64, u64)> {
    identity(CWD, "/")
}

/// Device and inode of an open file as fstat(2) has them, without asking a filesystem that may not
/// answer.
pub fn identity_of(file: impl AsFd) -> Result<(u64, u64)> {
    identity(file, "")
}

fn identity(dir: impl AsFd, path: &str) -> Result<(u64, u64)> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(dir, path, flags, StatxFlags::INO)
        .during(|| format!("stat {}", if path.is_empty() { "a file" } else { path }))?;
    Ok((rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino))
}

/// An open directory that paths cannot leave.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// The tree at a host path, links followed: the path is the host's, what is below is not.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map(|fd| Self { fd })
            .during(|| format!("open {}", path.display()))
    }

    /// The tree below an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Another handle of the same tree.
    pub fn try_clone(&self) -> Result<Self> {
        self.fd.try_clone().map(Self::from_fd).during(|| "copy a descriptor")
    }

    /// The tree below a directory of this one.
    pub fn subtree(&self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        self.open_path(path, OFlags::DIRECTORY).map(Self::from_fd).during(|| act("open", path))
    }

    /// An `O_PATH` descriptor of whatever is at `path`, a link at its end followed.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        self.open_path(path, OFlags::empty()).during(|| act("find", path))
    }

    /// [`resolve`](Self::resolve), but a link at the end is answered itself.
    pub fn resolve_no_follow(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        self.open_path(path, OFlags::NOFOLLOW).during(|| act("find", path))
    }

    /// Is there anything at `path`, links followed?
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
        match self.resolve(path) {
            Ok(_) => Ok(true),
            Err(e) if e.is(Errno::NOENT) || e.is(Errno::NOTDIR) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// What is at `path`, links followed.
    pub fn stat(&self, path: impl AsRef<Path>) -> Result<Stat> {
        let path = path.as_ref();
        let stat = match path.as_os_str().is_empty() {
            true => rustix::fs::fstat(&self.fd),
            false => self.open_path(path, OFlags::empty()).and_then(rustix::fs::fstat),
        };
        stat.during(|| act("stat", path))
    }

    /// [`identity_of`] the directory itself.
    pub fn identity(&self) -> Result<(u64, u64)> {
        identity_of(&self.fd)
    }

    /// What is at `path`; a link at the end is looked at itself.
    pub fn stat_no_follow(&self, path: impl AsRef<Path>) -> Result<Stat> {
        let path = path.as_ref();
        self.open_path(path, OFlags::NOFOLLOW)
            .and_then(rustix::fs::fstat)
            .during(|| act("stat", path))
    }

    /// Opens an existing regular file or directory. `flags` may not create; anything else at
    /// `path` is refused (`EINVAL`) before it is opened.
    pub fn open_file(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        let path = path.as_ref();
        self.open_checked(path, flags, |kind| {
            matches!(kind, FileType::RegularFile | FileType::Directory)
        })
        .map_err(|errno| explain("open", path, errno))
    }

    /// The whole of a regular file, `EFBIG` when it is longer than `max` bytes.
    pub fn read_file(&self, path: impl AsRef<Path>, max: usize) -> Result<Vec<u8>> {
        let path = path.as_ref();
        self.open_checked(path, OFlags::RDONLY, |kind| kind == FileType::RegularFile)
            .and_then(|file| file::read_all(&file, max))
            .map_err(|errno| explain("read", path, errno))
    }

    /// The names in a directory, in no order, without `.` and `..`.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<std::ffi::OsString>> {
        use std::os::unix::ffi::OsStrExt;
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        self.open_checked(path, flags, |kind| kind == FileType::Directory)
            .and_then(rustix::fs::Dir::new)
            .and_then(|dir| dir.collect::<rustix::io::Result<Vec<_>>>())
            .map_err(|errno| explain("list", path, errno))
            .map(|entries| {
                let names =
                    entries.iter().map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()));
                names.filter(|name| *name != "." && *name != "..").map(OsStr::to_owned).collect()
            })
    }

    /// Where the link at `path` points, as it is written.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let path = path.as_ref();
        self.open_path(path, OFlags::NOFOLLOW)
            .and_then(|link| walk::read_link(link.as_fd()))
            .during(|| act("read link", path))
    }

    /// The directory at `path`, made with all its parents where they are missing. Links are
    /// followed inside the tree, also when what they point at is missing. `mode` is that of the
    /// directories made, whatever the umask.
    pub fn mkdir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        walk::make(self.fd.as_fd(), path, walk::Last::Directory { mode })
            .map_err(|errno| explain_make("make directory", path, errno))
    }

    /// Whatever is at `path` except a directory, or a new empty regular file there; parents are
    /// made (0755) where they are missing. For a mount to be put on.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        walk::make(self.fd.as_fd(), path, walk::Last::File { mode })
            .map_err(|errno| explain_make("create", path, errno))
    }

    /// Makes a node in an existing directory, with `mode` whatever the umask. The same node there
    /// before is left as it is; anything else is refused (`EEXIST`).
    pub fn mknod(
        &self,
        path: impl AsRef<Path>,
        kind: DeviceKind,
        mode: u32,
        number: DeviceNumber,
    ) -> Result<Change> {
        let path = path.as_ref();
        let number = if kind == DeviceKind::Fifo { DeviceNumber::default() } else { number };
        let wanted = Mode::from_raw_mode(mode & 0o7777);
        (|| {
            let (parent, name) = self.parent_of(path)?;
            fault::check("mknodat")?;
            let made =
                rustix::fs::mknodat(&parent, name, kind.file_type(), wanted, number.to_raw());
            if let Err(errno) = made
                && errno != Errno::EXIST
            {
                return Err(errno);
            }
            let completed = (|| {
                let node = open_at(parent.as_fd(), name)?;
                let found = DeviceNode::of(&rustix::fs::fstat(&node)?);
                // Also after we made it: somebody may have put another thing there in between.
                if !found.is_some_and(|found| found.kind == kind && found.number == number) {
                    return Err(Errno::EXIST);
                }
                if made.is_err() {
                    return Ok(Change::AlreadyThere);
                }
                set_mode(node.as_fd(), wanted)?;
                Ok(Change::Made)
            })();
            if let (Ok(()), Err(errno)) = (made, completed)
                && errno != Errno::EXIST
            {
                // The first failure is the one to report.
                let _ = rustix::fs::unlinkat(&parent, name, AtFlags::empty());
            }
            completed
        })()
        .map_err(|errno| {
            let error = explain_make("make node", path, errno);
            match errno {
                Errno::EXIST => error.with_hint("something else is there; remove it first"),
                _ => error,
            }
        })
    }

    /// Makes a symbolic link in an existing directory. The same link there before is left as it
    /// is; anything else is refused (`EEXIST`).
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Change> {
        let (target, path) = (target.as_ref(), path.as_ref());
        (|| {
            let (parent, name) = self.parent_of(path)?;
            fault::check("symlinkat")?;
            match rustix::fs::symlinkat(target, &parent, name) {
                Ok(()) => Ok(Change::Made),
                Err(Errno::EXIST) => {
                    let found = open_at(parent.as_fd(), name)?;
                    match walk::read_link(found.as_fd()) {
                        Ok(found) if found == target => Ok(Change::AlreadyThere),
                        _ => Err(Errno::EXIST),
                    }
                }
                Err(errno) => Err(errno),
            }
        })()
        .map_err(|errno| {
            let error = explain_make("make link", path, errno);
            match errno {
                Errno::EXIST => error.with_hint("something else is there; remove it first"),
                _ => error,
            }
        })
    }

    /// Removes what is not a directory; a link at the end is removed itself.
    pub fn unlink(&self, path: impl AsRef<Path>) -> Result<()> {
        self.remove(path.as_ref(), AtFlags::empty())
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, path: impl AsRef<Path>) -> Result<()> {
        self.remove(path.as_ref(), AtFlags::REMOVEDIR)
    }

    fn remove(&self, path: &Path, flags: AtFlags) -> Result<()> {
        self.parent_of(path)
            .and_then(|(parent, name)| {
                fault::check("unlinkat")?;
                rustix::fs::unlinkat(&parent, name, flags)
            })
            .during(|| act("remove", path))
    }

    /// Replaces a regular file, or makes it, in an existing directory: a reader sees the old text
    /// or the new, also after a crash of the host. A link at the end is refused (`ELOOP`), not
    /// followed and not replaced.
    pub fn write_lasting(
        &self,
        path: impl AsRef<Path>,
        text: impl AsRef<[u8]>,
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> Result<()> {
        let path = path.as_ref();
        (|| {
            let (parent, name) = self.parent_of(path)?;
            match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
                Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => {}
                    FileType::Symlink => return Err(Errno::LOOP),
                    FileType::Directory => return Err(Errno::ISDIR),
                    _ => return Err(Errno::INVAL),
                },
            }
            // To sync it, the directory has to be opened for real.
            let parent = reopen(parent.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?;
            let name = Path::new(name);
            file::replace_in(&parent, name, text.as_ref(), mode, owner, file::Durability::Disk)
        })()
        .map_err(|errno| {
            let error = explain_make("write", path, errno);
            match errno {
                Errno::LOOP => error.with_hint("it is a symbolic link, or below a loop of them"),
                _ => error,
            }
        })
    }

    fn open_checked(
        &self,
        path: &Path,
        flags: OFlags,
        accept: impl Fn(FileType) -> bool,
    ) -> rustix::io::Result<OwnedFd> {
        if flags.intersects(OFlags::CREATE | OFlags::TMPFILE.difference(OFlags::DIRECTORY)) {
            return Err(Errno::INVAL);
        }
        let found = self.open_path(path, flags & OFlags::NOFOLLOW)?;
        match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
            kind if accept(kind) => reopen(found.as_fd(), flags.difference(OFlags::NOFOLLOW)),
            FileType::Directory => Err(Errno::ISDIR),
            FileType::Symlink => Err(Errno::LOOP),
            _ => Err(Errno::INVAL),
        }
    }

    fn open_path(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        resolve_in(self.fd.as_fd(), path, flags)
    }

    /// The open parent directory and the last name, which is a plain one.
    fn parent_of<'path>(&self, path: &'path Path) -> rustix::io::Result<(OwnedFd, &'path OsStr)> {
        let mut components = path.components();
        let Some(Component::Normal(name)) = components.next_back() else {
            return Err(Errno::INVAL);
        };
        let parent = self.open_path(components.as_path(), OFlags::DIRECTORY)?;
        Ok((parent, name))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Root> for OwnedFd {
    fn from(root: Root) -> Self {
        root.fd
    }
}

fn resolve_in(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    // An empty path is the root: openat2 would answer ENOENT.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        fault::check("openat2")?;
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // "..", met while something is renamed or mounted anywhere: openat2(2) says to try
            // again. EXDEV is the same at the last look, when the walk was caught outside.
            Err(Errno::AGAIN | Errno::XDEV) if tries < 256 => tries += 1,
            answer => return answer,
        }
    }
}

/// An `O_PATH` descriptor of one name in a directory, never through a link.
fn open_at(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// `/proc/self/fd/N`: the file itself, wherever its names are by now.
pub(crate) fn fd_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Opens for real what an `O_PATH` descriptor holds.
fn reopen(found: BorrowedFd<'_>, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let opened = rustix::fs::openat(CWD, fd_path(found), flags, Mode::empty())?;
    // A /proc that is not the kernel's would have given us something else.
    if same(&rustix::fs::fstat(found)?, &rustix::fs::fstat(&opened)?) {
        Ok(opened)
    } else {
        Err(Errno::XDEV)
    }
}

fn same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// chmod(2) of what an `O_PATH` descriptor holds, if it needs it.
fn set_mode(found: BorrowedFd<'_>, mode: Mode) -> rustix::io::Result<()> {
    if Mode::from_raw_mode(rustix::fs::fstat(found)?.st_mode & 0o7777) == mode {
        return Ok(());
    }
    rustix::fs::chmodat(CWD, fd_path(found), mode, AtFlags::empty())
}

/// Paths of a tree are said with quotes: they may come from inside it.
fn act(act: &str, path: &Path) -> String {
    format!("{act} {path:?}")
}

fn explain(call: &str, path: &Path, errno: Errno) -> Error {
    let error = Error::new(act(call, path), errno);
    match errno {
        Errno::INVAL => error.with_hint("it is not a regular file"),
        _ => error,
    }
}

fn explain_make(call: &str, path: &Path, errno: Errno) -> Error {
    let error = Error::new(act(call, path), errno);
    match errno {
        Errno::OVERFLOW => {
            error.with_hint("the mount maps ids and ours is not among them; act as its root")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests;
