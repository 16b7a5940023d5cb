//! Ids and names: parsed once, valid ever after.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of a container: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// Length of an id.
const ID_LENGTH: usize = 64;
/// A name becomes a file name, and NAME_MAX is 255 (limits.h).
const NAME_LENGTH_MAX: usize = 255;

impl ContainerId {
    /// A new id from the kernel's random numbers.
    pub fn random() -> rustix::io::Result<Self> {
        let mut bytes = [0_u8; ID_LENGTH / 2];
        let mut filled = 0;
        // Up to 256 bytes come whole once the pool is ready (getrandom(2)); a signal may still cut.
        while filled < bytes.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            filled += rustix::rand::getrandom(&mut bytes[filled..], flags)?;
        }
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as tables show them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid container id {0:?}; an id is 64 hexadecimal digits")]
pub struct InvalidId(pub String);

impl FromStr for ContainerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        if text.len() == ID_LENGTH && is_hex(&text) { Ok(Self(text)) } else { Err(InvalidId(text)) }
    }
}

/// Whether `text` may be the beginning of an id.
pub(crate) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a container: a letter or digit, then letters, digits, `_`, `.` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// Text that is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// A character that no name has, or too few of them.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed.")]
    Characters(String),
    /// Longer than a file name may be.
    #[error("invalid container name of {0} characters; use at most {NAME_LENGTH_MAX}")]
    TooLong(usize),
}

impl ContainerName {
    /// The name, without the slash that some write in front.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let name = text.strip_prefix('/').unwrap_or(text);
        if !has_name_characters(name) {
            return Err(InvalidName::Characters(text.to_owned()));
        }
        if name.len() > NAME_LENGTH_MAX {
            return Err(InvalidName::TooLong(name.len()));
        }
        Ok(Self(name.to_owned()))
    }
}

/// A letter or digit, then at least one letter, digit, `_`, `.` or `-`.
fn has_name_characters(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Whether `text` could be the name of something.
pub(crate) fn is_name(text: &str) -> bool {
    has_name_characters(text) && text.len() <= NAME_LENGTH_MAX
}

impl TryFrom<String> for ContainerName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

/// A container that was given no name is called by its id.
impl From<&ContainerId> for ContainerName {
    fn from(id: &ContainerId) -> Self {
        Self(id.0.clone())
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
