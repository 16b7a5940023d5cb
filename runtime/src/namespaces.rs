//! Which namespaces the container gets: new ones, those of a path, or the caller's.
//!
//! New ones come from `clone3` in one call. A namespace given by path is entered by the parent
//! for the moment of the clone and left again: a child born in a new user namespace would have no
//! right over a network namespace that is older than it. So does the time namespace, whose
//! offsets cannot be written any more once a process is in it (time_namespaces(7)).
//!
//! A *user* namespace given by path cannot be left again by its visitor, so it is entered by a
//! process in between, which makes init with `CLONE_PARENT`: see `create`.

use std::collections::HashMap;

use linux::ns::{CloneFlags, Kind, Namespace, unshare};
use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxTimeOffset};

use crate::error::During as _;
use crate::{Error, Result};

/// What `linux.namespaces` asks for.
#[derive(Debug)]
pub(crate) struct Namespaces {
    new: Vec<Kind>,
    joined: Vec<Namespace>,
    time_offsets: String,
}

impl Namespaces {
    /// Reads the list and opens what it names by path.
    pub(crate) fn of(linux: &Linux) -> Result<Self> {
        let mut namespaces =
            Self { new: Vec::new(), joined: Vec::new(), time_offsets: String::new() };
        for (index, entry) in linux.namespaces().iter().flatten().enumerate() {
            let kind = kind(entry.typ());
            let member = || format!("linux.namespaces[{index}]");
            if namespaces.has(kind) {
                return Err(Error::config(
                    member(),
                    format!("a second {} namespace", kind.proc_name()),
                ));
            }
            match entry.path().as_deref().filter(|path| !path.as_os_str().is_empty()) {
                None => namespaces.new.push(kind),
                Some(_) if kind == Kind::Mount => {
                    return Err(Error::config(
                        member(),
                        "joining a mount namespace is not supported; leave out the path",
                    ));
                }
                Some(path) if !path.is_absolute() => {
                    return Err(Error::config(
                        member(),
                        format!("path {} is not absolute", path.display()),
                    ));
                }
                Some(path) => {
                    let namespace = Namespace::open(path, kind).step(|| {
                        format!("join {} namespace {}", kind.proc_name(), path.display())
                    })?;
                    namespaces.joined.push(namespace);
                }
            }
        }
        if !namespaces.is_new(Kind::Mount) {
            return Err(Error::config(
                "linux.namespaces",
                "a container needs a mount namespace of its own; add {\"type\": \"mount\"}",
            ));
        }
        if let Some(offsets) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) {
            if !namespaces.is_new(Kind::Time) {
                return Err(Error::config(
                    "linux.timeOffsets",
                    "needs a time namespace of the container's own; add {\"type\": \"time\"}",
                ));
            }
            namespaces.time_offsets = offsets_text(offsets)?;
        }
        Ok(namespaces)
    }

    /// A namespace of this kind that is not the caller's.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.is_new(kind) || self.joined(kind).is_some()
    }

    /// A namespace made for this container.
    pub(crate) fn is_new(&self, kind: Kind) -> bool {
        self.new.contains(&kind)
    }

    /// A namespace given by path.
    pub(crate) fn joined(&self, kind: Kind) -> Option<&Namespace> {
        self.joined.iter().find(|namespace| namespace.kind() == kind)
    }

    /// What `clone3` makes. The cgroup namespace has to wait until the cgroups are joined, and
    /// the time namespace until its offsets are written.
    pub(crate) fn clone_flags(&self) -> CloneFlags {
        self.new
            .iter()
            .filter(|kind| !matches!(kind, Kind::Cgroup | Kind::Time))
            .fold(CloneFlags::empty(), |flags, kind| flags | kind.clone_flag())
    }

    /// Enters what the coming child must be born in. Dropping the visit without
    /// [`Visit::leave`] leaves the caller where it is.
    pub(crate) fn visit(&self) -> Result<Visit> {
        let mut visit = Visit { home: Vec::new() };
        match self.enter_all(&mut visit) {
            Ok(()) => Ok(visit),
            Err(error) => {
                visit.leave()?;
                Err(error)
            }
        }
    }

    /// Runs `f` inside the container's namespace of this kind when that is given by path, else
    /// where we are.
    pub(crate) fn within<T>(&self, kind: Kind, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(namespace) = self.joined(kind) else { return f() };
        let visit = Visit { home: vec![Namespace::current(kind)?] };
        namespace.enter()?;
        let answer = f();
        visit.leave()?;
        answer
    }

    /// Enters the same for good.
    pub(crate) fn enter(&self) -> Result<()> {
        self.enter_all(&mut Visit { home: Vec::new() })
    }

    fn enter_all(&self, visit: &mut Visit) -> Result<()> {
        for namespace in &self.joined {
            let kind = namespace.kind();
            if matches!(kind, Kind::User | Kind::Cgroup) {
                continue;
            }
            visit.home.push(Namespace::current(kind)?);
            namespace.enter().step(|| format!("join {} namespace", kind.proc_name()))?;
        }
        if self.is_new(Kind::Time) {
            visit.home.push(Namespace::current(Kind::Time)?);
            unshare(Kind::Time.clone_flag()).step(|| "make a time namespace".into())?;
            if !self.time_offsets.is_empty() {
                linux::file::write("/proc/self/timens_offsets", &self.time_offsets)?;
            }
        }
        Ok(())
    }
}

/// The namespaces the caller has to go back to.
#[derive(Debug)]
#[must_use = "the caller stays in the namespaces it visits until it leaves them"]
pub(crate) struct Visit {
    home: Vec<Namespace>,
}

impl Visit {
    /// Goes back.
    pub(crate) fn leave(self) -> Result<()> {
        for home in self.home.into_iter().rev() {
            home.enter()
                .step(|| format!("return to the host's {} namespace", home.kind().proc_name()))?;
        }
        Ok(())
    }
}

fn kind(typ: LinuxNamespaceType) -> Kind {
    match typ {
        LinuxNamespaceType::Mount => Kind::Mount,
        LinuxNamespaceType::Cgroup => Kind::Cgroup,
        LinuxNamespaceType::Uts => Kind::Uts,
        LinuxNamespaceType::Ipc => Kind::Ipc,
        LinuxNamespaceType::User => Kind::User,
        LinuxNamespaceType::Pid => Kind::Pid,
        LinuxNamespaceType::Network => Kind::Net,
        LinuxNamespaceType::Time => Kind::Time,
    }
}

/// The text for /proc/PID/timens_offsets.
fn offsets_text(offsets: &HashMap<String, LinuxTimeOffset>) -> Result<String> {
    let mut lines = Vec::with_capacity(offsets.len());
    for (clock, offset) in offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::config(
                format!("linux.timeOffsets.{clock}"),
                "no such clock; the kernel shifts monotonic and boottime",
            ));
        }
        let seconds = offset.secs().unwrap_or(0);
        let nanoseconds = offset.nanosecs().unwrap_or(0);
        lines.push(format!("{clock} {seconds} {nanoseconds}\n"));
    }
    lines.sort();
    Ok(lines.concat())
}

#[cfg(test)]
mod tests;
