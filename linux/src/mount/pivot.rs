//! Another root for the caller's mount namespace.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountPropagationFlags;

use crate::{Context, Errno, Error, Result, fault};

/// Makes `new_root`, a mount point, the root of the caller's mount namespace, detaches the old one
/// and goes to `/`. The namespace must be the caller's own, and neither the mount at `/` nor that
/// of the new root shared.
pub fn pivot(new_root: impl AsFd) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old_root = rustix::fs::open(c"/", flags, Mode::empty()).during(|| "open /")?;
    rustix::process::fchdir(new_root).during(|| "enter the new root")?;
    // pivot_root(2), "pivot_root(".", ".")": the old root comes to lie on the new one, where it
    // needs no directory.
    fault::check("pivot_root")
        .and_then(|()| rustix::process::pivot_root(c".", c"."))
        .map_err(|errno| {
            let error = Error::new("pivot to the new root", errno);
            match errno {
                Errno::INVAL => error.with_hint(
                    "the new root must be a mount point, and neither it nor the old root shared or the initramfs",
                ),
                _ => error,
            }
        })?;
    rustix::process::fchdir(&old_root).during(|| "enter the old root")?;
    // What is below may still have peers, to which the detaching would go (mount_namespaces(7)).
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    fault::check("mount")
        .and_then(|()| rustix::mount::mount_change(c".", slave))
        .during(|| "make the old root a slave")?;
    super::detach(".")?;
    rustix::process::chdir(c"/").during(|| "enter /")
}

/// For a root that cannot be pivoted away from (the initramfs): moves `new_root`, a mount point,
/// over `/` and changes root to it. The old root stays below, out of reach by any path.
pub fn move_over_root(new_root: impl AsFd) -> Result<()> {
    rustix::process::fchdir(new_root).during(|| "enter the new root")?;
    fault::check("mount")
        .and_then(|()| rustix::mount::mount_move(c".", c"/"))
        .during(|| "move the new root over /")?;
    rustix::process::chroot(c".").during(|| "change root")?;
    rustix::process::chdir(c"/").during(|| "enter /")
}
