//! The child's half: attaches every mount below the rootfs, each target opened inside of it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::Errno;
use linux::error::Context as _;
use linux::mount::{self, Attributes, Propagation};
use linux::root::Root;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::options::{Named, Recursion};
use super::{Entry, Rootfs, Source};
use crate::Result;
use crate::error::During as _;

/// These must be real directories of the rootfs: a link there would have the kernel's own files
/// appear, and be trusted, somewhere else (CVE-2019-19921, CVE-2026-41579).
const ORDINARY: [&str; 3] = ["/dev", "/proc", "/sys"];

impl Rootfs {
    /// Gives the files of idmapped mounts the ids of the container. Before any is attached: the
    /// kernel refuses it for a mount that could have been used (mount_setattr(2)).
    pub(crate) fn idmap(&self, container: Option<BorrowedFd<'_>>) -> Result<()> {
        if let (true, Some(container)) = (self.idmapped, container) {
            shift(&self.tree, container, false)
                .step(|| format!("idmap rootfs {}", self.path.display()))?;
        }
        for entry in &self.mounts {
            let Source::Tree { mount, idmap: Some(idmap), .. } = &entry.source else { continue };
            let own = idmap.namespace.as_ref().map(|namespace| namespace.as_fd());
            let Some(namespace) = own.or(container) else { continue };
            shift(mount, namespace, idmap.recursion == Recursion::Recursive)
                .step(|| format!("idmap {}", entry.destination.display()))?;
        }
        Ok(())
    }

    /// Attaches the tree on its own path, where the runtime's hooks look for it.
    pub(crate) fn attach(&self) -> linux::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = rustix::fs::open(&self.path, flags, Mode::empty())
            .during(|| format!("open {}", self.path.display()))?;
        mount::attach(&self.tree, &path)
    }

    /// Attaches what `mounts` lists. Answers the proc filesystem at /proc, when there is one.
    pub(crate) fn mount_all(&self) -> Result<Option<OwnedFd>> {
        let root = self.root()?;
        let mut proc = None;
        for entry in &self.mounts {
            let made =
                entry.attach(&root).step(|| format!("mount {}", entry.destination.display()))?;
            if entry.is_proc() {
                proc = made;
            }
        }
        if let Some(store) = &self.nodes {
            store.bind_all(&root, self.tree.as_fd()).step(|| "bind device nodes".into())?;
        }
        Ok(proc)
    }

    pub(crate) fn root(&self) -> Result<Root> {
        let copy = rustix::io::fcntl_dupfd_cloexec(&self.tree, 3)
            .during(|| "duplicate the rootfs descriptor".to_owned())?;
        Ok(Root::from_fd(copy))
    }

    /// Writes `linux.sysctl` through a proc filesystem nobody else can have touched.
    pub(crate) fn set_sysctl(&self, proc: Option<&OwnedFd>) -> Result<()> {
        if self.sysctl.is_empty() {
            return Ok(());
        }
        let own;
        let proc = match proc {
            Some(proc) => proc,
            None => {
                own = new_filesystem("proc", Some("proc"), &[])?;
                &own
            }
        };
        super::sysctl::apply(proc.as_fd(), &self.sysctl)
    }
}

impl Entry {
    fn is_proc(&self) -> bool {
        self.destination == Path::new("/proc")
            && matches!(&self.source, Source::Fresh { fstype, .. } if fstype == "proc")
    }

    /// Attaches it, and answers the mount where the child made one.
    fn attach(&self, root: &Root) -> Result<Option<OwnedFd>> {
        let directory = !matches!(&self.source, Source::Tree { directory: false, .. });
        let target = match &self.source {
            Source::Remount { .. } => root.resolve(&self.destination)?,
            _ => self.target(root, directory)?,
        };
        match &self.source {
            Source::Remount { all, propagation, parameters } => {
                self.remount(&target, *all, *propagation, parameters)?;
                Ok(None)
            }
            Source::Tree { mount, .. } => {
                mount::attach(mount, &target)?;
                Ok(None)
            }
            Source::Cgroup(cgroup) => cgroup.attach(&target, self.flags).map(|()| None),
            Source::Fresh { fstype, source, parameters, copy_up, propagation } => {
                let made = new_filesystem(fstype, source.as_deref(), parameters)?;
                if *copy_up {
                    super::copyup::copy_up(target.as_fd(), made.as_fd())?;
                }
                let attributes =
                    Attributes { propagation: *propagation, ..self.flags.attributes() };
                mount::set_attributes(&made, &attributes, false)?;
                mount::attach(&made, &target)?;
                Ok(Some(made))
            }
        }
    }

    /// Both calls refuse what is no mount.
    fn remount(
        &self,
        mount: &OwnedFd,
        all: Named,
        propagation: Option<(Propagation, Recursion)>,
        parameters: &[(String, Option<String>)],
    ) -> Result<()> {
        if !parameters.is_empty() {
            mount::reconfigure(mount, &borrowed(parameters))?;
        }
        let of = |wanted| propagation.filter(|(_, it)| *it == wanted).map(|(kind, _)| kind);
        let tree = Attributes { propagation: of(Recursion::Recursive), ..all.attributes() };
        let own = Attributes { propagation: of(Recursion::Single), ..self.flags.attributes() };
        mount::set_attributes(mount, &tree, true)?;
        mount::set_attributes(mount, &own, false)?;
        Ok(())
    }

    fn target(&self, root: &Root, directory: bool) -> Result<OwnedFd> {
        let path = &self.destination;
        let target =
            if directory { root.mkdir_all(path, 0o755)? } else { root.create_file(path, 0o644)? };
        if !ORDINARY.iter().any(|ordinary| path == Path::new(ordinary)) {
            return Ok(target);
        }
        let relative = path.strip_prefix("/").unwrap_or(path);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        openat2(root.as_fd(), relative, flags, Mode::empty(), resolve).map_err(|errno| {
            let error = linux::Error::new(format!("open {} of the rootfs", path.display()), errno);
            match errno {
                Errno::LOOP => error.with_hint("it is a link; make it a directory").into(),
                _ => error.into(),
            }
        })
    }
}

/// A detached mount of a new filesystem.
pub(super) fn new_filesystem(
    fstype: &str,
    source: Option<&str>,
    parameters: &[(String, Option<String>)],
) -> linux::Result<OwnedFd> {
    mount::new_filesystem(fstype, source, &borrowed(parameters), &Attributes::default())
}

fn borrowed(parameters: &[(String, Option<String>)]) -> Vec<(&str, Option<&str>)> {
    parameters.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect()
}

fn shift(mount: &OwnedFd, namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    mount::set_attributes(mount, &Attributes::idmapped(namespace), recursive)?;
    Ok(())
}
