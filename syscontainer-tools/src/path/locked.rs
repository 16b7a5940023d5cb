//! A read-only mount that the container's root cannot make writable.
//!
//! A root with `CAP_SYS_ADMIN` in its user namespace may change the flags of a mount that was
//! simply put into its mount namespace. Flags are locked (mount_namespaces(7)) when mounts are
//! copied into the namespace of a less privileged user namespace, and stay so from there on:
//!
//! ```text
//! child   unshare mounts; attach the tree somewhere in them
//!         enter the user namespace; unshare mounts: the copy is locked
//!         clone the tree of the copy; enter the container's mounts; attach it
//! ```
//!
//! A process of its own, for one with threads cannot enter a user namespace.

use std::os::fd::OwnedFd;
use std::time::Duration;

use container::Running;
use linux::error::Context as _;
use linux::mount::{self, Attributes, Propagation};
use linux::ns::Namespace;
use linux::process::exit_now;
use linux::signal::Signal;
use linux::{CloneFlags, Errno, Forked, ns};
use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::deadline;
use crate::error::{Error, Result};

/// A directory that every host has, hidden in the child's mounts alone.
const PLACE: &str = "/proc";
const NAME: &str = "source";
/// None of it waits for the container.
const PATIENCE: Duration = Duration::from_secs(10);

/// Attaches a copy of the detached, read-only `tree` to `target` in the container, its flags locked.
pub(super) fn attach(
    live: &Running,
    user: &Namespace,
    tree: &OwnedFd,
    source: &Stat,
    target: &OwnedFd,
) -> Result<()> {
    deadline::alone(|| match linux::fork(CloneFlags::empty(), None)? {
        Forked::Child => {
            let directory = FileType::from_raw_mode(source.st_mode) == FileType::Directory;
            let code = match in_child(live, user, tree, directory, target) {
                Ok(()) => 0,
                Err(error) => error.errno().raw_os_error(),
            };
            exit_now(code)
        }
        Forked::Parent { pidfd, .. } => {
            if !pidfd.exits_within(Some(PATIENCE))? {
                pidfd.signal(Signal::KILL)?;
                pidfd.wait()?;
                return Err(Error::Busy("the kernel does not answer a mount".into()));
            }
            match pidfd.wait()?.code() {
                0 => Ok(()),
                code => {
                    let act = "attach a mount that stays read-only";
                    Err(linux::Error::new(act, Errno::from_raw_os_error(code)).into())
                }
            }
        }
    })
}

fn in_child(
    live: &Running,
    user: &Namespace,
    tree: &OwnedFd,
    directory: bool,
    target: &OwnedFd,
) -> linux::Result<()> {
    ns::unshare(CloneFlags::NEWNS)?;
    mount::set_propagation("/", Propagation::Private, true)?;
    let place =
        mount::new_filesystem("tmpfs", None, &[("mode", Some("755"))], &Attributes::default())?;
    let open = |flags: OFlags| {
        rustix::fs::open(PLACE, flags | OFlags::CLOEXEC, Mode::empty())
            .during(|| format!("open {PLACE}"))
    };
    mount::attach(&place, open(OFlags::PATH | OFlags::DIRECTORY)?)?;
    let made = if directory {
        rustix::fs::mkdirat(&place, NAME, Mode::from_raw_mode(0o755))
    } else {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&place, NAME, flags, Mode::from_raw_mode(0o644)).map(drop)
    };
    made.during(|| format!("make {NAME}"))?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let point =
        rustix::fs::openat(&place, NAME, flags, Mode::empty()).during(|| format!("open {NAME}"))?;
    mount::attach(tree, &point)?;
    user.enter()?;
    ns::unshare(CloneFlags::NEWNS)?;
    let copy = mount::clone_tree_at(format!("{PLACE}/{NAME}"), true)?;
    live.mounts.enter()?;
    mount::attach(&copy, target)
}
