//! `tmpcopyup`: a tmpfs that begins with what it covers.
//!
//! Everything is opened from the two directories' descriptors, without following a link. Devices
//! and sockets stay behind: the one is the device cgroup's business, the other nobody's.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::error::Context as _;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chmodat, chownat, mkdirat,
    mknodat, openat, openat2, readlinkat, statat, symlinkat,
};

use crate::Result;
use crate::error::During as _;

/// Copies what is in the directory `from` into the empty directory `to`, with owners and modes,
/// which those of `from` itself are too.
pub(super) fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    // Directories still to be copied, by their path from the two: whoever made the tree decides
    // how deep it is, so that neither the stack nor descriptors count the levels.
    let mut open = vec![PathBuf::from(".")];
    while let Some(path) = open.pop() {
        let step = || format!("copy {} of what is covered", path.display());
        let source = directory(from, &path).step(step)?;
        let target = directory(to, &path).step(step)?;
        take_attributes(&source, &target).step(step)?;
        for name in names(&source).step(step)? {
            let child = path.join(&name);
            let is_directory = copy(&source, &target, &name)
                .step(|| format!("copy {} of what is covered", child.display()))?;
            if is_directory {
                open.push(child);
            }
        }
    }
    Ok(())
}

fn directory(top: BorrowedFd<'_>, path: &Path) -> linux::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(top, path, flags, Mode::empty(), resolve).during(|| "open a directory")
}

fn names(directory: &OwnedFd) -> linux::Result<Vec<PathBuf>> {
    use std::os::unix::ffi::OsStrExt as _;
    let act = || "list a directory";
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).during(act)? {
        let entry = entry.during(act)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
        }
    }
    Ok(names)
}

fn take_attributes(source: &OwnedFd, target: &OwnedFd) -> linux::Result<()> {
    let stat = rustix::fs::fstat(source).during(|| "stat a directory")?;
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::fchown(target, owner.0, owner.1).during(|| "set its owner")?;
    rustix::fs::fchmod(target, mode(&stat)).during(|| "set its mode")
}

/// Copies one entry, a directory without what is in it; answers whether it is one.
fn copy(source: &OwnedFd, target: &OwnedFd, name: &Path) -> linux::Result<bool> {
    let stat = statat(source, name, AtFlags::SYMLINK_NOFOLLOW).during(|| "stat")?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(target, name, Mode::RWXU).during(|| "make a directory")?;
            return Ok(true);
        }
        FileType::RegularFile => copy_file(source, target, name)?,
        FileType::Symlink => {
            let link = readlinkat(source, name, Vec::new()).during(|| "read a link")?;
            symlinkat(link, target, name).during(|| "make a link")?;
        }
        FileType::Fifo => {
            mknodat(target, name, FileType::Fifo, Mode::RUSR, 0).during(|| "make a fifo")?;
        }
        _ => return Ok(false),
    }
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    chownat(target, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
        .during(|| "set its owner")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // The target is ours alone until it is attached: the name still leads to what was made.
        chmodat(target, name, mode(&stat), AtFlags::empty()).during(|| "set its mode")?;
    }
    Ok(false)
}

fn copy_file(source: &OwnedFd, target: &OwnedFd, name: &Path) -> linux::Result<()> {
    // It may have been replaced by a fifo since it was looked at.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let from = openat(source.as_fd(), name, flags, Mode::empty()).during(|| "open")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let to = openat(target.as_fd(), name, flags, Mode::RUSR | Mode::WUSR).during(|| "create")?;
    std::io::copy(&mut File::from(from), &mut File::from(to)).map(drop).during(|| "copy")
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_tree_is_copied_as_it_is() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| from.path().join(name);
        std::fs::create_dir_all(path("a/b")).unwrap();
        std::fs::write(path("a/b/file"), "text").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path("link")).unwrap();
        let mode = std::fs::Permissions::from_mode;
        std::fs::set_permissions(path("a/b/file"), mode(0o640)).unwrap();
        std::fs::set_permissions(path("a"), mode(0o1777)).unwrap();
        let open = |dir: &tempfile::TempDir| File::open(dir.path()).unwrap();
        copy_up(open(&from).as_fd(), open(&to).as_fd()).unwrap();

        let path = |name: &str| to.path().join(name);
        assert_eq!(std::fs::read_to_string(path("a/b/file")).unwrap(), "text");
        assert_eq!(std::fs::read_link(path("link")).unwrap(), Path::new("/etc/passwd"));
        let mode =
            |name: &str| std::fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("a"), mode("a/b/file")), (0o1777, 0o640));
    }
}
