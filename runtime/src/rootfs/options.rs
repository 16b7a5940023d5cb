//! The options of a mount entry: which attributes they set, which go to the filesystem.
//!
//! The words are those of the runtime specification, section "Linux mount options". Pure.

use linux::mount::{Atime, Attributes, Flags, Propagation};
use oci_spec::runtime::Mount;

use crate::{Error, Result};

/// The words of an entry that are not a file system's own, as engines ask for them.
pub(crate) const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// What the options of one entry ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// It is a bind mount, with the mounts below its source when recursive.
    pub(crate) bind: Option<Recursion>,
    /// Attributes of the mount itself.
    pub(crate) own: Named,
    /// Attributes of it and of every mount below.
    pub(crate) all: Named,
    pub(crate) propagation: Option<(Propagation, Recursion)>,
    pub(crate) idmap: Option<Recursion>,
    /// A tmpfs begins with what it covers.
    pub(crate) copy_up: bool,
    /// What is mounted there already is changed.
    pub(crate) remount: bool,
    /// Parameters of the filesystem: a flag has no value.
    pub(crate) parameters: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recursion {
    Single,
    Recursive,
}

/// Mount attributes named by the entry; what is not named stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) set: Flags,
    pub(crate) clear: Flags,
    pub(crate) atime: Option<Atime>,
}

impl Options {
    /// The options of `mount`, the `index`th entry.
    pub(crate) fn of(mount: &Mount, index: usize) -> Result<Self> {
        let mut options = Self::default();
        for word in mount.options().iter().flatten() {
            options.take(word).map_err(|reason| {
                Error::config(
                    format!("mounts[{index}] ({})", mount.destination().display()),
                    format!("option {word:?} {reason}"),
                )
            })?;
        }
        if mount.typ().as_deref() == Some("bind") && options.bind.is_none() {
            options.bind = Some(Recursion::Single);
        }
        Ok(options)
    }

    fn take(&mut self, word: &str) -> Result<(), &'static str> {
        if self.bind_or_propagation(word) || self.attribute(word) {
            return Ok(());
        }
        match word {
            "defaults" | "norelatime" | "rnorelatime" => {}
            // fsopen(2) has no word for these. A new filesystem does not log its mount, and the
            // kernel counts versions of inodes where a filesystem can (ext4 from Linux 6.1 on).
            "iversion" | "noiversion" | "loud" | "silent" => {}
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "mand" | "nomand" => return Err("is gone from Linux 5.15; leave it out"),
            _ => {
                let (key, value) = match word.split_once('=') {
                    Some((key, value)) => (key, Some(value.to_owned())),
                    None => (word, None),
                };
                if key.is_empty() {
                    return Err("has no name");
                }
                self.parameters.push((key.to_owned(), value));
            }
        }
        Ok(())
    }

    fn bind_or_propagation(&mut self, word: &str) -> bool {
        use Propagation::{Private, Shared, Slave, Unbindable};
        use Recursion::{Recursive, Single};
        match word {
            "bind" => self.bind = Some(self.bind.unwrap_or(Single)),
            "rbind" => self.bind = Some(Recursive),
            "idmap" => self.idmap = Some(self.idmap.unwrap_or(Single)),
            "ridmap" => self.idmap = Some(Recursive),
            "private" => self.propagation = Some((Private, Single)),
            "rprivate" => self.propagation = Some((Private, Recursive)),
            "slave" => self.propagation = Some((Slave, Single)),
            "rslave" => self.propagation = Some((Slave, Recursive)),
            "shared" => self.propagation = Some((Shared, Single)),
            "rshared" => self.propagation = Some((Shared, Recursive)),
            "unbindable" => self.propagation = Some((Unbindable, Single)),
            "runbindable" => self.propagation = Some((Unbindable, Recursive)),
            _ => return false,
        }
        true
    }

    /// `ro` is the mount's own attribute, `rro` that of the tree; so for the others.
    fn attribute(&mut self, word: &str) -> bool {
        if self.own.take(word) {
            return true;
        }
        // "relatime" begins with an r of its own, hence the order.
        word.strip_prefix('r').is_some_and(|word| self.all.take(word))
    }
}

impl Named {
    fn take(&mut self, word: &str) -> bool {
        let (flag, on) = match word {
            "ro" => (Flags::READ_ONLY, true),
            "rw" => (Flags::READ_ONLY, false),
            "nosuid" => (Flags::NOSUID, true),
            "suid" => (Flags::NOSUID, false),
            "nodev" => (Flags::NODEV, true),
            "dev" => (Flags::NODEV, false),
            "noexec" => (Flags::NOEXEC, true),
            "exec" => (Flags::NOEXEC, false),
            "nosymfollow" => (Flags::NOSYMFOLLOW, true),
            "symfollow" => (Flags::NOSYMFOLLOW, false),
            "nodiratime" => (Flags::NODIRATIME, true),
            "diratime" => (Flags::NODIRATIME, false),
            _ => return self.take_atime(word),
        };
        self.set.set(flag, on);
        self.clear.set(flag, !on);
        true
    }

    fn take_atime(&mut self, word: &str) -> bool {
        self.atime = Some(match word {
            "relatime" | "atime" | "nostrictatime" => Atime::Relative,
            "noatime" => Atime::Never,
            "strictatime" => Atime::Strict,
            _ => return false,
        });
        true
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn is_read_only(self) -> bool {
        self.set.contains(Flags::READ_ONLY)
    }

    /// The same for the kernel.
    pub(crate) fn attributes(self) -> Attributes<'static> {
        Attributes { set: self.set, clear: self.clear, atime: self.atime, ..Attributes::default() }
    }
}

#[cfg(test)]
mod tests;
