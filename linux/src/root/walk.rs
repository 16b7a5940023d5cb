//! Making what is missing on a path, one name at a time, each in the open directory before it.
//!
//! openat2(2) can find but not make directories, so links are read and followed here. The walk
//! keeps the directories it came through: `..` goes back to one of them and never above the first.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::{open_at, set_mode};
use crate::{Errno, fault};

/// What is to be at the end of the path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Last {
    Directory { mode: u32 },
    File { mode: u32 },
}

/// As many as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Names that vanish again between two calls: somebody is working against us.
const MAX_RACES: usize = 128;

/// The `O_PATH` descriptor of what is at `path` in the end.
pub(super) fn make(root: BorrowedFd<'_>, path: &Path, last: Last) -> rustix::io::Result<OwnedFd> {
    let mut walk = Walk::new(root, path)?;
    let mut races = 0;
    while let Some(name) = walk.ahead.pop_front() {
        match walk.step(&name, last) {
            // Gone or come between two calls: look again.
            Err(Errno::NOENT | Errno::EXIST) if races < MAX_RACES => {
                races += 1;
                walk.ahead.push_front(name);
            }
            Err(errno) => return Err(errno),
            Ok(Some(file)) => return Ok(file),
            Ok(None) => {}
        }
    }
    match last {
        Last::Directory { .. } => walk.into_here(),
        Last::File { .. } => Err(Errno::ISDIR),
    }
}

struct Walk<'root> {
    root: BorrowedFd<'root>,
    /// The directories below the root that we are in.
    behind: Vec<OwnedFd>,
    ahead: VecDeque<OsString>,
    links: usize,
}

impl<'root> Walk<'root> {
    fn new(root: BorrowedFd<'root>, path: &Path) -> rustix::io::Result<Self> {
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(Errno::INVAL);
        }
        Ok(Self { root, behind: Vec::new(), ahead: names(path), links: 0 })
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.behind.last().map_or(self.root, AsFd::as_fd)
    }

    fn into_here(mut self) -> rustix::io::Result<OwnedFd> {
        match self.behind.pop() {
            Some(here) => Ok(here),
            None => rustix::io::fcntl_dupfd_cloexec(self.root, 0),
        }
    }

    /// One name further. Answers the file at the end of the path when that is what `name` was.
    fn step(&mut self, name: &OsStr, last: Last) -> rustix::io::Result<Option<OwnedFd>> {
        if name == ".." {
            self.behind.pop();
            return Ok(None);
        }
        let is_last = self.ahead.is_empty();
        let found = match open_at(self.here(), name) {
            Err(Errno::NOENT) => self.create(name, is_last, last)?,
            answer => answer?,
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
            FileType::Directory => {
                self.behind.push(found);
                Ok(None)
            }
            FileType::Symlink => {
                self.follow(found.as_fd())?;
                Ok(None)
            }
            _ if is_last && matches!(last, Last::File { .. }) => Ok(Some(found)),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn follow(&mut self, link: BorrowedFd<'_>) -> rustix::io::Result<()> {
        self.links += 1;
        // Links of procfs do not go where they say they go (proc_pid_fd(5)).
        let stat = rustix::fs::fstatfs(link)?;
        let procfs =
            stat.f_type.cast_unsigned() == u64::from(linux_raw_sys::general::PROC_SUPER_MAGIC);
        if self.links > MAX_LINKS || procfs {
            return Err(Errno::LOOP);
        }
        let target = read_link(link)?;
        if target.is_absolute() {
            self.behind.clear();
        }
        let mut ahead = names(&target);
        ahead.append(&mut self.ahead);
        self.ahead = ahead;
        Ok(())
    }

    fn create(&self, name: &OsStr, is_last: bool, last: Last) -> rustix::io::Result<OwnedFd> {
        let mode = match last {
            Last::File { mode } if is_last => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(mode & 0o7777);
                fault::check("openat")?;
                let file = rustix::fs::openat(self.here(), name, flags, mode)?;
                rustix::fs::fchmod(&file, mode)?;
                // The caller gets what is there now, as if it had been there before.
                drop(file);
                return open_at(self.here(), name);
            }
            Last::File { .. } => 0o755,
            Last::Directory { mode } => mode & 0o7777,
        };
        let mode = Mode::from_raw_mode(mode);
        fault::check("mkdirat")?;
        rustix::fs::mkdirat(self.here(), name, mode)?;
        let made = open_at(self.here(), name)?;
        let stat = rustix::fs::fstat(&made)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            // Set-group-id comes from the parent and stays (inode(7)).
            let inherited = Mode::from_raw_mode(stat.st_mode) & Mode::SGID;
            set_mode(made.as_fd(), mode | inherited)?;
        }
        Ok(made)
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// What an open link (`O_PATH | O_NOFOLLOW`) says; `EINVAL` when it is none.
pub(super) fn read_link(link: BorrowedFd<'_>) -> rustix::io::Result<PathBuf> {
    // An empty name is the descriptor's own file; for what is no link that is ENOENT.
    match rustix::fs::readlinkat(link, c"", Vec::new()) {
        Ok(target) => Ok(PathBuf::from(OsString::from_vec(target.into_bytes()))),
        Err(Errno::NOENT) => Err(Errno::INVAL),
        Err(errno) => Err(errno),
    }
}
