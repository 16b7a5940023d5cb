//! Device numbers and device nodes.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rustix::fs::{FileType, Stat};

use crate::{Context, Errno, Error, Result};

/// `major:minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl DeviceNumber {
    /// Splits a `dev_t` of stat(2).
    pub fn from_raw(dev: u64) -> Self {
        Self { major: rustix::fs::major(dev), minor: rustix::fs::minor(dev) }
    }

    /// The `dev_t` that mknod(2) takes.
    pub fn to_raw(self) -> u64 {
        rustix::fs::makedev(self.major, self.minor)
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for DeviceNumber {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once(':')
            .and_then(|(major, minor)| {
                Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
            })
            .ok_or_else(|| Error::new(format!("parse device number {text:?}"), Errno::INVAL))
    }
}

/// What mknod(2) makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// A block device.
    Block,
    /// A character device.
    Char,
    /// A FIFO, which has no device number.
    Fifo,
}

impl DeviceKind {
    /// `None` for a file that is no node.
    pub fn of(kind: FileType) -> Option<Self> {
        match kind {
            FileType::BlockDevice => Some(Self::Block),
            FileType::CharacterDevice => Some(Self::Char),
            FileType::Fifo => Some(Self::Fifo),
            _ => None,
        }
    }

    /// As the file type of stat(2).
    pub fn file_type(self) -> FileType {
        match self {
            Self::Block => FileType::BlockDevice,
            Self::Char => FileType::CharacterDevice,
            Self::Fifo => FileType::Fifo,
        }
    }

    /// As device rules and `ls -l` write it: `b`, `c` or `p`.
    pub fn letter(self) -> char {
        match self {
            Self::Block => 'b',
            Self::Char => 'c',
            Self::Fifo => 'p',
        }
    }
}

/// A node as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNode {
    /// Block, character or FIFO.
    pub kind: DeviceKind,
    /// `0:0` for a FIFO.
    pub number: DeviceNumber,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl DeviceNode {
    /// `None` when the stat is not of a node.
    pub fn of(stat: &Stat) -> Option<Self> {
        Some(Self {
            kind: DeviceKind::of(FileType::from_raw_mode(stat.st_mode))?,
            number: DeviceNumber::from_raw(stat.st_rdev),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
        })
    }
}

/// The node at a host path, links followed; `ENODEV` when it is none.
pub fn stat_device(path: impl AsRef<Path>) -> Result<DeviceNode> {
    let path = path.as_ref();
    let stat = rustix::fs::stat(path).during(|| format!("stat {}", path.display()))?;
    DeviceNode::of(&stat).ok_or_else(|| {
        Error::new(format!("stat {}", path.display()), Errno::NODEV)
            .with_hint("it is not a device node")
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn null_is_char_1_3() {
        let null = stat_device("/dev/null").unwrap();
        assert_eq!(null.kind, DeviceKind::Char);
        assert_eq!(null.number.to_string(), "1:3");
        assert_eq!(null.kind.letter(), 'c');
    }

    #[test]
    fn numbers_print_parse_and_pack() {
        for text in ["8:16", "259:1048575", "0:0"] {
            let number: DeviceNumber = text.parse().unwrap();
            assert_eq!(number.to_string(), text);
            assert_eq!(DeviceNumber::from_raw(number.to_raw()), number);
        }
        for text in ["", "8", "8:", ":1", "8:1:1", "-1:2"] {
            assert!(text.parse::<DeviceNumber>().is_err(), "{text}");
        }
    }

    #[test]
    fn texts() {
        expect!["stat /proc: no such device (ENODEV); it is not a device node"]
            .assert_eq(&stat_device("/proc").unwrap_err().to_string());
        expect!["stat /nonexistent: no such file or directory (ENOENT)"]
            .assert_eq(&stat_device("/nonexistent").unwrap_err().to_string());
        expect![[r#"parse device number "8": invalid argument (EINVAL)"#]]
            .assert_eq(&"8".parse::<DeviceNumber>().unwrap_err().to_string());
    }
}
