//! Copies files from one tree into another, by descriptor: neither side's links are followed below
//! the two places that were named.
//!
//! What is there already is replaced in one step, by rename. A directory is merged into one that is
//! there; a file takes the place of an empty directory, a directory that of a file.

mod file;

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use linux::root::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

/// One name in an open directory.
#[derive(Debug)]
pub struct Place {
    pub directory: Root,
    pub name: OsString,
}

/// Who owns what is made.
#[derive(Debug, Clone, Copy)]
pub enum Owner {
    /// These, whoever owned the source.
    Always(u32, u32),
    /// The source's ids, moved: `from` becomes `to`, for `size` ids.
    Moved { from: (u32, u32), to: (u32, u32), size: u32 },
}

/// How it is copied.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub owner: Owner,
    /// Devices are copied as devices. Out of a container they would be its gift to the host.
    pub devices: bool,
    /// So are programs that run as their owner.
    pub set_id: bool,
}

/// One name on its way from one directory to another.
struct Step<'a> {
    from: &'a Root,
    name: &'a OsStr,
    to: &'a Root,
    new: &'a OsStr,
    rules: &'a Rules,
}

/// What a file is called, for a message.
type Shown<'a> = &'a str;

/// Copies what is at `from` to `to`, under the name that `to` has.
pub fn copy(from: &Place, to: &Place, rules: &Rules) -> Result<()> {
    let shown = from.name.to_string_lossy().into_owned();
    let (name, new) = (&from.name, &to.name);
    entry(&Step { from: &from.directory, name, to: &to.directory, new, rules }, &shown)
}

/// Copies everything below the directory `from` into the directory `to`.
pub fn copy_contents(from: &Root, to: &Root, rules: &Rules) -> Result<()> {
    contents(from, to, rules, "")
}

fn contents(from: &Root, to: &Root, rules: &Rules, above: Shown<'_>) -> Result<()> {
    for name in from.list("")? {
        let shown = format!("{above}/{}", name.to_string_lossy());
        entry(&Step { from, name: &name, to, new: &name, rules }, &shown)?;
    }
    Ok(())
}

fn entry(step: &Step<'_>, shown: Shown<'_>) -> Result<()> {
    let &Step { from, name, to, new, rules } = step;
    let stat = from.stat_no_follow(name)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let copied = match kind {
        FileType::Directory => return directory(step, shown),
        FileType::RegularFile => file::copy(step, &stat),
        FileType::Symlink => link(step, &stat),
        FileType::Fifo => node(to, new, &stat, rules),
        FileType::Socket => return Ok(()),
        _ if !rules.devices => bail!("copy {shown}: it is a device; only its program may use it"),
        _ => node(to, new, &stat, rules),
    };
    copied.with_context(|| format!("copy {shown}"))
}

fn directory(step: &Step<'_>, shown: Shown<'_>) -> Result<()> {
    let &Step { from, name, to, new, rules } = step;
    let source = Root::from_fd(from.open_file(name, OFlags::RDONLY | OFlags::NOFOLLOW)?);
    let stat = source.stat("")?;
    let act = || format!("make directory {shown}");
    let made = match rustix::fs::mkdirat(to, new, Mode::RWXU) {
        Ok(()) => true,
        Err(Errno::EXIST) if is_directory(to, new).with_context(act)? => false,
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(to, new, AtFlags::empty()).with_context(act)?;
            rustix::fs::mkdirat(to, new, Mode::RWXU).with_context(act)?;
            true
        }
        Err(errno) => return Err(errno).with_context(act),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(to, new, flags, Mode::empty()).with_context(act)?;
    let target = Root::from_fd(opened);
    contents(&source, &target, rules, shown)?;
    // A directory that was there keeps its owner and mode.
    if made { settle(&target, &stat, rules).with_context(act) } else { Ok(()) }
}

fn is_directory(at: &Root, name: &OsStr) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn link(step: &Step<'_>, stat: &Stat) -> Result<()> {
    let &Step { from, name, to, new, rules } = step;
    let target = from.read_link(name)?;
    replace(to, new, |temporary| {
        rustix::fs::symlinkat(&target, to, temporary)?;
        own_by_name(to, temporary, stat, rules)
    })
}

fn node(to: &Root, new: &OsStr, stat: &Stat, rules: &Rules) -> Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    replace(to, new, |temporary| {
        rustix::fs::mknodat(to, temporary, kind, mode, stat.st_rdev)?;
        own_by_name(to, temporary, stat, rules)
    })
}

fn own_by_name(to: &Root, name: &OsStr, stat: &Stat, rules: &Rules) -> Result<()> {
    let (uid, gid) = rules.owner.of(stat)?;
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Makes something under a name of nobody's and puts it in its place.
fn replace(to: &Root, name: &OsStr, make: impl FnOnce(&OsStr) -> Result<()>) -> Result<()> {
    let temporary = temporary(name);
    // What a copy of the same process id left when it was killed.
    let _ = rustix::fs::unlinkat(to, &temporary, AtFlags::empty());
    let made = make(&temporary).and_then(|()| put(to, &temporary, name));
    if made.is_err() {
        // The first failure is the one to report.
        let _ = rustix::fs::unlinkat(to, &temporary, AtFlags::empty());
    }
    made
}

fn put(to: &Root, temporary: &OsStr, name: &OsStr) -> Result<()> {
    match rustix::fs::renameat(to, temporary, to, name) {
        Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {}
        answer => return Ok(answer?),
    }
    match rustix::fs::unlinkat(to, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            bail!("a directory that is not empty is in its place; remove it first")
        }
        answer => answer?,
    }
    Ok(rustix::fs::renameat(to, temporary, to, name)?)
}

fn temporary(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(format!(".isula-cp.{}.", std::process::id()));
    // Names are at most 255 bytes.
    temporary.push(name.to_string_lossy().chars().take(40).collect::<String>());
    temporary
}

/// Owner, mode and times of the source.
fn settle(made: impl AsFd, stat: &Stat, rules: &Rules) -> Result<()> {
    let (uid, gid) = rules.owner.of(stat)?;
    rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    // After chown, which clears the set-id bits.
    let kept = if rules.set_id { 0o7777 } else { 0o1777 };
    rustix::fs::fchmod(&made, Mode::from_raw_mode(stat.st_mode & kept))?;
    rustix::fs::futimens(&made, &times(stat))?;
    Ok(())
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: i64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec.cast_signed()),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
    }
}

impl Owner {
    /// Who owns what is made of `stat`'s.
    pub fn of(self, stat: &Stat) -> Result<(u32, u32)> {
        let (from, to, size) = match self {
            Self::Always(uid, gid) => return Ok((uid, gid)),
            Self::Moved { from, to, size } => (from, to, size),
        };
        let moved = |id: u32, from: u32, to: u32| {
            let offset = id.checked_sub(from).filter(|&offset| offset < size)?;
            to.checked_add(offset)
        };
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        moved(uid, from.0, to.0).zip(moved(gid, from.1, to.1)).with_context(|| {
            format!("owner {uid}:{gid} is nobody on the other side; leave --archive out")
        })
    }
}

#[cfg(test)]
mod tests;
