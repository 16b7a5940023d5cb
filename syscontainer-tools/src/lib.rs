//! Hot-plug: devices, links, routes and paths that are added to a running container, recorded, and
//! replayed at its next start.
//!
//! A change is parsed and validated without touching anything, applied with its undo, recorded
//! atomically, and only then reported. The hooks replay a record through the same functions.

mod audit;
pub mod bounds;
pub mod cli;
pub mod compare;
pub mod deadline;
pub mod device;
pub mod engine;
mod error;
mod inside;
pub mod nic;
pub mod path;
pub mod privileges;
pub mod record;
pub mod replay;
pub mod route;
pub mod session;
mod start;
pub mod target;

pub use audit::JOURNAL;
pub use error::{Error, PARTLY, Result};
