//! End to end: the built binaries, a real kernel, as root.
//!
//! A test is a *story*: a function that gets a [`World`] of its own (mount and network namespace,
//! state directories, a cgroup parent) and drives `isula` in it as a person would. What a world
//! leaves behind when its story is told fails the test, so stories need no clean-up of their own
//! and run in parallel by construction.

#![forbid(unsafe_code)]

pub mod command;
pub mod cri;
pub mod disk;
pub mod leaks;
pub mod lxcfs;
pub mod need;
pub mod processes;
pub mod pty;
pub mod rootfs;
pub mod runner;
pub mod sandbox;
pub mod wait;
pub mod warden;
pub mod world;

pub use command::{Call, Output};
pub use cri::Cri;
pub use disk::Disk;
pub use need::Need;
pub use pty::Terminal;
pub use runner::{Story, story};
pub use sandbox::Container;
pub use world::World;
