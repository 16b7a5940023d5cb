//! The external rootfs: a directory of the host that one living container has to itself.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use container::{Config, Container, ContainerId, Layout, Store};
use linux::root::Root;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::image;

/// A tree that nobody else may start a container on while this lives.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

/// A container's files, as long as this value lives.
#[derive(Debug)]
pub struct Tree {
    pub root: Root,
    pub held: Option<HeldImage>,
}

/// The mount behind a tree, and the claim to it.
#[derive(Debug)]
pub struct HeldImage {
    _mount: OwnedFd,
    _claim: Claim,
}

/// The files of a container, whether or not it runs. An image is mounted for the time, if nobody has
/// it mounted.
pub fn tree(layout: &Layout, container: &Container, config: &Config) -> Result<Tree> {
    let place = image::rootfs_place(container, config);
    if !config.rootfs_image || image::is_mounted(&place)? {
        return Ok(Tree { root: Root::open(place)?, held: None });
    }
    let claim = claim(layout, config)?;
    let mount = image::open(&config.rootfs, config.read_only)?;
    let root = Root::open(format!("/proc/self/fd/{}", mount.as_raw_fd()))?;
    Ok(Tree { root, held: Some(HeldImage { _mount: mount, _claim: claim }) })
}

/// Who owns the tree: what is written into it is theirs.
pub(super) fn owner(root: &Root) -> Result<(u32, u32)> {
    let stat = root.stat("/")?;
    Ok((stat.st_uid, stat.st_gid))
}

/// Takes the tree, identified by device and inode: however it is spelled, it is one. Containers
/// that cannot write to it may share it.
pub(super) fn claim(layout: &Layout, config: &Config) -> Result<Claim> {
    ensure!(
        image::is_image(&config.rootfs)? == config.rootfs_image,
        "rootfs {} was {}, and is not any more",
        config.rootfs.display(),
        if config.rootfs_image { "an image" } else { "a directory" }
    );
    let stat = rustix::fs::stat(&config.rootfs)
        .with_context(|| format!("stat {}", config.rootfs.display()))?;
    let directory = layout.rootfs_locks();
    std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    // A block device may have several nodes.
    let path = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => directory.join(format!("block-{:x}", stat.st_rdev)),
        _ => directory.join(format!("{:x}-{}", stat.st_dev, stat.st_ino)),
    };
    let operation = match config.read_only {
        true => FlockOperation::NonBlockingLockShared,
        false => FlockOperation::NonBlockingLockExclusive,
    };
    let mut file = open(&path)?;
    match rustix::fs::flock(&file, operation) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => bail!(refusal(layout, config, &mut file)),
        Err(errno) => return Err(errno).with_context(|| format!("lock {}", path.display())),
    }
    // A shim that was killed lost its lock; its container may live on.
    if lives_on(layout, config, &mut file) {
        file.rewind().with_context(|| format!("read {}", path.display()))?;
        bail!(refusal(layout, config, &mut file));
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", config.id))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(Claim { _lock: file })
}

/// Whether the container that took the tree last, not this one, still has its init.
fn lives_on(layout: &Layout, config: &Config, file: &mut File) -> bool {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let Ok(id) = text.parse::<ContainerId>() else { return false };
    let store = Store::new(layout.root(), layout.state());
    let Ok(other) = store.get(&id) else { return false };
    let shared = config.read_only && other.config().is_ok_and(|other| other.read_only);
    id != config.id && !shared && other.state().is_ok_and(|state| state.status.is_live())
}

fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .with_context(|| format!("open {}", path.display()))?;
    Ok(File::from(fd))
}

fn refusal(layout: &Layout, config: &Config, file: &mut File) -> String {
    let mut text = String::new();
    // A holder that has not written yet stays unnamed.
    let _ = file.read_to_string(&mut text);
    let rootfs = config.rootfs.display();
    let Ok(id) = text.parse::<ContainerId>() else {
        return format!("rootfs {rootfs} is in use by another container; stop it first");
    };
    let store = Store::new(layout.root(), layout.state());
    let named = store.get(&id).and_then(|container| container.config()).map(|config| config.name);
    let short = id.short();
    match named {
        Ok(name) if name.as_str() != id.as_str() => format!(
            "rootfs {rootfs} is in use by container {name} ({short}); stop it first: isula stop \
             {name}"
        ),
        _ => format!(
            "rootfs {rootfs} is in use by container {short}; stop it first: isula stop {short}"
        ),
    }
}
