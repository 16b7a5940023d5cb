//! What a container is on this host: its id and name, its directory, the files in it.
//!
//! [`Layout`] knows every path, [`Store`] finds and makes containers, [`config::Config`] says what
//! was asked for and [`state::State`] what came of it; [`Running`] holds one that runs, whoever
//! started it. Nothing here starts or stops anything, and nothing here knows devices, links or
//! routes.

pub mod config;
pub mod daemon_json;
mod error;
mod file;
mod id;
pub mod layout;
mod oci_state;
pub mod running;
pub mod spec;
pub mod state;
mod store;
pub mod volume;

pub use config::Config;
pub use daemon_json::DaemonJson;
pub use error::{Error, Result};
pub use id::{ContainerId, ContainerName, InvalidId, InvalidName};
pub use layout::Layout;
pub use oci_state::{OciState, StateError};
pub use running::{Running, RunningError, Standing};
pub use spec::Spec;
pub use state::{State, Status};
pub use store::{Container, Reservation, Seized, Store};
pub use volume::{Volume, VolumeName, Volumes};
