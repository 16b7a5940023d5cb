//! What people see of our programs: errors once and in one shape, tables, safe text.
//!
//! Nothing here knows what a container is. This crate and the `cli` modules are the only places
//! that print.

pub mod escape;
pub mod exit;
pub mod log;
pub mod report;
pub mod table;
pub mod template;

pub use exit::Exit;
pub use report::{Report, run};
