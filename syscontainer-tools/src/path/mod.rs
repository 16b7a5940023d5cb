//! Directories and files of the host that a container gets to see.

mod parse;

pub(crate) use parse::clean;
pub use parse::{Access, PathError, PathMapping, Propagation, parse_addition, parse_removal};
