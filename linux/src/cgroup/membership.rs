//! Which cgroups a process is in: `/proc/PID/cgroup`.
//!
//! The file comes from the kernel, the names in it from whoever may make cgroups, which includes
//! the guest. Nothing here is resolved; sizes are bounded; a path that leaves our own cgroup
//! namespace (`/../..`, cgroup_namespaces(7)) is an answer, not a place to go.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::layout::{Hierarchy, Version};
use super::read_bounded;
use crate::error::{Errno, Error, Result};
use crate::process::Pid;

/// At most a path (PATH_MAX) for each of the kernel's hierarchies, with room to spare.
const FILE_MAX: usize = 512 * 1024;

/// One line of `/proc/PID/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// v1: the controllers, or `name=NAME`. v2: empty.
    pub controllers: Vec<String>,
    /// From the root of the reader's cgroup namespace.
    pub path: PathBuf,
}

impl Entry {
    /// Whether it says where the process is in that hierarchy.
    pub fn is_of(&self, hierarchy: &Hierarchy) -> bool {
        match hierarchy.version {
            Version::V2 => self.controllers.is_empty(),
            Version::V1 => self.controllers.iter().any(|name| hierarchy.controllers.contains(name)),
        }
    }
}

/// All lines of one process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    entries: Vec<Entry>,
}

impl Membership {
    /// Reads the membership of `pid`.
    pub fn of(pid: Pid) -> Result<Self> {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        Self::parse(&read_bounded(&path, FILE_MAX)?)
            .map_err(|errno| Error::new(format!("read {}", path.display()), errno))
    }

    /// Parses the text of the file.
    pub fn parse(text: &[u8]) -> std::result::Result<Self, Errno> {
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map(parse_line).collect::<Option<Vec<_>>>().ok_or(Errno::BADMSG)?;
        Ok(Self { entries })
    }

    /// The lines, in the kernel's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Path in `hierarchy`, if the process is in it and the path is below our namespace's root.
    pub fn path_in(&self, hierarchy: &Hierarchy) -> Option<&Path> {
        let entry = self.entries.iter().find(|entry| entry.is_of(hierarchy))?;
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        entry.path.components().all(plain).then_some(entry.path.as_path())
    }
}

/// `ID:CONTROLLERS:PATH`; only the first two colons separate, a name may hold more.
fn parse_line(line: &[u8]) -> Option<Entry> {
    let mut parts = line.splitn(3, |&byte| byte == b':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    std::str::from_utf8(id).ok()?.parse::<u32>().ok()?;
    let controllers = std::str::from_utf8(controllers).ok()?;
    let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
    path.starts_with(b"/").then(|| Entry {
        controllers: controllers.collect(),
        path: PathBuf::from(OsStr::from_bytes(path)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hierarchy(version: Version, controllers: &[&str]) -> Hierarchy {
        Hierarchy::new(version, controllers, "/sys/fs/cgroup/x", "/")
    }

    #[test]
    fn finds_each_hierarchy() {
        let text = b"11:cpu,cpuacct:/isulad/a:b\n10:name=systemd:/isulad/c/init.scope\n\
                     2:memory:/../../m\n0::/unified path\n";
        let membership = Membership::parse(text).unwrap();
        let find = |version, controllers: &[&str]| {
            membership.path_in(&hierarchy(version, controllers)).map(|path| path.to_str().unwrap())
        };
        assert_eq!(find(Version::V1, &["cpuacct", "cpu"]), Some("/isulad/a:b"));
        assert_eq!(find(Version::V1, &["name=systemd"]), Some("/isulad/c/init.scope"));
        assert_eq!(find(Version::V2, &["pids"]), Some("/unified path"));
        assert_eq!(find(Version::V1, &["memory"]), None, "outside our cgroup namespace");
        assert_eq!(find(Version::V1, &["blkio"]), None);
    }

    #[test]
    fn a_line_of_another_shape_is_refused() {
        for text in [&b"nonsense\n"[..], b"x:cpu:/\n", b"1:cpu:relative\n", b"1:\xff:/\n"] {
            assert_eq!(Membership::parse(text), Err(Errno::BADMSG), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = Membership::parse(&text);
        }

        #[test]
        fn any_name_survives(name in "[^\n\0/]{1,40}") {
            let text = format!("0::/{name}\n");
            let membership = Membership::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(membership.entries()[0].path.to_str().unwrap(), format!("/{name}"));
        }
    }
}
