//! engine-ext

pub mod attach;
pub mod shim;
