//! Routes of a container.

mod parse;

pub use parse::{Destination, Route, RouteError, parse_routes};
