//! engine-ext

pub mod attach;
pub mod shim;
pub mod spec {
    //! The OCI configuration, built from what was asked.

    pub mod seccomp;
}
