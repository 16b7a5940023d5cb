//! The second half of `isulad-tools`: what was recorded is there again when the container starts.
//!
//! A hook fails closed: what it cannot know or do keeps the container from starting, and the reason
//! is on stderr, where the runtime finds it.

pub mod cli;
pub mod lxcfs;
mod modules;
mod prestart;
mod stdin;
