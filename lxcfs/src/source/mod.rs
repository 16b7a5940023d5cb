//! Where the numbers of a sample are read: the cgroup directories of one container.
//!
//! Hierarchies are held by directory descriptors taken at the start, so later mounts on the host
//! cannot lead a read elsewhere; files are opened beneath them. Hot files stay open while the
//! descriptor budget lasts. Nothing here holds a lock while it reads.

pub mod block;
pub mod cpu;
pub mod memory;

use std::{
    ffi::OsStr,
    fs,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use linux::{
    Context as _, Errno,
    cgroup::{layout::Layout, membership::Membership},
};
use rustix::fs::{Mode, OFlags};

use crate::{host, sample::Version, text::words};

/// Every hierarchy of the host, held open.
#[derive(Debug)]
pub struct Trees {
    layout: Layout,
    tops: Vec<OwnedFd>,
    /// Descriptors kept open, and how many that may be.
    kept: Arc<AtomicUsize>,
    budget: usize,
}

impl Trees {
    /// Opens the top of each hierarchy. `budget` is how many files may stay open.
    pub fn open(layout: Layout, budget: usize) -> linux::Result<Trees> {
        let tops = layout
            .hierarchies()
            .iter()
            .map(|tree| {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(&tree.mount_point, flags, Mode::empty())
                    .during(|| format!("open {}", tree.mount_point.display()))
            })
            .collect::<linux::Result<Vec<_>>>()?;
        Ok(Trees { layout, tops, kept: Arc::default(), budget })
    }

    /// A host without any hierarchy: everything falls back, nothing fails.
    pub fn none() -> Trees {
        Trees { layout: Layout::of(Vec::new()), tops: Vec::new(), kept: Arc::default(), budget: 0 }
    }

    /// Files kept open at this moment.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    fn index_with(&self, controller: &str) -> Option<usize> {
        self.layout.hierarchies().iter().position(|tree| tree.has(controller))
    }

    fn unified(&self) -> Option<usize> {
        self.layout.hierarchies().iter().position(|tree| tree.version == Version::V2)
    }
}

/// A container's cgroup in one hierarchy, below its top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which interface its files have.
    pub version: Version,
    tree: usize,
    path: PathBuf,
}

impl Place {
    /// The directory one level up, down to the last that is not the top itself.
    fn parent(&self) -> Option<Place> {
        let path = self.path.parent().filter(|path| !path.as_os_str().is_empty())?;
        Some(Place { path: path.to_owned(), ..self.clone() })
    }

    /// This cgroup and all above it but the top, which has no limits.
    fn upwards(&self) -> impl Iterator<Item = Place> {
        std::iter::successors(Some(self.clone()), Place::parent)
    }

    fn file(&self, name: &str) -> CgroupFile {
        CgroupFile { tree: self.tree, path: self.path.join(name), kept: RwLock::new(None) }
    }
}

/// The cgroups of one container, by what they are asked for.
///
/// `None` where the host has no such controller or the container is at the top of its hierarchy,
/// where nothing is limited and the host's values are the right ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the controllers")]
pub struct Places {
    pub memory: Option<Place>,
    pub cpu: Option<Place>,
    pub cpuacct: Option<Place>,
    pub cpuset: Option<Place>,
    pub block: Option<Place>,
    pub hugetlb: Option<Place>,
    pub devices: Option<Place>,
    /// v2, controllers or not: pressure, and CPU time where no other tells.
    pub unified: Option<Place>,
}

impl Place {
    /// The nearest cgroup from here up that the controller knows. Below where it is enabled (v2,
    /// `cgroup.subtree_control`) a process counts for the cgroup above.
    fn governed(mut self, trees: &Trees, controller: &str) -> Option<Place> {
        let mut text = Vec::new();
        while self.version == Version::V2 {
            let file = self.file("cgroup.controllers");
            let read = optional(&file, trees, &mut text);
            // One that is gone or cannot be read stays: what it lacks is told where it is missed.
            if read.is_none() || words(&text).any(|word| word == controller.as_bytes()) {
                break;
            }
            if !self.path.pop() || self.path.as_os_str().is_empty() {
                return None;
            }
        }
        Some(self)
    }
}

impl Places {
    /// The cgroups of a process, as its `/proc/PID/cgroup` has them.
    ///
    /// A container's own systemd moves itself to `init.scope`; the limits and what the container
    /// uses as a whole are one level up.
    pub fn of(trees: &Trees, membership: &Membership) -> Places {
        let at = |tree: Option<usize>| -> Option<Place> {
            let index = tree?;
            let hierarchy = &trees.layout.hierarchies()[index];
            let path = membership.path_in(hierarchy)?;
            let path = path.strip_prefix(&hierarchy.root).ok()?;
            let path = match path.file_name() {
                Some(name) if name == OsStr::new("init.scope") => path.parent()?,
                _ => path,
            };
            (!path.as_os_str().is_empty()).then(|| Place {
                version: hierarchy.version,
                tree: index,
                path: path.to_owned(),
            })
        };
        let with = |controller: &str| {
            at(trees.index_with(controller)).and_then(|place| place.governed(trees, controller))
        };
        Places {
            memory: with("memory"),
            cpu: with("cpu"),
            cpuacct: with("cpuacct"),
            cpuset: with("cpuset"),
            block: with("io").or_else(|| with("blkio")),
            hugetlb: with("hugetlb"),
            devices: with("devices"),
            unified: at(trees.unified()),
        }
    }

    /// The pressure files: cpu, memory, io, irq.
    pub fn pressure_files(&self) -> Option<[CgroupFile; 4]> {
        let place = self.unified.as_ref()?;
        Some(["cpu", "memory", "io", "irq"].map(|name| place.file(&format!("{name}.pressure"))))
    }

    /// The directory whose processes are the container's, as the host has it.
    pub fn process_dir(&self, trees: &Trees) -> Option<PathBuf> {
        let place = self.unified.as_ref().or(self.memory.as_ref()).or(self.cpu.as_ref())?;
        Some(trees.layout.hierarchies()[place.tree].mount_point.join(&place.path))
    }
}

/// A descriptor kept open, counted until it is closed.
#[derive(Debug)]
struct Kept {
    fd: OwnedFd,
    count: Arc<AtomicUsize>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One file of a cgroup, opened at first use and kept open while there is room.
#[derive(Debug)]
pub struct CgroupFile {
    tree: usize,
    path: PathBuf,
    kept: RwLock<Option<Arc<Kept>>>,
}

impl CgroupFile {
    /// Appends the file's text. A cgroup that went away meanwhile is `ENODEV` or `ENOENT`.
    pub fn read(&self, trees: &Trees, out: &mut Vec<u8>) -> linux::Result<()> {
        let start = out.len();
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner).clone();
        let read = match kept {
            Some(kept) => host::read_record(&kept.fd, out),
            None => self.open(trees).and_then(|fd| {
                let read = host::read_record(&fd, out);
                if read.is_ok() {
                    self.keep(trees, fd);
                }
                read
            }),
        };
        read.during(|| {
            let top = &trees.layout.hierarchies()[self.tree].mount_point;
            format!("read {}", top.join(&self.path).display())
        })
        .inspect_err(|_| out.truncate(start))
    }

    fn keep(&self, trees: &Trees, fd: OwnedFd) {
        let kept = Kept { fd, count: Arc::clone(&trees.kept) };
        if kept.count.fetch_add(1, Ordering::Relaxed) < trees.budget {
            *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(kept));
        }
    }

    fn open(&self, trees: &Trees) -> rustix::io::Result<OwnedFd> {
        let top = trees.tops.get(self.tree).ok_or(Errno::NOENT)?;
        open_beneath(top, &self.path)
    }
}

/// Opens a file below `top`; a path longer than the kernel takes at once is walked in pieces.
fn open_beneath(top: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    const AT_ONCE: usize = 3072;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    if path.as_os_str().len() <= AT_ONCE {
        return rustix::fs::openat(top, path, flags, Mode::empty());
    }
    let parts: Vec<_> = path.iter().collect();
    let mut here: Option<OwnedFd> = None;
    for piece in parts[..parts.len() - 1].chunks(8) {
        let piece: PathBuf = piece.iter().collect();
        let dir = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = Some(rustix::fs::openat(here.as_ref().unwrap_or(top), &piece, dir, Mode::empty())?);
    }
    rustix::fs::openat(here.as_ref().unwrap_or(top), parts[parts.len() - 1], flags, Mode::empty())
}

/// Reads a file that may be absent: an absent one is `None`, and so is one that cannot be read.
fn optional(file: &CgroupFile, trees: &Trees, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    file.read(trees, out).ok()
}

/// The lines of a process's cgroup file that this daemon can make use of.
pub fn membership(pid: linux::process::Pid) -> linux::Result<Membership> {
    Membership::of(pid)
}

/// A file of `/proc` or `/sys` by path, small and read once.
fn small_file(path: &Path) -> Option<Vec<u8>> {
    fs::read(OsStr::from_bytes(path.as_os_str().as_bytes())).ok()
}
