//! Making a cgroup in every hierarchy, ready for processes.
//!
//! v1 cpusets start empty and refuse processes until they have CPUs and memory nodes
//! (Documentation/admin-guide/cgroup-v1/cpusets.rst); v2 controllers must be handed down by each
//! cgroup on the way (cgroup-v2.rst, "Enabling and Disabling"), which one that has processes of its
//! own cannot do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode};

use super::kernfs::{self, read_text, set, write};
use super::{Cgroup, CgroupPath, Hierarchy, Layout, Place, Version, remove, tree};
use crate::error::{Errno, Error, Result};

/// How long removing what an earlier cgroup of the same path left may take.
const LEFTOVER_DEADLINE: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Makes the cgroup in every hierarchy, with the parents it needs.
    ///
    /// One that is there already is taken with its settings if no process lives in it; empty
    /// cgroups below it are removed. On an error, what was made is gone again. Controllers that
    /// cannot be enabled on the way are an error only once [`Cgroup::apply`] needs them.
    pub fn create(layout: &Layout, path: &CgroupPath) -> Result<Self> {
        let mut made = Made::default();
        let place = |hierarchy: &Hierarchy| {
            let dir = make(hierarchy, path, &mut made)?;
            Ok(Place { hierarchy: hierarchy.clone(), dir })
        };
        let places = layout.hierarchies().iter().map(place).collect::<Result<_>>()?;
        Ok(Self { places, made: made.keep(), payload: None })
    }

    /// The cgroup at `path` where somebody else has made it, for a container that has a process in
    /// it by now, and a new one in the hierarchies that were left out.
    pub fn complete(layout: &Layout, path: &CgroupPath) -> Result<Self> {
        let mut made = Made::default();
        let place = |hierarchy: &Hierarchy| {
            let dir = hierarchy.mount_point.join(path);
            let dir = if dir.is_dir() { dir } else { make(hierarchy, path, &mut made)? };
            Ok(Place { hierarchy: hierarchy.clone(), dir })
        };
        let places: Vec<_> = layout.hierarchies().iter().map(place).collect::<Result<_>>()?;
        Ok(Self { places, made: made.keep(), payload: None })
    }

    /// Takes back what [`Cgroup::create`] made, parents included, and nothing else; for a cgroup
    /// that no process has been in.
    pub fn discard(self) {
        drop(Made(self.made));
    }
}

/// Directories made so far; removed again, children first, unless kept.
#[derive(Debug, Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for dir in self.0.iter().rev() {
            if let Err(errno) = rustix::fs::unlinkat(CWD, dir, AtFlags::REMOVEDIR) {
                tracing::trace!(path = %dir.display(), %errno, "cgroup left behind");
            }
        }
    }
}

fn make(hierarchy: &Hierarchy, path: &CgroupPath, made: &mut Made) -> Result<PathBuf> {
    let mut dir = hierarchy.mount_point.clone();
    let mut new = false;
    for name in path.names() {
        if hierarchy.version == Version::V2 {
            enable_what_can_be(&dir);
        }
        dir.push(name);
        new = make_dir(&dir)?;
        if new {
            made.0.push(dir.clone());
        }
        if hierarchy.version == Version::V1 {
            prepare_v1(hierarchy, &dir, new)?;
        }
    }
    if !new {
        take_over(hierarchy, &dir)?;
    }
    if hierarchy.version == Version::V2 {
        check_type(&dir)?;
    }
    Ok(dir)
}

/// Whether the directory had to be made.
pub(super) fn make_dir(dir: &Path) -> Result<bool> {
    match rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        // A control file of that name is in the way, or the cgroup is there already.
        Err(Errno::EXIST) if dir.is_dir() => Ok(false),
        Err(errno) => {
            let error = Error::new(format!("make cgroup {}", dir.display()), errno);
            Err(match errno {
                Errno::AGAIN => error
                    .with_hint("cgroup.max.descendants or cgroup.max.depth of a parent is reached"),
                Errno::ACCESS | Errno::PERM => error.with_hint("run it on the host, as root"),
                Errno::ROFS => error.with_hint("the cgroup mount is read-only here"),
                Errno::EXIST => error.with_hint("a control file has that name; choose another"),
                _ => error,
            })
        }
    }
}

fn prepare_v1(hierarchy: &Hierarchy, dir: &Path, new: bool) -> Result<()> {
    if hierarchy.has("cpuset") {
        for file in ["cpuset.mems", "cpuset.cpus"] {
            inherit(dir, file, new)?;
        }
    }
    // Before Linux 5.11 a limit did not bind cgroups further down unless this was set, which is
    // possible only while there are none; from then on it is always 1.
    let use_hierarchy = dir.join("memory.use_hierarchy");
    if new && hierarchy.has("memory") && read_text(&use_hierarchy).is_ok_and(|text| text == "0") {
        set(&use_hierarchy, "1")?;
    }
    Ok(())
}

/// Copies an empty cpuset file from the parent. A new one is empty, or has that already
/// (`cgroup.clone_children`).
fn inherit(dir: &Path, file: &str, new: bool) -> Result<()> {
    let read = |path: &Path| {
        read_text(path).map_err(|errno| Error::new(format!("read {}", path.display()), errno))
    };
    let own = dir.join(file);
    if !new && !read(&own)?.is_empty() {
        return Ok(());
    }
    let Some(parent) = dir.parent() else { return Ok(()) };
    set(&own, &read(&parent.join(file))?)
}

/// Makes a cgroup that was there as good as new, short of its settings.
fn take_over(hierarchy: &Hierarchy, dir: &Path) -> Result<()> {
    remove::remove_below(dir, LEFTOVER_DEADLINE)?;
    let mut pids = Vec::new();
    tree::visit(dir, &mut |dir| tree::read_procs(dir, &mut pids))?;
    if let Some(pid) = pids.first() {
        let call = format!("take cgroup {}: process {pid} is in it", dir.display());
        return Err(Error::new(call, Errno::BUSY).with_hint("choose another cgroup path"));
    }
    if hierarchy.version == Version::V2 {
        // A cgroup that hands controllers down may hold no process.
        let file = dir.join("cgroup.subtree_control");
        let enabled = read_text(&file).unwrap_or_default();
        let off: Vec<_> = enabled.split_whitespace().map(|name| format!("-{name}")).collect();
        if !off.is_empty() {
            set(&file, &off.join(" "))?;
        }
    }
    Ok(())
}

/// A threaded cgroup takes no process of another cgroup, one below it none at all.
fn check_type(dir: &Path) -> Result<()> {
    // The top of the tree has no such file.
    let Ok(kind) = read_text(&dir.join("cgroup.type")) else { return Ok(()) };
    if kind == "domain" || kind == "domain threaded" {
        return Ok(());
    }
    let call = format!("make cgroup {}: it is \"{kind}\"", dir.display());
    Err(Error::new(call, Errno::OPNOTSUPP)
        .with_hint("its parent is a threaded cgroup; choose one whose cgroup.type is domain"))
}

/// Hands down what the kernel lets pass; who needs one that did not, asks [`enable`].
pub(super) fn enable_what_can_be(dir: &Path) {
    let read = |file| read_text(&dir.join(file)).unwrap_or_default();
    let (available, enabled) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let missing: Vec<_> = available
        .split_whitespace()
        .filter(|name| !enabled.split_whitespace().any(|other| other == *name))
        .map(|name| format!("+{name}"))
        .collect();
    let file = dir.join("cgroup.subtree_control");
    if missing.is_empty() || has_own_processes(dir) {
        return;
    }
    // One write is all or nothing.
    if write(&file, &missing.join(" ")).is_ok() {
        return;
    }
    for controller in missing {
        if let Err(errno) = write(&file, &controller) {
            tracing::trace!(path = %file.display(), controller, %errno, "controller not enabled");
        }
    }
}

/// Whether there are processes in this very cgroup, which is not a top.
///
/// The kernel lets some controllers pass all the same (cpu, cpuset, pids), by making it the root of
/// a threaded subtree, below which no container can live (cgroup-v2.rst, "Threads").
fn has_own_processes(dir: &Path) -> bool {
    // However many there are, one is enough to know.
    let has_any = |file| kernfs::read(&dir.join(file), 0) == Err(Errno::FBIG);
    has_any("cgroup.type") && has_any("cgroup.procs")
}

/// Hands `controller` down from the top to `dir`, or says which cgroup on the way prevents it.
pub(super) fn enable(top: &Path, dir: &Path, controller: &str) -> Result<()> {
    let has = |dir: &Path, file: &str| {
        let text = read_text(&dir.join(file)).unwrap_or_default();
        text.split_whitespace().any(|name| name == controller)
    };
    let mut way: Vec<&Path> = dir.ancestors().skip(1).take_while(|d| d.starts_with(top)).collect();
    way.reverse();
    for parent in way {
        if has(parent, "cgroup.subtree_control") {
            continue;
        }
        let file = parent.join("cgroup.subtree_control");
        let written = match has_own_processes(parent) {
            true => Err(Errno::BUSY),
            false => write(&file, &format!("+{controller}")),
        };
        written.map_err(|errno| {
            let call = format!("enable controller {controller} in {}", parent.display());
            let error = Error::new(call, errno);
            match errno {
                Errno::BUSY => error.with_hint(
                    "processes live in that very cgroup; move them to one of its children",
                ),
                Errno::OPNOTSUPP => error.with_hint("that cgroup is threaded; choose a domain"),
                Errno::ACCESS | Errno::PERM => error.with_hint("run it on the host, as root"),
                _ => error,
            }
        })?;
    }
    Ok(())
}
