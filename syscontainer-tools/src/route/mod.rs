//! Routes of a container.

mod apply;
mod parse;
pub mod plan;

pub(crate) use apply::{apply, drift, revert};
pub use parse::{Destination, Route, RouteError, parse_patterns, parse_routes};
pub(crate) use plan::leads_through;
