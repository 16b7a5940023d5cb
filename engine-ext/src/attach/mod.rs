//! The other end of a container's console: a person's terminal, or a pipeline.

pub mod client;
pub mod detach;
mod terminal;
