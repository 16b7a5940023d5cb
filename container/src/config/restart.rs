//! What follows the end of a container.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always.
    Always,
    /// When its exit code is not 0, that often; 0 is for ever.
    OnFailure(u32),
    /// Unless the user stopped it.
    UnlessStopped,
    /// When the guest asked for a reboot.
    OnReboot,
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnFailure(count) if *count > 0 => write!(f, "on-failure:{count}"),
            other => f.write_str(other.name()),
        }
    }
}

/// Text that is not a restart policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// More than one colon.
    #[error("Invalid restart policy format")]
    Format,
    /// No such word.
    #[error(
        "Invalid restart policy '{0}'; use no, always, on-failure[:N], unless-stopped or on-reboot"
    )]
    Unknown(String),
    /// `on-failure:x`.
    #[error("Maximum retry count must be an integer")]
    Count,
    /// `on-failure:-1`.
    #[error("Maximum retry count cannot be negative")]
    Negative,
    /// `always:3`.
    #[error("Maximum retry count cannot be used with restart policy '{0}'")]
    CountMisplaced(String),
}

impl RestartPolicy {
    /// The policy's word, without a count.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::OnFailure(_) => "on-failure",
            Self::UnlessStopped => "unless-stopped",
            Self::OnReboot => "on-reboot",
        }
    }

    /// How often it may fail; 0 where there is no such number.
    #[must_use]
    pub fn maximum_retry_count(self) -> u32 {
        if let Self::OnFailure(count) = self { count } else { 0 }
    }
}

impl FromStr for RestartPolicy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let (name, count) = match text.split_once(':') {
            None => (text, None),
            Some((_, rest)) if rest.contains(':') => return Err(InvalidPolicy::Format),
            Some((name, count)) => {
                let count: i64 = count.parse().map_err(|_| InvalidPolicy::Count)?;
                (name, Some(count))
            }
        };
        let policy = match name {
            "no" | "" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-reboot" => Self::OnReboot,
            "on-failure" => {
                let count = count.unwrap_or(0);
                if count < 0 {
                    return Err(InvalidPolicy::Negative);
                }
                return count.try_into().map(Self::OnFailure).map_err(|_| InvalidPolicy::Count);
            }
            other => return Err(InvalidPolicy::Unknown(other.to_owned())),
        };
        match count {
            None => Ok(policy),
            Some(_) => Err(InvalidPolicy::CountMisplaced(name.to_owned())),
        }
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = InvalidPolicy;

    fn try_from(text: String) -> Result<Self, InvalidPolicy> {
        text.parse()
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        policy.to_string()
    }
}
