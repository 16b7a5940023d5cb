//! Files into a container and out of it, whether it runs or not.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use container::{Config, Container, Running, Standing};
use linux::root::Root;
use rustix::fs::{FileType, Stat};

use super::Engine;
use crate::copy::{self, Owner, Place, Rules};
use crate::prepare::{HeldImage, Tree, tree};

/// What `cp` was asked.
#[derive(Debug, Clone, Copy)]
pub struct Copy {
    /// Keep the owners, as ids inside.
    pub archive: bool,
    /// A link that is named itself is followed.
    pub follow: bool,
}

/// A container's files as a process in it sees them; while it does not run, its rootfs.
struct View {
    config: Config,
    root: Root,
    /// Ids of its root on this view, and how many it has.
    ids: (u32, u32),
    size: u32,
    /// The rootfs on disk, when it is seen through a user namespace: only there the host's root
    /// can make files.
    disk: Option<Disk>,
    _held: Option<HeldImage>,
}

struct Disk {
    root: Root,
    ids: (u32, u32),
    /// The device of the rootfs.
    device: u64,
}

const ALL_IDS: u32 = u32::MAX;

/// Copies `source` of the container to `target` of the host.
pub fn copy_out(
    engine: &Engine,
    container: &Container,
    source: &Path,
    target: &Path,
    copy: Copy,
) -> Result<()> {
    let view = View::of(engine, container)?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let owner = match copy.archive {
        true => Owner::Moved { from: view.ids, to: (0, 0), size: view.size },
        false => Owner::Always(uid, gid),
    };
    let rules = Rules { owner, devices: false, set_id: copy.archive };
    let source = Source::find(&view.root, source, copy.follow)?;
    let host = Root::open("/")?;
    let target = std::path::absolute(target).context("find the working directory")?;
    let target = Target::find(&host, &target, source.stat()?)?;
    transfer(&source, target, &rules)
}

/// Copies `source` of the host to `target` of the container.
pub fn copy_in(
    engine: &Engine,
    container: &Container,
    source: &Path,
    target: &Path,
    copy: Copy,
) -> Result<()> {
    let view = View::of(engine, container)?;
    let whole = std::path::absolute(source).context("find the working directory")?;
    // absolute() drops a dot at the end, which says "what is in it".
    let whole = if ends_with_dot(source) { whole.join(".") } else { whole };
    let source = Source::find(&Root::open("/")?, &whole, copy.follow)?;
    let (root, ids) = view.writable(target)?;
    let owner = match copy.archive {
        true => Owner::Moved { from: (0, 0), to: ids, size: view.size },
        false => Owner::Always(ids.0, ids.1),
    };
    let rules = Rules { owner, devices: true, set_id: true };
    let target = Target::find(root, target, source.stat()?)?;
    transfer(&source, target, &rules)
}

impl View {
    fn of(engine: &Engine, container: &Container) -> Result<Self> {
        let config = container.config()?;
        let Tree { root: on_disk, held } = tree(engine.store.layout(), container, &config)?;
        let stat = on_disk.stat("")?;
        let disk_ids = (stat.st_uid, stat.st_gid);
        let size = config.user_remap.map_or(ALL_IDS, |remap| remap.size);
        match Running::of(container)? {
            Standing::Starting => bail!("the container is on its way up; try again"),
            Standing::Stopped => {
                let ids = config.user_remap.map_or((0, 0), |_| disk_ids);
                Ok(Self { config, root: on_disk, ids, size, disk: None, _held: held })
            }
            Standing::Running(running) => {
                let ids = running.root_ids()?;
                let device = running.root.stat("")?.st_dev;
                let disk =
                    running.user.as_ref().map(|_| Disk { root: on_disk, ids: disk_ids, device });
                Ok(Self { config, root: running.root, ids, size, disk, _held: held })
            }
        }
    }

    /// The tree in which something can be made at `path`, and who its root is there.
    fn writable(&self, path: &Path) -> Result<(&Root, (u32, u32))> {
        let device = self.root.stat("")?.st_dev;
        let there = nearest(&self.root, path)?;
        if self.config.read_only && there.st_dev == device {
            bail!("container rootfs is marked read-only");
        }
        match &self.disk {
            None => Ok((&self.root, self.ids)),
            Some(disk) if there.st_dev == disk.device => Ok((&disk.root, disk.ids)),
            Some(_) => bail!(
                "{} is on a mount of the container's user namespace, where the host's root is \
                 nobody; copy elsewhere, or pipe it into isula exec -i",
                path.display()
            ),
        }
    }
}

/// What is at `path`, or above it when it is not there yet.
fn nearest(root: &Root, path: &Path) -> Result<Stat> {
    match root.stat(path) {
        Ok(stat) => Ok(stat),
        Err(_) => Ok(root.stat(path.parent().unwrap_or(Path::new("/")))?),
    }
}

/// What is copied.
enum Source {
    /// The thing itself, and the name it was asked for by.
    Place(Place, OsString),
    /// What is in the directory.
    Contents(Root),
}

impl Source {
    fn find(root: &Root, path: &Path, follow: bool) -> Result<Self> {
        let (false, Some(name)) = (ends_with_dot(path), path.file_name()) else {
            return Ok(Self::Contents(root.subtree(path)?));
        };
        let path = if follow { followed(root, path)? } else { path.to_owned() };
        let directory = root.subtree(path.parent().unwrap_or(Path::new("/")))?;
        let own = path.file_name().unwrap_or(name).to_owned();
        directory.stat_no_follow(&own).with_context(|| format!("find {}", path.display()))?;
        Ok(Self::Place(Place { directory, name: own }, name.to_owned()))
    }

    fn stat(&self) -> Result<Stat> {
        match self {
            Self::Place(place, _) => Ok(place.directory.stat_no_follow(&place.name)?),
            Self::Contents(root) => Ok(root.stat("")?),
        }
    }
}

/// Where it goes.
enum Target {
    /// Into this directory, under the source's own name.
    Into(Root),
    /// Under this name.
    As(Place),
}

impl Target {
    fn find(root: &Root, path: &Path, source: Stat) -> Result<Self> {
        match root.stat(path) {
            Ok(stat) if is_directory(&stat) => Ok(Self::Into(root.subtree(path)?)),
            Ok(_) => Self::named(root, path),
            Err(error) if error.is(rustix::io::Errno::NOENT) => {
                let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
                ensure!(
                    !slash || is_directory(&source),
                    "no such directory: {}; make it first",
                    path.display()
                );
                Self::named(root, path)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn named(root: &Root, path: &Path) -> Result<Self> {
        let name = path.file_name().context("a name is needed at the end of the target")?;
        let directory = root.subtree(path.parent().unwrap_or(Path::new("/")))?;
        Ok(Self::As(Place { directory, name: name.to_owned() }))
    }
}

fn transfer(source: &Source, target: Target, rules: &Rules) -> Result<()> {
    match (source, target) {
        (Source::Contents(from), Target::Into(to)) => copy::copy_contents(from, &to, rules),
        (Source::Contents(from), Target::As(place)) => {
            let made = place.directory.mkdir_all(&place.name, 0o755)?;
            copy::copy_contents(from, &Root::from_fd(made), rules)
        }
        (Source::Place(from, name), Target::Into(directory)) => {
            ensure_apart(from, directory.as_fd())?;
            copy::copy(from, &Place { directory, name: name.clone() }, rules)
        }
        (Source::Place(from, _), Target::As(place)) => copy::copy(from, &place, rules),
    }
}

/// A directory cannot be copied into itself.
fn ensure_apart(from: &Place, into: impl AsFd) -> Result<()> {
    let source = from.directory.stat_no_follow(&from.name)?;
    let target = rustix::fs::fstat(into).context("stat the target")?;
    let same = (source.st_dev, source.st_ino) == (target.st_dev, target.st_ino);
    ensure!(!same, "the target is the source itself");
    Ok(())
}

fn ends_with_dot(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes == b"." || bytes.ends_with(b"/.")
}

/// Where the links at the end of `path` lead, inside the tree.
fn followed(root: &Root, path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    // As many as the kernel follows (path_resolution(7)).
    for _ in 0..40 {
        if !is_link(&root.stat_no_follow(&path)?) {
            return Ok(path);
        }
        let target = root.read_link(&path)?;
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    bail!("{}: too many links", path.display())
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
