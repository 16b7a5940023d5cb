//! Makes a directory or file of the host visible in a container, and takes it away again.
//!
//! The mount is made on the host, detached, with all it is to be, and moved into the container's
//! namespace onto a descriptor: it belongs to that namespace alone, and goes with it. Nothing is
//! mounted on the host, and the container needs nothing prepared.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use container::Running;
use linux::error::Context as _;
use linux::mount::{self, Attributes, Flags};
use linux::root::identity_of;
use linux::{Errno, Undo, mountinfo, ns};
use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::{Access, PathMapping, Propagation, locked, parse_addition};
use crate::error::{Error, Result};
use crate::inside::{as_its_root, detach, is_of_the_kernel, is_out_of_reach, mount_id, mount_of};
use crate::record::{BindEntry, BindSource};

/// Makes `bind` visible. Doing it twice is doing it once.
pub(crate) fn apply<'a>(
    live: &'a Running,
    bind: &'a BindEntry,
    source: Option<&'a BindSource>,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let mapping = parsed(bind)?;
    if let Some(source) = source
        && let Some(found) = ours(live, &mapping.container_path, source)?
    {
        drop(found);
        return Ok(());
    }
    let (tree, stat) = tree(live, &mapping)?;
    if source.is_some_and(|source| (source.dev, source.ino) != (stat.st_dev, stat.st_ino)) {
        // It would be another than the record knows it by.
        return Err(Error::Conflict(format!(
            "{} leads elsewhere than a moment ago; try again",
            mapping.host_path.display()
        )));
    }
    let target = target(live, &mapping.container_path, &stat, undo)?;
    match &live.user {
        Some(user) if mapping.access == Access::ReadOnly => {
            locked::attach(live, &user.namespace, &tree, &stat, &target)?;
            let (path, of) = (mapping.container_path.clone(), (stat.st_dev, stat.st_ino));
            undo.push("mount of a path", move || match mount_at(live, &path, of) {
                Ok(Some(found)) => detach(live, &found),
                _ => Ok(()),
            });
        }
        _ => {
            ns::in_mount_ns(&live.mounts, || mount::attach(&tree, &target))?;
            undo.push("mount of a path", move || detach(live, &tree));
        }
    }
    Ok(())
}

/// Takes our mount away, and no other. One that the container has taken away itself is gone.
pub(crate) fn revert<'a>(
    live: &'a Running,
    bind: &'a BindEntry,
    source: Option<&'a BindSource>,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let mapping = parsed(bind)?;
    let now;
    let source = match source {
        Some(source) => source,
        // Of a record of the predecessor's.
        None => match look(&mapping) {
            Ok(found) => {
                now = found;
                &now
            }
            Err(_) => return Ok(()),
        },
    };
    let Some(found) = ours(live, &mapping.container_path, source)? else {
        return covered(live, &mapping.container_path, source);
    };
    detach(live, &found)?;
    undo.push("mount of a path", move || {
        let mut undo = Undo::new();
        let again = apply(live, bind, None, &mut undo);
        undo.disarm();
        again
    });
    Ok(())
}

/// What is wrong with `bind` in the container, if anything.
pub(crate) fn drift(
    live: &Running,
    bind: &BindEntry,
    source: Option<&BindSource>,
) -> Result<Option<String>> {
    let mapping = parsed(bind)?;
    let source = match source {
        Some(source) => source.clone(),
        None => look(&mapping)?,
    };
    let there = ours(live, &mapping.container_path, &source)?.is_some();
    Ok((!there).then(|| "is not mounted there".to_owned()))
}

/// What the host path of `mapping` leads to.
pub(crate) fn look(mapping: &PathMapping) -> Result<BindSource> {
    let stat = rustix::fs::stat(&mapping.host_path).map_err(|errno| missing(mapping, errno))?;
    let path = mapping.container_path.display().to_string();
    Ok(BindSource { path, dev: stat.st_dev, ino: stat.st_ino })
}

pub(crate) fn parsed(bind: &BindEntry) -> Result<PathMapping> {
    parse_addition(&bind.0).map_err(|error| {
        Error::Failed(format!(
            "the record has a path that is none: {error}; drop it: isulad-tools remove-path \
             CONTAINER {}",
            bind.0
        ))
    })
}

/// Never made on the way: an empty directory would hide a disk that is not mounted.
fn missing(mapping: &PathMapping, errno: Errno) -> Error {
    let error = linux::Error::new(format!("find {}", mapping.host_path.display()), errno);
    match errno {
        Errno::NOENT => error.with_hint("make it first, or use --create").into(),
        _ => error.into(),
    }
}

/// The detached tree of the source.
fn tree(live: &Running, mapping: &PathMapping) -> Result<(OwnedFd, Stat)> {
    let shown = mapping.host_path.display();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let source = rustix::fs::open(&mapping.host_path, flags, Mode::empty())
        .map_err(|errno| missing(mapping, errno))?;
    let stat = rustix::fs::fstat(&source).during(|| format!("stat {shown}"))?;
    let tree = mount::clone_tree(&source, true)?;
    let mut set = Flags::NODEV;
    if mapping.access == Access::ReadOnly {
        set |= Flags::READ_ONLY;
    }
    // Of the host's peer groups in any case: what is unmounted inside stays on the host.
    let propagation = match mapping.propagation {
        Propagation::RecursivePrivate => mount::Propagation::Private,
        Propagation::Private | Propagation::RecursiveSlave => mount::Propagation::Slave,
    };
    // Files that belong to ids of the container already are shown as they are.
    let shifted = live.user.as_ref().filter(|user| !user.covers(stat.st_uid, stat.st_gid));
    let attributes = Attributes {
        set,
        propagation: Some(propagation),
        idmap: shifted.map(|user| user.namespace.as_fd()),
        ..Attributes::default()
    };
    mount::set_attributes(&tree, &attributes, true).map_err(|error| match error.errno() {
        Errno::INVAL if shifted.is_some() => Error::Unsupported(format!(
            "{error}: {shown} cannot be shown with the ids of the container; give its files to \
             the container's root"
        )),
        _ => error.into(),
    })?;
    if mapping.propagation == Propagation::Private {
        let alone =
            Attributes { propagation: Some(mount::Propagation::Private), ..Attributes::default() };
        mount::set_attributes(&tree, &alone, false)?;
    }
    Ok((tree, stat))
}

/// What the tree goes onto, made where it is missing.
fn target<'a>(
    live: &'a Running,
    path: &Path,
    source: &Stat,
    undo: &mut Undo<'a>,
) -> Result<OwnedFd> {
    let directory = FileType::from_raw_mode(source.st_mode) == FileType::Directory;
    let is_new = !live.root.exists(path)?;
    let mismatch = |what: &str, source: &str| {
        Error::Conflict(format!(
            "{} in the container is {what}, and the source is {source}; name another path",
            path.display()
        ))
    };
    let made = as_its_root(live, || match directory {
        true => live.root.mkdir_all(path, 0o755),
        false => live.root.create_file(path, 0o644),
    });
    let target = match made {
        Err(_) if !directory && is_directory(live, path) => {
            return Err(mismatch("a directory", "none"));
        }
        Err(_) if directory && !is_new && !is_directory(live, path) => {
            return Err(mismatch("no directory", "one"));
        }
        made => made?,
    };
    if is_new {
        let path = path.to_owned();
        undo.push("mount point", move || match directory {
            true => live.root.rmdir(&path),
            false => live.root.unlink(&path),
        });
    }
    let root = live.root.stat("")?;
    let found = rustix::fs::fstat(&target).during(|| format!("stat {path:?}"))?;
    if (found.st_dev, found.st_ino) == (root.st_dev, root.st_ino) {
        return Err(Error::Conflict(format!(
            "{} leads to the root of the container; name another path",
            path.display()
        )));
    }
    if is_of_the_kernel(&target)? {
        return Err(Error::Conflict(format!(
            "{} leads into a filesystem of the kernel; name another path",
            path.display()
        )));
    }
    Ok(target)
}

fn is_directory(live: &Running, path: &Path) -> bool {
    let stat = live.root.stat(path);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// The mount at `path`, if it shows what was added there.
fn ours(live: &Running, path: &Path, source: &BindSource) -> Result<Option<OwnedFd>> {
    mount_at(live, path, (source.dev, source.ino))
}

fn mount_at(live: &Running, path: &Path, of: (u64, u64)) -> Result<Option<OwnedFd>> {
    let found = match live.root.resolve(path) {
        Err(error) if is_out_of_reach(&error) => return Ok(None),
        found => found?,
    };
    let is_its = identity_of(&found)? == of && mount_of(&found)?.is_root;
    Ok(is_its.then_some(found))
}

/// Refuses when ours lies below something that the container has mounted on it.
fn covered(live: &Running, path: &Path, source: &BindSource) -> Result<()> {
    let Ok(top) = live.root.resolve(path) else { return Ok(()) };
    let top = mount_id(&top)?;
    let mounts = mountinfo::of(live.pid)?;
    let Some(point) = mounts.iter().find(|mount| u64::from(mount.id) == top) else {
        return Ok(());
    };
    let is_ours = |mount: &mountinfo::MountInfo| {
        mount.mount_point == point.mount_point
            && mount.id != point.id
            && mount.dev.to_raw() == source.dev
    };
    if mounts.iter().any(is_ours) {
        return Err(Error::Conflict(format!(
            "something else is mounted on {} in the container; unmount it there first",
            path.display()
        )));
    }
    Ok(())
}
