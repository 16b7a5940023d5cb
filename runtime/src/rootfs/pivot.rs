//! Into the tree for good: nothing of the host stays reachable.

use linux::error::Context as _;
use linux::mount::{self, Propagation};

use super::Rootfs;
use super::options::Recursion;
use crate::error::During as _;
use crate::{Error, Result};

impl Rootfs {
    /// Makes the tree the root of the calling process and drops the host's.
    pub(crate) fn pivot(&self, no_pivot: bool) -> Result<()> {
        if no_pivot {
            mount::move_over_root(&self.tree).step(|| "move the rootfs over /".into())?;
        } else {
            mount::pivot(&self.tree).step(|| "change the root".into())?;
        }
        if let Some((propagation, recursion)) = self.propagation
            && !matches!(propagation, Propagation::Private | Propagation::Slave)
        {
            mount::set_propagation("/", propagation, recursion == Recursion::Recursive)
                .step(|| "apply linux.rootfsPropagation".into())?;
        }
        Ok(())
    }
}

/// Enters `directory` of the container, and makes sure that it is one: a descriptor of the host
/// that leaked in could lead out (CVE-2024-21626).
pub(crate) fn enter(directory: &std::path::Path) -> Result<()> {
    rustix::process::chdir(directory)
        .during(|| format!("enter working directory {}", directory.display()))?;
    let here =
        rustix::process::getcwd(Vec::new()).during(|| "read the working directory".to_owned())?;
    // Outside of the root the kernel answers "(unreachable)..." (getcwd(2)).
    if here.as_bytes().starts_with(b"/") {
        return Ok(());
    }
    Err(Error::config(
        "process.cwd",
        format!("{} is outside of the container", directory.display()),
    ))
}
