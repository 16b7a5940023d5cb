//! What can go wrong, as far as a caller acts on it; everything else is a step with its cause.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;

use crate::Status;

/// The result of every verb.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a verb did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container of this id below the state root.
    #[error("container {id:?} does not exist")]
    NotFound {
        /// What was asked for.
        id: String,
    },
    /// The id is taken.
    #[error("container {id:?} exists; delete it or choose another id")]
    Exists {
        /// What was asked for.
        id: String,
    },
    /// The verb needs a living init.
    #[error("container not running: {id:?} is {status}")]
    NotRunning {
        /// Which container.
        id: String,
        /// What it is instead.
        status: Status,
    },
    /// The verb needs another state.
    #[error("container {id:?} is {status}; {hint}")]
    WrongStatus {
        /// Which container.
        id: String,
        /// What it is.
        status: Status,
        /// What would help.
        hint: &'static str,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Usage(String),
    /// The bundle asks for something that is wrong, or that this runtime does not honour.
    #[error("config.json: {member}: {reason}")]
    Config {
        /// The member, as a dotted path.
        member: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The container's process could not be executed, or a step went wrong inside the half-made
    /// container; the text came over from there.
    #[error("{text}")]
    Child {
        /// `NotFound` (127 to a shell), `PermissionDenied` (126) or another.
        kind: io::ErrorKind,
        /// The whole chain, flattened.
        text: String,
    },
    /// A file of ours or of the bundle does not say what it should.
    #[error("{act}: {reason}")]
    File {
        /// The act with its object.
        act: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A hook ended badly.
    #[error("{kind} hook {path}: {reason}")]
    Hook {
        /// `createRuntime`, `poststop`, ...
        kind: &'static str,
        /// The program.
        path: String,
        /// How it ended, with what it wrote.
        reason: String,
    },
    /// systemd refused.
    #[error("{act}: {reason}")]
    Systemd {
        /// The act with its object.
        act: String,
        /// What it answered.
        reason: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] linux::Error),
    /// A step of a verb, named, and its cause.
    #[error("{step}")]
    Step {
        /// The act with its object.
        step: String,
        /// Why it went wrong.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// What kind of error it is: 127 and 126 of a shell are made of it.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::NotFound { .. } => io::ErrorKind::NotFound,
            Self::Exists { .. } => io::ErrorKind::AlreadyExists,
            Self::Usage(_) | Self::Config { .. } => io::ErrorKind::InvalidInput,
            Self::File { .. } => io::ErrorKind::InvalidData,
            Self::Child { kind, .. } => *kind,
            Self::Kernel(error) => error.kind(),
            Self::Step { source, .. } => match source.downcast_ref::<Self>() {
                Some(error) => error.kind(),
                None => source
                    .downcast_ref::<linux::Error>()
                    .map_or(io::ErrorKind::Other, linux::Error::kind),
            },
            Self::NotRunning { .. }
            | Self::WrongStatus { .. }
            | Self::Hook { .. }
            | Self::Systemd { .. } => io::ErrorKind::Other,
        }
    }

    /// The whole chain in one line: the form in which an error crosses a process boundary.
    #[must_use]
    pub fn flatten(&self) -> String {
        let mut text = self.to_string();
        let mut error: &dyn StdError = self;
        while let Some(source) = error.source() {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {source}");
            error = source;
        }
        text
    }

    pub(crate) fn config(member: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config { member: member.into(), reason: reason.into() }
    }
}

/// Names the step an error happened in.
pub(crate) trait During<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: StdError + Send + Sync + 'static> During<T> for Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Step { step: step(), source: Box::new(error) })
    }
}
