//! What can go wrong, as far as a caller acts on it; everything else is a step with its cause.

use std::error::Error as StdError;
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
    /// The bundle asks for something that is wrong, or that this runtime does not honour.
    #[error("config.json: {member}: {reason}")]
    Config {
        /// The member, as a dotted path.
        member: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The container's process could not be executed.
    #[error("{text}")]
    Exec {
        /// `NotFound` (127 to a shell) or `PermissionDenied` (126) or another.
        kind: io::ErrorKind,
        /// What was executed and why it could not be.
        text: String,
    },
    /// A step went wrong inside the half-made container; the text came over from there.
    #[error("{text}")]
    Child {
        /// What kind of error it was.
        kind: io::ErrorKind,
        /// The whole chain, flattened.
        text: String,
    },
    /// A file of ours or of the bundle could not be used.
    #[error("{act}: {reason}")]
    File {
        /// The act with its object.
        act: String,
        /// What the parser or the kernel said.
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
