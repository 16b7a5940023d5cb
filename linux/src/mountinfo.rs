//! The mounts that a process sees: proc_pid_mountinfo(5).

mod statmount;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::device::DeviceNumber;
use crate::process::Pid;
use crate::{Errno, Error, Result, file};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    /// Its id; reused after unmount.
    pub id: u32,
    /// The id of the mount it is on.
    pub parent: u32,
    /// st_dev of files on it.
    pub dev: DeviceNumber,
    /// The directory of the filesystem that is visible.
    pub root: PathBuf,
    /// Where, relative to the reader's root.
    pub mount_point: PathBuf,
    /// Options of this mount: `rw,nosuid`.
    pub options: String,
    /// Where its mount events come from and go to.
    pub propagation: Tags,
    /// `ext4`, `fuse.sshfs`.
    pub fstype: String,
    /// What was mounted; often only a word.
    pub source: String,
    /// Options of the filesystem, the same for all mounts of it.
    pub super_options: String,
}

/// The optional fields; all absent: private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tags {
    /// Shares events with the peer group.
    pub shared: Option<u32>,
    /// Receives events of the peer group.
    pub master: Option<u32>,
    /// The nearest dominant group below our root, when the master is out of sight.
    pub propagate_from: Option<u32>,
    /// Cannot be bind mounted.
    pub unbindable: bool,
}

impl MountInfo {
    /// Has this mount the option?
    pub fn has_option(&self, option: &str) -> bool {
        self.options.split(',').any(|known| known == option)
    }

    /// Has the filesystem the option?
    pub fn has_super_option(&self, option: &str) -> bool {
        self.super_options.split(',').any(|known| known == option)
    }

    /// `/dev/sda (deleted)`-style marks aside, is the mount read-only by itself or below?
    pub fn is_read_only(&self) -> bool {
        self.has_option("ro") || self.has_super_option("ro")
    }
}

/// All lines of the text; later mounts follow earlier ones.
pub fn parse(text: impl AsRef<[u8]>) -> Result<Vec<MountInfo>> {
    parse_lines(text.as_ref(), |_| true)
}

fn parse_lines(text: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<MountInfo>> {
    text.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty() && is_wanted(line))
        .map(|line| {
            parse_line(line).ok_or_else(|| {
                let line = String::from_utf8_lossy(line);
                Error::new(format!("parse mountinfo line {line:?}"), Errno::INVAL)
            })
        })
        .collect()
}

/// The mounts in the caller's namespace, below its root.
pub fn of_self() -> Result<Vec<MountInfo>> {
    parse(file::read("/proc/thread-self/mountinfo")?)
}

/// Those of them that are cgroup hierarchies, in no order. A host has thousands of mounts, and to
/// have the kernel write down all of them takes milliseconds.
pub fn cgroups_of_self() -> Result<Vec<MountInfo>> {
    // Not an error of the caller's: an older kernel, or somebody's seccomp filter.
    statmount::of_self_with(None, is_cgroup).or_else(|_| cgroups_by_text())
}

/// Those of the hierarchies that are on `top` and below it; `None` where the kernel tells of all
/// mounts only.
pub fn cgroups_below(top: &Path) -> Option<Vec<MountInfo>> {
    statmount::of_self_with(Some(top), is_cgroup).ok()
}

fn is_cgroup(magic: u64) -> bool {
    use linux_raw_sys::general::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC};
    [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].map(u64::from).contains(&magic)
}

fn cgroups_by_text() -> Result<Vec<MountInfo>> {
    // Blanks in paths are escaped, so the mark is the only one of its kind in a line.
    const MARK: &[u8] = b" - cgroup";
    let text = file::read("/proc/thread-self/mountinfo")?;
    parse_lines(&text, |line| line.windows(MARK.len()).any(|part| part == MARK))
}

/// The mounts that `pid` sees.
pub fn of(pid: Pid) -> Result<Vec<MountInfo>> {
    parse(file::read(format!("/proc/{pid}/mountinfo"))?)
}

fn parse_line(line: &[u8]) -> Option<MountInfo> {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let dev = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let root = path(fields.next()?);
    let mount_point = path(fields.next()?);
    let options = text(fields.next()?);
    let mut propagation = Tags::default();
    loop {
        match fields.next()? {
            b"-" => break,
            tag => read_tag(tag, &mut propagation),
        }
    }
    let fstype = text(fields.next()?);
    // An empty source is an empty field, and some filesystems print a blank in it.
    let rest: Vec<_> = fields.collect();
    let (super_options, source) = rest.split_last()?;
    let source = text(&source.join(&b' '));
    let super_options = text(super_options);
    Some(MountInfo {
        id,
        parent,
        dev,
        root,
        mount_point,
        options,
        propagation,
        fstype,
        source,
        super_options,
    })
}

/// Unknown tags are passed over, as proc_pid_mountinfo(5) asks of parsers.
fn read_tag(tag: &[u8], tags: &mut Tags) {
    let tag = String::from_utf8_lossy(tag);
    let (name, value) = tag.split_once(':').unwrap_or((&tag, ""));
    match name {
        "shared" => tags.shared = value.parse().ok(),
        "master" => tags.master = value.parse().ok(),
        "propagate_from" => tags.propagate_from = value.parse().ok(),
        "unbindable" => tags.unbindable = true,
        _ => {}
    }
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

/// Blank, tab, newline, backslash and `#` are written as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                plain.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                plain.push(first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests;
