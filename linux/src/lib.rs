//! What we say to the kernel: one name for each thing we ask of it, and an error that says what
//! was asked, of which object, and why it was refused.
//!
//! This crate does not know the word *container*. It works on file descriptors, process ids and
//! kernel files; what they belong to is the caller's business.
#![warn(missing_docs)]

pub mod attributes;
pub mod cgroup;
pub mod descriptor;
pub mod device;
pub mod error;
pub mod exec;
pub mod fault;
pub mod fd;
pub mod file;
pub mod lock;
pub mod mount;
pub mod mountinfo;
pub mod ns;
pub mod pidns;
pub mod poll;
pub mod process;
pub mod pty;
pub mod raw;
pub mod root;
pub mod signal;
pub mod socket;
pub mod sysctl;
pub mod undo;

pub use error::{Change, Context, Errno, Error, Result};
pub use ns::CloneFlags;
pub use raw::clone3::{Forked, fork};
pub use undo::Undo;
