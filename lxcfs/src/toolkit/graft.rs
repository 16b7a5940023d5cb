//! Puts files of the daemon over those of a container, and takes them away, by descriptor.
//!
//! The mounts are made on the host, detached, and moved in: nothing is resolved by path in the
//! container but names below its own `/proc` and `/sys`, without following a link. A file that is
//! covered already is swapped: the new mount goes beneath the old one (Linux 6.5), then the old one
//! goes. A reader sees the old or the new file, never the host's. Before 6.5 the new one goes on
//! top of the last old one.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use linux::{
    Context as _, Errno, Error, Result, mount,
    mountinfo::{self, MountInfo},
    ns::{Kind, Namespace, in_mount_ns},
    process::Pid,
};
use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags},
    mount::UnmountFlags,
};

use super::daemon::{SYS_CPU, Source};

/// How the kernel lists our mounts.
pub const FSTYPE: &str = "fuse.lxcfs";
/// More mounts of ours than this on one file are nobody's doing.
const LAYERS: usize = 1000;

/// One file or directory of the daemon, ready to be moved in.
#[derive(Debug)]
pub struct Piece {
    /// Where it goes, relative to the root: `proc/meminfo`.
    pub target: PathBuf,
    mount: OwnedFd,
}

/// Opens everything there is at `source`, the daemon's tree or one container's part of it, for the
/// container whose root is `root`. What the container does not have is left out.
pub fn pieces(source: &Source, root: &OwnedFd) -> Result<Vec<Piece>> {
    let mut targets = Vec::new();
    for entry in list(&source.live.join("proc"))? {
        if entry == "pressure" {
            let resources = list(&source.live.join("proc/pressure"))?;
            targets.extend(resources.into_iter().map(|name| Path::new("proc/pressure").join(name)));
        } else {
            targets.push(Path::new("proc").join(entry));
        }
    }
    let cpu = PathBuf::from(SYS_CPU);
    if rustix::fs::stat(source.live.join(&cpu)).is_ok() {
        targets.push(cpu);
    }
    targets
        .into_iter()
        .filter(|target| resolve(root, target).is_ok())
        .map(|target| {
            let mount = mount::clone_tree_at(source.of(&target), false)?;
            Ok(Piece { target, mount })
        })
        .collect()
}

/// Reads from the source before anything is covered with it.
pub fn verify(source: &Source) -> Result<()> {
    let path = source.live.join("proc/meminfo");
    match linux::file::read(&path) {
        Ok(text) if text.is_empty() => {
            Err(Error::new(format!("read {}", path.display()), Errno::NODATA))
        }
        // Switched off, which is a choice.
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        other => other.map(drop),
    }
}

fn list(dir: &Path) -> Result<Vec<String>> {
    let call = || format!("list {}", dir.display());
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let entries = std::fs::read_dir(dir).map_err(|error| Error::new(call(), errno(error)))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::new(call(), errno(error)))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A container's tree: where mounts are changed and by whose eyes they are listed.
#[derive(Debug)]
pub struct Tree {
    pid: Pid,
    namespace: Namespace,
    root: OwnedFd,
    /// Opened on the host: inside, /proc is the container's and has other pids.
    mounts: OwnedFd,
}

impl Tree {
    /// The tree of a running process. One that lives in our own mount namespace is refused: its
    /// container is gone and the pid is a host process's.
    pub fn of(pid: Pid) -> Result<Tree> {
        let namespace = Namespace::of_pid(pid, Kind::Mount)?;
        if namespace.identity()? == Namespace::current(Kind::Mount)?.identity()? {
            return Err(Error::new(
                format!("enter the mount namespace of pid {pid}"),
                Errno::INVAL,
            )
            .with_hint("it is the host's: the container's pid has changed"));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = format!("/proc/{pid}/root");
        let root =
            rustix::fs::open(&path, flags, Mode::empty()).during(|| format!("open {path}"))?;
        let path = format!("/proc/{pid}/mountinfo");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mounts =
            rustix::fs::open(&path, flags, Mode::empty()).during(|| format!("open {path}"))?;
        Ok(Tree { pid, namespace, root, mounts })
    }

    /// The same, rooted at `rootfs`, a directory as that process sees it: for a container that has
    /// not pivoted yet.
    pub fn below(self, rootfs: &Path) -> Result<Tree> {
        let root = open_beneath(&self.root, rootfs, OFlags::PATH | OFlags::DIRECTORY)
            .during(|| format!("open {} of pid {}", rootfs.display(), self.pid))?;
        Ok(Tree { root, ..self })
    }

    /// The container's root.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Our mounts in it, dead ones too; the lowest of a stack first.
    pub fn ours(&self) -> Result<Vec<MountInfo>> {
        let mut mounts = self.mounts()?;
        mounts.retain(|mount| mount.fstype == FSTYPE);
        Ok(mounts)
    }

    /// Whether any of our mounts in it is dead.
    pub fn has_dead(&self) -> Result<bool> {
        let targets: Vec<PathBuf> = self
            .ours()?
            .into_iter()
            .filter_map(|mount| Some(mount.mount_point.strip_prefix("/").ok()?.to_owned()))
            .collect();
        in_mount_ns(self.namespace.as_fd(), || {
            let dead = |target| resolve(&self.root, target).is_ok_and(|top| is_dead(&top));
            Ok(targets.iter().any(|target: &PathBuf| dead(target)))
        })
    }

    /// Puts every piece in its place; returns how many stacks were swapped or covered.
    pub fn put(&self, pieces: &[Piece]) -> Result<usize> {
        in_mount_ns(self.namespace.as_fd(), || {
            let mut done = Vec::new();
            for piece in pieces {
                let put = self.put_one(piece);
                if let Err(error) = put {
                    // Half a set would contradict itself: what was covered anew is uncovered.
                    for target in done {
                        let _ = self.take_top(target);
                    }
                    return Err(error);
                }
                if put? {
                    done.push(&piece.target);
                }
            }
            Ok(pieces.len())
        })
    }

    /// Whether nothing of ours was there before.
    fn put_one(&self, piece: &Piece) -> Result<bool> {
        let call = || format!("mount over {} of pid {}", piece.target.display(), self.pid);
        let mut target = resolve(&self.root, &piece.target).during(call)?;
        let mut layers = self.layers(&target)?;
        // Down to the last, whose swap is then without a gap.
        while layers > 1 {
            self.take_top(&piece.target)?;
            target = resolve(&self.root, &piece.target).during(call)?;
            layers = self.layers(&target)?;
        }
        if layers == 0 {
            mount::attach(&piece.mount, &target).map_err(|error| error.within(call()))?;
            return Ok(true);
        }
        match mount::attach_beneath(&piece.mount, &target) {
            Ok(()) => self.take_top(&piece.target)?,
            Err(error) if error.is(Errno::INVAL) => {
                mount::attach(&piece.mount, &target).map_err(|error| error.within(call()))?;
            }
            Err(error) => return Err(error.within(call())),
        }
        Ok(false)
    }

    /// Takes our mounts off every file; returns how many there were. With `dead_only`, only those
    /// whose daemon does not answer any more.
    pub fn take(&self, dead_only: bool) -> Result<usize> {
        let mut targets: Vec<PathBuf> = self
            .ours()?
            .into_iter()
            .filter_map(|mount| Some(mount.mount_point.strip_prefix("/").ok()?.to_owned()))
            .filter(|target| target.starts_with("proc") || target.starts_with("sys"))
            .collect();
        // A directory after what is mounted in it.
        targets.sort_by_key(|target| std::cmp::Reverse(target.clone()));
        targets.dedup();
        in_mount_ns(self.namespace.as_fd(), || {
            let mut taken = 0;
            for target in &targets {
                for _ in 0..LAYERS {
                    let Ok(top) = resolve(&self.root, target) else { break };
                    if self.layers(&top)? == 0 || (dead_only && !is_dead(&top)) {
                        break;
                    }
                    self.take_top(target)?;
                    taken += 1;
                }
            }
            Ok(taken)
        })
    }

    fn mounts(&self) -> Result<Vec<MountInfo>> {
        let mut text = Vec::new();
        crate::host::read_all(&self.mounts, &mut text)
            .during(|| format!("read the mounts of pid {}", self.pid))?;
        mountinfo::parse(text)
    }

    /// How many mounts of ours lie on each other where `target` is the top.
    fn layers(&self, target: &OwnedFd) -> Result<usize> {
        let mounts = self.mounts()?;
        let mut id = mount_id(target)?;
        let mut layers = 0;
        while let Some(mount) = mounts.iter().find(|mount| u64::from(mount.id) == id) {
            if mount.fstype != FSTYPE {
                break;
            }
            layers += 1;
            id = u64::from(mount.parent);
        }
        Ok(layers)
    }

    /// Unmounts what is on top of `target`, which is ours.
    fn take_top(&self, target: &Path) -> Result<()> {
        let call = || format!("unmount {} of pid {}", target.display(), self.pid);
        let (Some(dir), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Error::new(call(), Errno::INVAL));
        };
        // umount2 takes a path only: one name in a directory we hold cannot be led astray.
        let dir = open_beneath(&self.root, dir, OFlags::PATH | OFlags::DIRECTORY).during(call)?;
        rustix::process::fchdir(&dir).during(call)?;
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        rustix::mount::unmount(OsStr::new(name), flags).during(call)
    }
}

/// The file or directory a mount goes onto; never by way of a symbolic link.
fn resolve(root: &OwnedFd, target: &Path) -> rustix::io::Result<OwnedFd> {
    open_beneath(root, target, OFlags::PATH | OFlags::NOFOLLOW)
}

fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::io::retry_on_intr(|| rustix::fs::openat2(root, path, flags, Mode::empty(), resolve))
}

fn mount_id(fd: &OwnedFd) -> Result<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    rustix::fs::statx(fd, "", flags, StatxFlags::MNT_ID)
        .map(|stat| stat.stx_mnt_id)
        .during(|| "ask for the mount of a file")
}

/// Whether nobody will ever answer for a file again.
fn is_dead(fd: &OwnedFd) -> bool {
    matches!(rustix::fs::fstatfs(fd), Err(Errno::NOTCONN | Errno::CONNABORTED))
}
