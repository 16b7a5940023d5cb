//! Device nodes, in a tmpfs of the host's user namespace.
//!
//! A node on a filesystem that a user namespace mounted cannot be opened, and the host could not
//! add one later (EOVERFLOW): so the parent makes the filesystem, and hands over its owner.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use linux::error::Context as _;
use linux::root::Root;
use linux::{Errno, mount};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, makedev, mkdirat, mknodat, openat,
};

use crate::idmap::IdMaps;
use crate::{Error, Result};

/// Every container has these (config-linux.md, "Default Devices").
const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Every /dev has these.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// A node to be made, with the ids of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) path: PathBuf,
    file_type: FileType,
    number: (u32, u32),
    mode: u32,
    owner: (u32, u32),
    /// Of `linux.devices`: what is at its path already must be the same.
    listed: bool,
}

/// Nodes in a filesystem of their own, named by their index.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) mount: OwnedFd,
    nodes: Vec<Node>,
}

/// Default nodes and those of `linux.devices`, which win.
pub(crate) fn nodes(devices: &[LinuxDevice], maps: Option<&IdMaps>) -> Result<Vec<Node>> {
    let root = owner("linux.devices", 0, 0, maps)?;
    let mut nodes = Vec::with_capacity(DEFAULT.len() + devices.len());
    for (name, major, minor) in DEFAULT {
        nodes.push(Node {
            path: Path::new("/dev").join(name),
            file_type: FileType::CharacterDevice,
            number: (major, minor),
            mode: 0o666,
            owner: root,
            listed: false,
        });
    }
    for (index, device) in devices.iter().enumerate() {
        let node = node(device, &format!("linux.devices[{index}]"), maps)?;
        nodes.retain(|other| other.path != node.path);
        nodes.push(node);
    }
    Ok(nodes)
}

fn node(device: &LinuxDevice, member: &str, maps: Option<&IdMaps>) -> Result<Node> {
    let path = device.path();
    let plain = path.components().all(|part| !matches!(part, Component::ParentDir));
    if !path.is_absolute() || !plain || path.file_name().is_none() {
        let path = path.display();
        return Err(Error::config(member, format!("path {path} is not absolute and plain")));
    }
    let file_type = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => return Err(Error::config(member, "type a is for rules, not nodes")),
    };
    let part = |name: &str, number: i64| match (file_type, u32::try_from(number)) {
        (FileType::Fifo, _) => Ok(0),
        (_, Ok(number)) => Ok(number),
        (_, Err(_)) => Err(Error::config(member, format!("{name} {number} is no device number"))),
    };
    Ok(Node {
        path: path.clone(),
        file_type,
        number: (part("major", device.major())?, part("minor", device.minor())?),
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        owner: owner(member, device.uid().unwrap_or(0), device.gid().unwrap_or(0), maps)?,
        listed: true,
    })
}

/// The host's ids of a pair of the container's.
pub(crate) fn owner(member: &str, uid: u32, gid: u32, maps: Option<&IdMaps>) -> Result<(u32, u32)> {
    let Some(maps) = maps else { return Ok((uid, gid)) };
    maps.host_uid(uid).zip(maps.host_gid(gid)).ok_or_else(|| {
        Error::config(member, format!("owner {uid}:{gid} is not in the container's id maps"))
    })
}

/// Fills the /dev filesystem `mount`, which is `root`'s. The caller's umask must be 0.
pub(crate) fn fill_dev(mount: &OwnedFd, nodes: &[Node], root: (u32, u32)) -> Result<()> {
    for node in nodes {
        let relative = node.path.strip_prefix("/dev").unwrap_or(&node.path);
        let (parent, name) = parent_of(mount, relative, root)?;
        make(parent.as_ref().unwrap_or(mount).as_fd(), name, node)?;
    }
    for (name, target) in LINKS {
        let act = || format!("link /dev/{name} to {target}");
        rustix::fs::symlinkat(target, mount, name).during(act)?;
        give(mount.as_fd(), Path::new(name), root).during(act)?;
    }
    Ok(())
}

/// The directory of `path` below `mount`, made where it is missing; none for the top. Nobody else
/// has this filesystem, so plain names are safe.
fn parent_of<'p>(
    mount: &OwnedFd,
    path: &'p Path,
    root: (u32, u32),
) -> Result<(Option<OwnedFd>, &'p Path)> {
    let act = || format!("make the directory of /dev/{}", path.display());
    let name = path.file_name().map_or(path, Path::new);
    let mut parent: Option<OwnedFd> = None;
    for component in path.parent().into_iter().flat_map(Path::components) {
        let here = parent.as_ref().unwrap_or(mount);
        let component = component.as_os_str();
        match mkdirat(here, component, Mode::from_raw_mode(0o755)) {
            Ok(()) => give(here.as_fd(), Path::new(component), root).during(act)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(linux::Error::new(act(), errno).into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = openat(here, component, flags, Mode::empty()).during(act)?;
        parent = Some(next);
    }
    Ok((parent, name))
}

/// Puts `nodes` into `mount`, by index.
pub(crate) fn fill_store(mount: OwnedFd, nodes: Vec<Node>) -> Result<Store> {
    for (index, node) in nodes.iter().enumerate() {
        make(mount.as_fd(), Path::new(&index.to_string()), node)?;
    }
    Ok(Store { mount, nodes })
}

fn make(directory: BorrowedFd<'_>, name: &Path, node: &Node) -> Result<()> {
    let act = || format!("make device node {}", node.path.display());
    let (major, minor) = node.number;
    mknodat(directory, name, node.file_type, Mode::from_raw_mode(node.mode), makedev(major, minor))
        .during(act)?;
    give(directory, name, node.owner).during(act)?;
    // chown(2) takes the set-id bits away.
    if node.mode & 0o6000 != 0 {
        chmodat(directory, name, Mode::from_raw_mode(node.mode), AtFlags::empty()).during(act)?;
    }
    Ok(())
}

/// What we make is the host's root's already.
fn give(directory: BorrowedFd<'_>, name: &Path, owner: (u32, u32)) -> rustix::io::Result<()> {
    if owner == (0, 0) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

impl Node {
    /// "If a file already exists at path that does not match the requested device, the runtime
    /// MUST generate an error" (config-linux.md, "Devices").
    fn check_place(&self, root: &Root) -> Result<()> {
        if !self.listed {
            return Ok(());
        }
        let there = match root.stat(&self.path) {
            Err(error) if error.is(Errno::NOENT) => return Ok(()),
            there => there?,
        };
        let same_type = FileType::from_raw_mode(there.st_mode) == self.file_type;
        let (major, minor) = self.number;
        let same_number =
            self.file_type == FileType::Fifo || there.st_rdev == makedev(major, minor);
        // An empty file is the place of a mount: ours, from the last time.
        let is_place =
            there.st_size == 0 && FileType::from_raw_mode(there.st_mode) == FileType::RegularFile;
        if same_type && same_number || is_place {
            return Ok(());
        }
        let path = self.path.display();
        Err(Error::config(
            "linux.devices",
            format!("another file is at {path} of the rootfs; remove it, or name another path"),
        ))
    }
}

impl Store {
    /// Binds each node to its place in the tree `root`, whose top is `top`.
    ///
    /// A mount can be cloned only where it is attached (a detached one from Linux 6.15), so the
    /// store lies over the top for a moment; descriptors opened before still lead below it.
    pub(crate) fn bind_all(&self, root: &Root, top: BorrowedFd<'_>) -> Result<()> {
        mount::attach(&self.mount, top)?;
        let clones = self.clone_all()?;
        // umount2(2) takes no descriptor, and /proc/self/fd is closed to a process that is not
        // dumpable; the working directory is wherever we want it.
        rustix::process::fchdir(&self.mount).during(|| "enter the device store")?;
        mount::detach(".")?;
        rustix::process::chdir("/").during(|| "enter /")?;
        for (node, clone) in self.nodes.iter().zip(clones) {
            node.check_place(root)?;
            let target = root.create_file(&node.path, 0o644)?;
            mount::attach(&clone, &target)?;
        }
        Ok(())
    }

    fn clone_all(&self) -> Result<Vec<OwnedFd>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        (0..self.nodes.len())
            .map(|index| {
                let node = openat(&self.mount, index.to_string(), flags, Mode::empty())
                    .during(|| "open a device node".to_owned())?;
                Ok(mount::clone_tree(&node, false)?)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
