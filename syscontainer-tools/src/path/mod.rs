//! Directories and files of the host that a container gets to see.

mod apply;
mod locked;
mod parse;
pub mod plan;

pub(crate) use apply::{apply, drift, look, parsed, revert};
pub(crate) use parse::clean;
pub use parse::{Access, PathError, PathMapping, Propagation, parse_addition, parse_removal};
