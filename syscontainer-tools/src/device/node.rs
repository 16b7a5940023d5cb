//! The node inside: made where the container's own programs look for it, never through its links.
//!
//! Where host root can make a node that opens, it is made. Where it cannot - an id-mapped mount, a
//! filesystem that a user namespace mounted, one that is `nodev` - the node is made on a filesystem
//! of the host's and mounted over an empty file.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use container::Running;
use linux::device::{DeviceKind, DeviceNode, DeviceNumber};
use linux::error::Context as _;
use linux::mount::{self, Attributes, Flags};
use linux::root::Root;
use linux::{Errno, Undo, ns};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, StatVfsMountFlags, Uid};

use crate::error::{Error, Result};
use crate::inside::{as_its_root, detach, is_of_the_kernel, is_out_of_reach, mount_of};

/// The node's name while something else is taken out of its way.
const ASIDE: &str = ".isulad-tools-aside-";

/// Makes `node` usable at `path`. Doing it twice is doing it once; what was there and is the same
/// device is not ours.
pub(crate) fn make<'a>(
    live: &'a Running,
    path: &'a Path,
    node: DeviceNode,
    force: bool,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let place = Place::open(live, path)?;
    match place.look()? {
        Found::Nothing => {}
        Found::Node(found) if same(&found, &node) => return Ok(()),
        Found::Link if live.root.stat(path).is_ok_and(|stat| is_node(&stat, &node)) => {
            return Ok(());
        }
        Found::Directory | Found::Mount => {
            return Err(Error::Conflict(format!(
                "{} exists in the container (a directory or a mount point); name another path",
                path.display()
            )));
        }
        found if !force => {
            return Err(Error::Conflict(format!(
                "{} exists in the container ({}); use --force to replace it",
                path.display(),
                found.word()
            )));
        }
        _ => place.set_aside(undo)?,
    }
    place.make(live, node, undo)
}

/// Takes the node of this device away. Nothing there, or another device, is not ours to remove.
pub(crate) fn remove<'a>(
    live: &'a Running,
    path: &'a Path,
    node: DeviceNode,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let Some(place) = Place::find(live, path)? else { return Ok(()) };
    match place.look()? {
        Found::Nothing | Found::Link => return Ok(()),
        Found::Node(found) if !same(&found, &node) => return Ok(()),
        Found::Node(found) => {
            place.remove(live)?;
            let again = DeviceNode { mode: found.mode, uid: found.uid, gid: found.gid, ..node };
            undo.push("device node", move || {
                let mut undo = Undo::new();
                let made = make(live, path, again, false, &mut undo);
                undo.disarm();
                made
            });
        }
        found => {
            return Err(Error::Conflict(format!(
                "{} in the container is not a device ({}); it is left as it is",
                path.display(),
                found.word()
            )));
        }
    }
    // What made way for a node that a killed command had put there.
    place.put_back();
    Ok(())
}

/// What there is instead of the node; `None` when it is as it should be.
pub(crate) fn drift(
    live: &Running,
    path: &Path,
    kind: DeviceKind,
    number: DeviceNumber,
) -> Option<String> {
    match live.root.stat(path) {
        Ok(stat) => match DeviceNode::of(&stat) {
            Some(found) if found.kind == kind && found.number == number => None,
            Some(found) => Some(format!("is device {} {}", found.kind.letter(), found.number)),
            None => Some("is not a device".into()),
        },
        Err(error) if error.is(Errno::NOENT) => Some("is not there".into()),
        Err(error) => Some(error.to_string()),
    }
}

/// A directory of the container and a last name in it.
struct Place {
    parent: OwnedFd,
    name: OsString,
    path: PathBuf,
}

/// What a name stands for.
#[derive(Debug)]
enum Found {
    Nothing,
    Node(DeviceNode),
    Link,
    Directory,
    Mount,
    Other(&'static str),
}

impl Found {
    fn word(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Node(_) => "another device",
            Self::Link => "symbolic link",
            Self::Directory => "directory",
            Self::Mount => "mount point",
            Self::Other(word) => word,
        }
    }
}

impl Place {
    /// The place, its directories made where they are missing.
    fn open(live: &Running, path: &Path) -> Result<Self> {
        let (dir, name) = split(path)?;
        let parent = as_its_root(live, || live.root.mkdir_all(dir, 0o755))?;
        Self::checked(parent, name, path)
    }

    /// The place, if its directory is there.
    fn find(live: &Running, path: &Path) -> Result<Option<Self>> {
        let (dir, name) = split(path)?;
        let parent = match live.root.subtree(dir) {
            Err(error) if is_out_of_reach(&error) => return Ok(None),
            found => OwnedFd::from(found?),
        };
        // The root of a filesystem is found without its server.
        match mount::fstype(&parent) {
            Err(error) if is_out_of_reach(&error) => Ok(None),
            _ => Self::checked(parent, name, path).map(Some),
        }
    }

    /// Links lead anywhere in the tree; nodes are not for the kernel's own filesystems.
    fn checked(parent: OwnedFd, name: &OsStr, path: &Path) -> Result<Self> {
        if is_of_the_kernel(&parent)? {
            return Err(Error::Conflict(format!(
                "{} leads into a filesystem of the kernel; name another path",
                path.display()
            )));
        }
        Ok(Self { parent, name: name.to_owned(), path: path.to_owned() })
    }

    fn root(&self) -> Result<Root> {
        let copy = self.parent.try_clone().during(|| "copy a descriptor")?;
        Ok(Root::from_fd(copy))
    }

    fn act(&self, what: &str) -> String {
        format!("{what} {:?}", self.path)
    }

    /// An `O_PATH` descriptor of what the name stands for.
    fn open_name(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.parent, &self.name, flags, Mode::empty())
    }

    fn look(&self) -> Result<Found> {
        let found = match self.open_name() {
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            found => found.during(|| self.act("find"))?,
        };
        let stat = rustix::fs::fstat(&found).during(|| self.act("stat"))?;
        if let Some(node) = DeviceNode::of(&stat)
            && node.kind != DeviceKind::Fifo
        {
            return Ok(Found::Node(node));
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        Ok(match kind {
            FileType::Directory => Found::Directory,
            FileType::Symlink => Found::Link,
            _ if mount_of(&found)?.is_root => Found::Mount,
            FileType::RegularFile => Found::Other("regular file"),
            FileType::Fifo => Found::Other("fifo"),
            FileType::Socket => Found::Other("socket"),
            _ => Found::Other("a file of an unknown kind"),
        })
    }

    fn aside(&self) -> OsString {
        let mut name = OsString::from(ASIDE);
        name.push(&self.name);
        name
    }

    /// Renames what is there; it is removed once the node is recorded, and comes back otherwise.
    fn set_aside<'a>(&self, undo: &mut Undo<'a>) -> Result<()> {
        let found = self.open_name().during(|| self.act("find"))?;
        if mount_of(&found)?.is_root {
            return Err(Error::Conflict(format!(
                "{} is a mount point in the container; name another path",
                self.path.display()
            )));
        }
        let (from, to) = (self.name.clone(), self.aside());
        let parent = self.parent.try_clone().during(|| "copy a descriptor")?;
        rustix::fs::renameat_with(&self.parent, &from, &self.parent, &to, RenameFlags::NOREPLACE)
            .during(|| self.act("set aside"))?;
        undo.push("what was there before", move || {
            rustix::fs::renameat_with(&parent, &to, &parent, &from, RenameFlags::NOREPLACE)
                .during(|| "put back what was set aside")
        });
        Ok(())
    }

    /// Puts back what a node made way for.
    fn put_back(&self) {
        let aside = self.aside();
        let flags = RenameFlags::NOREPLACE;
        // There is none as a rule.
        let _ = rustix::fs::renameat_with(&self.parent, &aside, &self.parent, &self.name, flags);
    }

    fn make<'a>(&self, live: &'a Running, node: DeviceNode, undo: &mut Undo<'a>) -> Result<()> {
        let owner = live.root_ids()?;
        let owner = if live.user.is_some() { owner } else { (node.uid, node.gid) };
        if !self.is_nodev()? {
            // For the way back, before there is anything to take back.
            let (root, name) = (self.root()?, self.name.clone());
            match self.make_plain(node, owner) {
                Ok(()) => {
                    undo.push("device node", move || root.unlink(&name));
                    return Ok(());
                }
                // The host's root has no id there, or is not let make nodes.
                Err(error) if error.is(Errno::OVERFLOW) || error.is(Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.make_mounted(live, node, owner, undo)
    }

    /// Nodes on it cannot be opened: the mount says so.
    fn is_nodev(&self) -> Result<bool> {
        let stat = rustix::fs::fstatvfs(&self.parent).during(|| self.act("stat"))?;
        Ok(stat.f_flag.contains(StatVfsMountFlags::NODEV))
    }

    fn make_plain(&self, node: DeviceNode, owner: (u32, u32)) -> linux::Result<()> {
        let root = Root::from_fd(self.parent.try_clone().during(|| "copy a descriptor")?);
        root.mknod(&self.name, node.kind, node.mode, node.number)?;
        let given = self.open_name().and_then(|found| give(found.as_fd(), owner));
        given.during(|| self.act("give away")).inspect_err(|_| {
            // The first failure is the one to tell.
            let _ = root.unlink(&self.name);
        })
    }

    fn make_mounted<'a>(
        &self,
        live: &'a Running,
        node: DeviceNode,
        owner: (u32, u32),
        undo: &mut Undo<'a>,
    ) -> Result<()> {
        let mount = staged(node, owner)?;
        let root = self.root()?;
        let (again, name) = (self.root()?, self.name.clone());
        let target = as_its_root(live, || root.create_file(&self.name, 0o600))?;
        undo.push("mount point of a device node", move || again.unlink(&name));
        ns::in_mount_ns(&live.mounts, || mount::attach(&mount, &target))?;
        undo.push("mount of a device node", move || detach(live, &mount));
        Ok(())
    }

    fn remove(&self, live: &Running) -> Result<()> {
        let found = self.open_name().during(|| self.act("find"))?;
        if mount_of(&found)?.is_root {
            detach(live, &found)?;
        }
        drop(found);
        match self.root()?.unlink(&self.name) {
            Err(error) if error.is(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }
}

/// Removes what nodes that are recorded by now have replaced. What cannot be removed stays under
/// its odd name and harms nobody.
pub(crate) fn forget_aside(live: &Running, path: &Path) {
    if let Ok(Some(place)) = Place::find(live, path) {
        let _ = rustix::fs::unlinkat(&place.parent, place.aside(), AtFlags::empty());
    }
}

/// A detached mount of one node, on a filesystem of the host's.
fn staged(node: DeviceNode, owner: (u32, u32)) -> linux::Result<OwnedFd> {
    let act = || format!("stage a node of {}", node.number);
    let flags = Flags::NOSUID | Flags::NOEXEC;
    let options = [("mode", Some("0755")), ("size", Some("64k"))];
    let stage = mount::new_filesystem("tmpfs", None, &options, &Attributes::set(flags))?;
    let mode = Mode::from_raw_mode(node.mode);
    rustix::fs::mknodat(&stage, "node", node.kind.file_type(), mode, node.number.to_raw())
        .during(act)?;
    let open = || {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&stage, "node", flags, Mode::empty()).during(act)
    };
    let made = open()?;
    give(made.as_fd(), owner).during(act)?;
    rustix::fs::chmodat(&stage, "node", mode, AtFlags::empty()).during(act)?;
    match mount::clone_tree(&made, false) {
        // Before Linux 6.15 a mount is cloned only where it is attached.
        Err(error) if error.is(Errno::INVAL) => ns::in_own_mounts(|| {
            let target = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .during(|| "open /")?;
            mount::attach(&stage, &target)?;
            mount::clone_tree(open()?, false)
        }),
        cloned => cloned,
    }
}

fn give(file: BorrowedFd<'_>, (uid, gid): (u32, u32)) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
}

fn same(found: &DeviceNode, node: &DeviceNode) -> bool {
    found.kind == node.kind && found.number == node.number
}

fn is_node(stat: &rustix::fs::Stat, node: &DeviceNode) -> bool {
    DeviceNode::of(stat).is_some_and(|found| same(&found, node))
}

fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    path.parent().zip(path.file_name()).ok_or_else(|| {
        Error::Usage(format!("{} cannot be a device; name a path below it", path.display()))
    })
}
