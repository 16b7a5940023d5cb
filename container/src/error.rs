//! What can go wrong, as far as a caller acts on it.

use std::io;
use std::path::PathBuf;

use crate::state::Status;

/// The result of everything that touches the disk.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a container was not found, made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither an id, nor a name, nor the beginning of an id.
    #[error("no container matches {0:?}; list them: isula ps -a")]
    NotFound(String),
    /// The beginning of several ids.
    #[error(
        "no container matches {text:?}: {} candidates ({}); give more of the id",
        candidates.len(), candidates.join(", ")
    )]
    Ambiguous {
        /// What was given.
        text: String,
        /// The names of those it may mean.
        candidates: Vec<String>,
    },
    /// The name has a container already.
    #[error(
        "Conflict. The name \"{name}\" is already in use by container {id}. You have to remove (or \
         rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// No volume has that name.
    #[error("no volume is called {0:?}; list them: isula volume ls")]
    NoVolume(String),
    /// It has no init.
    #[error("container {name} is {status}; start it: isula start {name}")]
    NotRunning {
        /// The container.
        name: String,
        /// What it is instead.
        status: Status,
    },
    /// A file of ours that we cannot read.
    #[error("read {}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// `daemon.json` asks for something that there is not.
    #[error("{}: {reason}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The key, and what to do.
        reason: String,
    },
    /// The kernel refused; `act` names the object.
    #[error("{act}")]
    Io {
        /// What we were doing.
        act: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}
