//! isula: containers for people, without a daemon.
//!
//! `cli` is what is typed, `request` what was meant, `spec` the OCI document, `prepare` what the
//! host has ready for it, `lifecycle` the order of things. `shim` supervises one container, and
//! `attach` is the other end of its console.

pub mod attach;
pub mod cli;
pub mod copy;
mod events;
pub mod host;
pub mod lifecycle;
mod networks;
pub mod prepare;
pub mod request;
mod rootfs_check;
pub mod shim;
pub mod spec;
