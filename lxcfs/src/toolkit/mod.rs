//! `lxcfs-toolkit` and `lxcfs-hook`: the files of the daemon, put into containers.

pub mod daemon;
pub mod discover;
pub mod graft;
pub mod hook;
pub mod run;
