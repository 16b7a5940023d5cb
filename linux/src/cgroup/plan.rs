//! Settings to be written, and their way back.
//!
//! Everything that can be refused beforehand is refused while the list is made; then it is written.
//! Settings that bind each other (memory below memory and swap, burst below quota) are a group:
//! the order that the kernel accepts depends on where they come from.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::kernfs::{self, read_text};
use crate::error::{Errno, Error, Result};

/// A file to write, for a member of `linux.resources`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    member: Cow<'static, str>,
    file: String,
    value: String,
    kind: Kind,
}

/// How the file is read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// It shows the value alone.
    Plain,
    /// It shows the number alone, unless the kernel has taken it and done nothing.
    Confirmed { hint: &'static str },
    /// A line for each object; `reset` is the value of an object without one.
    Line { object: String, reset: String },
    /// Lines of names and numbers, of which this is one.
    Named(&'static str),
}

impl Setting {
    pub(super) fn new(
        member: impl Into<Cow<'static, str>>,
        file: impl Into<String>,
        value: impl ToString,
    ) -> Self {
        let (member, file) = (member.into(), file.into());
        Self { member, file, value: value.to_string(), kind: Kind::Plain }
    }

    /// Of one object (a disk, a link), in a file with a line for each.
    pub(super) fn of_object(mut self, object: impl ToString, reset: impl Into<String>) -> Self {
        self.kind = Kind::Line { object: object.to_string(), reset: reset.into() };
        self
    }

    /// In a file that shows it behind `name`.
    pub(super) fn named(mut self, name: &'static str) -> Self {
        self.kind = Kind::Named(name);
        self
    }

    /// Refused with `hint` if the kernel does not show it afterwards.
    pub(super) fn confirmed(mut self, hint: &'static str) -> Self {
        self.kind = Kind::Confirmed { hint };
        self
    }

    fn text(&self) -> Cow<'_, str> {
        match &self.kind {
            Kind::Line { object, .. } => Cow::Owned(format!("{object} {}", self.value)),
            // A write of nothing does nothing; the kernel cuts off the line feed.
            _ if self.value.is_empty() => Cow::Borrowed("\n"),
            _ => Cow::Borrowed(&self.value),
        }
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(&self.file);
        let text = self.text();
        kernfs::write(&path, &text).map_err(|errno| {
            let call =
                format!("linux.resources.{}: write {text:?} to {}", self.member, path.display());
            let error = Error::new(call, errno);
            match hint(&self.member, errno) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })?;
        match self.kind {
            Kind::Confirmed { hint } if !self.is_shown(&path) => {
                Err(unsupported(&self.member, &self.value, hint))
            }
            _ => Ok(()),
        }
    }

    /// Whether the file shows the value, but for what rounding to a page (64 KiB at most) changes.
    fn is_shown(&self, path: &Path) -> bool {
        let shown = read_text(path).ok().and_then(|text| text.parse::<u64>().ok());
        let wanted = self.value.parse().ok();
        shown.zip(wanted).is_some_and(|(shown, wanted)| shown.abs_diff(wanted) < 64 * 1024)
    }

    /// The same with the value that is there now; `None` if that cannot be told.
    fn current(&self, dir: &Path) -> Option<Self> {
        let text = read_text(&dir.join(&self.file)).ok()?;
        let value = match &self.kind {
            Kind::Plain | Kind::Confirmed { .. } => Some(text),
            Kind::Line { object, reset } => {
                let behind = |line: &str| Some(line.strip_prefix(object)?.trim().to_owned());
                let line = text.lines().find(|line| line.split(' ').next() == Some(object));
                Some(line.and_then(behind).unwrap_or_else(|| reset.clone()))
            }
            Kind::Named(name) => text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned)),
        };
        // An old value need not be confirmed: it was there.
        let kind = match &self.kind {
            Kind::Confirmed { .. } => Kind::Plain,
            kind => kind.clone(),
        };
        Some(Self { value: value?, kind, ..self.clone() })
    }
}

/// What helps against the refusals that people meet.
fn hint(member: &str, errno: Errno) -> Option<&'static str> {
    Some(match (member, errno) {
        (_, Errno::NOENT) if member.starts_with("unified") => {
            "the v2 tree of this host has no such controller or file"
        }
        (_, Errno::NOENT) => "this kernel has no such control",
        ("memory.limit" | "memory.swap", Errno::BUSY) => {
            "more is in use and cannot be reclaimed; choose a higher limit"
        }
        ("memory.limit" | "memory.swap", Errno::INVAL) => {
            "memory.swap counts memory and swap together and must not be below memory.limit"
        }
        ("cpu.quota" | "cpu.period" | "cpu.burst", Errno::INVAL) => {
            "quota at least 1000, period 1000 to 1000000, burst at most quota, \
             none above what the parent cgroup has"
        }
        ("cpu.realtimeRuntime" | "cpu.realtimePeriod", Errno::INVAL) => {
            "the parent cgroup has no realtime to give; raise its cpu.rt_runtime_us first"
        }
        ("cpu.shares", Errno::INVAL) => "shares have no effect while cpu.idle is 1",
        ("cpu.cpus" | "cpu.mems", _) => {
            "name online CPUs or memory nodes that the parent cgroup has, as in 0-3,8"
        }
        (_, Errno::NODEV | Errno::NXIO) if member.starts_with("blockIO.") => {
            "name a whole disk by major:minor"
        }
        ("network.priorities", Errno::NODEV) => "name a link of the host",
        (_, Errno::PERM | Errno::ACCESS) => "run it on the host, as root",
        _ => return None,
    })
}

/// A member that this host or this version of the interface cannot honour.
pub(super) fn unsupported(
    member: &str,
    value: impl std::fmt::Display,
    hint: &'static str,
) -> Error {
    let call = format!("linux.resources.{member}: set to {value}");
    Error::new(call, Errno::OPNOTSUPP).with_hint(hint)
}

/// Groups of settings in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan(Vec<(PathBuf, Vec<Setting>)>);

impl Plan {
    /// One setting after all before it.
    pub(super) fn push(&mut self, dir: &Path, setting: Setting) {
        self.0.push((dir.to_owned(), vec![setting]));
    }

    /// Each after all before it.
    pub(super) fn extend(&mut self, dir: &Path, settings: impl IntoIterator<Item = Setting>) {
        settings.into_iter().for_each(|setting| self.push(dir, setting));
    }

    /// Settings that bind each other.
    pub(super) fn group(&mut self, dir: &Path, settings: impl IntoIterator<Item = Setting>) {
        self.0.push((dir.to_owned(), settings.into_iter().collect()));
    }

    /// Writes all, up to the first refusal.
    pub(super) fn write(&self) -> Result<()> {
        self.0.iter().try_for_each(|(dir, group)| write_in_any_order(dir, group))
    }

    /// The values that are there now. Those that cannot be told are left out.
    pub(super) fn current(&self) -> Self {
        let current = |(dir, group): &(PathBuf, Vec<Setting>)| {
            (dir.clone(), group.iter().filter_map(|setting| setting.current(dir)).collect())
        };
        // Backwards, and of two settings of one file the first has the value from before.
        Self(self.0.iter().rev().map(current).collect())
    }

    /// Writes what can be written; the members that could not be.
    pub(super) fn write_back(&self) -> Vec<String> {
        let fails =
            |(dir, group): &&(PathBuf, Vec<Setting>)| write_in_any_order(dir, group).is_err();
        let members = |(_, group): &(PathBuf, Vec<Setting>)| {
            group.iter().map(|setting| setting.member.to_string()).collect::<Vec<_>>()
        };
        self.0.iter().filter(fails).flat_map(members).collect()
    }
}

/// One that is refused as invalid is tried again after the others.
fn write_in_any_order(dir: &Path, settings: &[Setting]) -> Result<()> {
    let mut left: Vec<&Setting> = settings.iter().collect();
    loop {
        let before = left.len();
        let mut first_error = None;
        let mut refused = Vec::new();
        for setting in left {
            match setting.write(dir) {
                Ok(()) => {}
                Err(error) if error.is(Errno::INVAL) => {
                    first_error.get_or_insert(error);
                    refused.push(setting);
                }
                Err(error) => return Err(error),
            }
        }
        match first_error {
            None => return Ok(()),
            Some(error) if refused.len() == before => return Err(error),
            Some(_) => left = refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of files as a cgroup shows them.
    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn the_value_that_is_there_is_found_in_each_kind_of_file() {
        let dir = dir(&[
            ("pids.max", "77\n"),
            ("cpuset.cpus", "\n"),
            ("io.max", "8:0 rbps=1 wbps=max\n8:16 rbps=2 wbps=max\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n"),
        ]);
        let current = |setting: Setting| {
            setting.current(dir.path()).map(|setting| setting.text().into_owned())
        };
        let of_disk = |disk| Setting::new("m", "io.max", "rbps=9").of_object(disk, "rbps=max");
        assert_eq!(current(Setting::new("m", "pids.max", 5)).as_deref(), Some("77"));
        assert_eq!(current(Setting::new("m", "cpuset.cpus", "0")).as_deref(), Some("\n"));
        assert_eq!(current(of_disk("8:16")).as_deref(), Some("8:16 rbps=2 wbps=max"));
        assert_eq!(current(of_disk("8:1")).as_deref(), Some("8:1 rbps=max"));
        let oom = Setting::new("m", "memory.oom_control", 1).named("oom_kill_disable");
        assert_eq!(current(oom).as_deref(), Some("0"));
        assert_eq!(current(Setting::new("m", "gone", 1)), None);
    }
}
