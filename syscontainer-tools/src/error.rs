//! What can go wrong, sorted by what the caller can do about it. Each sort has an exit code.

use container::RunningError;

use crate::record::RecordError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong.
    #[error("{0}")]
    Usage(String),
    /// It names no container.
    #[error("{0}")]
    NotFound(String),
    /// Something else is in its place.
    #[error("{0}")]
    Conflict(String),
    /// There are as many as there may be.
    #[error("{0}")]
    Limit(String),
    /// Somebody else is at it, or does not answer.
    #[error("{0}")]
    Busy(String),
    /// This kernel, or this container, cannot.
    #[error("{0}")]
    Unsupported(String),
    /// It did not work.
    #[error("{0}")]
    Failed(String),
}

/// What functions of this crate answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The sort, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::NotFound(_) => "not-found",
            Self::Conflict(_) => "conflict",
            Self::Limit(_) => "limit",
            Self::Busy(_) => "busy",
            Self::Unsupported(_) => "unsupported",
            Self::Failed(_) => "failed",
        }
    }

    /// How the program ends.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Conflict(_) => 4,
            Self::Limit(_) => 5,
            Self::Busy(_) => 7,
            Self::Unsupported(_) => 8,
        }
    }

    /// The same, with words around its text.
    #[must_use]
    pub fn wrap(self, wrap: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Usage(text) => Self::Usage(wrap(text)),
            Self::NotFound(text) => Self::NotFound(wrap(text)),
            Self::Conflict(text) => Self::Conflict(wrap(text)),
            Self::Limit(text) => Self::Limit(wrap(text)),
            Self::Busy(text) => Self::Busy(wrap(text)),
            Self::Unsupported(text) => Self::Unsupported(wrap(text)),
            Self::Failed(text) => Self::Failed(wrap(text)),
        }
    }

    /// The same, said to have happened during `what`.
    #[must_use]
    pub fn within(self, what: impl std::fmt::Display) -> Self {
        self.wrap(|text| format!("{what}: {text}"))
    }

    /// The same, with what could not be taken back.
    #[must_use]
    pub fn leaving(self, leftovers: &[String]) -> Self {
        match leftovers {
            [] => self,
            leftovers => self.wrap(|text| format!("{text}; left behind: {}", leftovers.join(", "))),
        }
    }
}

/// A code for some of several things having been done.
pub const PARTLY: u8 = 6;

impl From<linux::Error> for Error {
    fn from(error: linux::Error) -> Self {
        match error.errno() {
            linux::Errno::WOULDBLOCK | linux::Errno::TIMEDOUT => Self::Busy(error.to_string()),
            linux::Errno::OPNOTSUPP | linux::Errno::NOSYS => Self::Unsupported(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Corrupt { .. } => Self::Failed(error.to_string()),
            RecordError::Kernel(error) => error.into(),
        }
    }
}

impl From<container::Error> for Error {
    fn from(error: container::Error) -> Self {
        match error {
            container::Error::NotFound(_) | container::Error::Ambiguous { .. } => {
                Self::NotFound(error.to_string())
            }
            container::Error::Io { act, source } => io(act, &source),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// What the standard library was refused, with the name of its errno.
pub(crate) fn io(act: String, error: &std::io::Error) -> Error {
    linux::Error::from_io(act, error).into()
}

impl From<RunningError> for Error {
    fn from(error: RunningError) -> Self {
        match error {
            RunningError::Store(error) => error.into(),
            RunningError::Kernel(error) => error.into(),
            RunningError::NotIts { .. } => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use linux::Errno;

    use super::*;

    #[test]
    fn each_sort_has_its_own_code() {
        let busy: Error = linux::Error::new("lock /x held by pid 7", Errno::WOULDBLOCK).into();
        assert_eq!((busy.kind(), busy.code()), ("busy", 7));
        let missing: Error = container::Error::NotFound("web".into()).into();
        assert_eq!((missing.kind(), missing.code()), ("not-found", 3));
        let other: Error = linux::Error::new("stat /x", Errno::NOENT).into();
        let other = other.within("add").leaving(&["node: x".to_owned()]);
        assert_eq!(other.code(), 1);
        assert_eq!(
            other.to_string(),
            "add: stat /x: no such file or directory (ENOENT); left behind: node: x"
        );
    }
}
