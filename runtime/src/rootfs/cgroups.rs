//! `/sys/fs/cgroup` of the container: the same shape as the host's.
//!
//! A unified host gives one cgroup2 mount. Any other gives a tmpfs with a directory for each
//! hierarchy, links for the names of controllers that share one, and the v2 tree beside them.
//! The container's own directories are bound: nothing above them can be reached, and in a cgroup
//! namespace of its own they are the top, as if mounted there. (cgroup1_get_tree(),
//! kernel/cgroup/cgroup-v1.c, walks through every cgroup of the v2 tree at each such mount: with 1750
//! of them a quarter of a start.) In another's namespace each is mounted anew, to show what is the
//! top there. Without a namespace a hybrid host's v2 tree is left out.
//!
//! An init that manages cgroups gets `name=systemd` and the v2 tree writable, the controllers of
//! v1 not: their files are no delegation boundary (cgroup-v1/cgroups.rst). The tmpfs is read-only
//! for it, too, or it would have the kernel make hierarchies the host does not use. A container that
//! may write to `/sys` guards nothing by that, and gets all of them writable: it may have containers
//! of its own.

use std::os::fd::OwnedFd;
use std::path::Path;

use linux::cgroup::{Hierarchy, Kind as LayoutKind, Version};
use linux::error::Context as _;
use linux::mount::{self, Attributes, Flags};
use linux::ns::Kind;
use rustix::fs::{Mode, OFlags, mkdirat, openat, symlinkat};

use super::attach::new_filesystem;
use super::options::Named;
use super::prepare::Needs;
use crate::error::During as _;
use crate::{Error, Result};

/// One `cgroup` entry of `mounts`.
#[derive(Debug)]
pub(crate) struct CgroupMount {
    trees: Vec<Tree>,
    /// Names of controllers that lead to a hierarchy of several.
    links: Vec<(String, String)>,
    /// The one tree is the mount itself, without a tmpfs around it.
    alone: bool,
    /// The tmpfs around several.
    read_only: bool,
}

#[derive(Debug)]
struct Tree {
    name: String,
    origin: Origin,
    read_only: bool,
}

#[derive(Debug)]
enum Origin {
    New { fstype: &'static str, parameters: Vec<(String, Option<String>)> },
    Bound(OwnedFd),
}

/// Whether `/sys` itself is there to be written: the host's settings are open to it then.
fn writes_sys(needs: &Needs<'_>) -> bool {
    let mut mounts = needs.bundle.spec.mounts().iter().flatten();
    let sys = mounts.rfind(|mount| mount.destination() == Path::new("/sys"));
    let options = sys.and_then(|mount| mount.options().as_ref());
    options.is_some_and(|options| !options.iter().any(|option| option == "ro"))
}

impl CgroupMount {
    pub(crate) fn plan(needs: &Needs<'_>, read_only: bool) -> Result<Self> {
        let alone = needs.layout.kind() == LayoutKind::Unified;
        let namespace = needs.namespaces.has(Kind::Cgroup);
        let guarded = needs.system_container && !writes_sys(needs);
        let mut mount = Self {
            trees: Vec::new(),
            links: Vec::new(),
            alone,
            read_only: read_only || needs.system_container,
        };
        for hierarchy in needs.layout.hierarchies() {
            let Some(name) = name_of(hierarchy) else { continue };
            // Beside v1 systemd prefers the v2 tree, and looks there for the path that
            // /proc/self/cgroup names: without a cgroup namespace that is a path of the host's.
            if !alone && !namespace && hierarchy.version == Version::V2 {
                continue;
            }
            let own = match hierarchy.controllers.first() {
                _ if hierarchy.version == Version::V2 && namespace => needs.cgroup.payload_dir(),
                _ if hierarchy.version == Version::V2 => needs.cgroup.unified_dir(),
                Some(controller) => needs.cgroup.controller_dir(controller),
                None => None,
            };
            let Some(own) = own else { continue };
            if hierarchy.version == Version::V1 && hierarchy.controllers.len() > 1 {
                let links = hierarchy.controllers.iter().filter(|controller| **controller != name);
                mount.links.extend(links.map(|link| (link.clone(), name.clone())));
            }
            let origin = match needs.namespaces.joined(Kind::Cgroup) {
                Some(_) => anew(hierarchy),
                None => Origin::Bound(bound(own)?),
            };
            let managed = hierarchy.version == Version::V2 || hierarchy.has("name=systemd");
            let read_only = read_only || (guarded && !managed);
            mount.trees.push(Tree { name, origin, read_only });
        }
        if mount.trees.is_empty() {
            return Err(Error::config("mounts", "this host has no cgroups to mount"));
        }
        Ok(mount)
    }

    /// Mounts everything at `target`, the directory in the container's tree.
    pub(crate) fn attach(&self, target: &OwnedFd, flags: Named) -> Result<()> {
        if let (true, [tree]) = (self.alone, self.trees.as_slice()) {
            return tree.attach(target, flags).step(|| format!("mount cgroup {}", tree.name));
        }
        let around =
            new_filesystem("tmpfs", Some("tmpfs"), &[("mode".to_owned(), Some("755".to_owned()))])?;
        let mut own = flags.attributes();
        own.set -= Flags::READ_ONLY;
        mount::set_attributes(&around, &own, false)?;
        mount::attach(&around, target)?;
        for tree in &self.trees {
            self.attach_below(&around, tree, flags)
                .step(|| format!("mount cgroup {}", tree.name))?;
        }
        for (link, name) in &self.links {
            symlinkat(name, &around, link).during(|| format!("link {link} to {name}"))?;
        }
        if self.read_only {
            mount::set_attributes(&around, &Attributes::read_only(), false)?;
        }
        Ok(())
    }

    fn attach_below(&self, around: &OwnedFd, tree: &Tree, flags: Named) -> Result<()> {
        let name = tree.name.as_str();
        mkdirat(around, name, Mode::from_raw_mode(0o755)).during(|| format!("make {name}"))?;
        let flags_of_open = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target =
            openat(around, name, flags_of_open, Mode::empty()).during(|| format!("open {name}"))?;
        tree.attach(&target, flags)
    }
}

impl Tree {
    fn attach(&self, target: &OwnedFd, flags: Named) -> Result<()> {
        let made;
        let mount = match &self.origin {
            Origin::Bound(mount) => mount,
            Origin::New { fstype, parameters } => {
                made = new_filesystem(fstype, Some("cgroup"), parameters)?;
                &made
            }
        };
        let mut attributes = flags.attributes();
        attributes.set.set(Flags::READ_ONLY, self.read_only);
        attributes.clear.set(Flags::READ_ONLY, !self.read_only);
        mount::set_attributes(mount, &attributes, false)?;
        mount::attach(mount, target)?;
        Ok(())
    }
}

/// The last part of the host's mount point: what programs expect to find.
fn name_of(hierarchy: &Hierarchy) -> Option<String> {
    let name = hierarchy.mount_point.file_name()?.to_string_lossy().into_owned();
    match hierarchy.version {
        // Wherever the host has it, this is where systemd looks on a hybrid machine.
        Version::V2 => Some("unified".to_owned()),
        Version::V1 => Some(name),
    }
}

fn anew(hierarchy: &Hierarchy) -> Origin {
    match hierarchy.version {
        Version::V2 => Origin::New { fstype: "cgroup2", parameters: Vec::new() },
        Version::V1 => {
            let mut parameters = Vec::new();
            for controller in &hierarchy.controllers {
                match controller.split_once('=') {
                    // A hierarchy without a controller has to be asked for as such.
                    Some((key, name)) => {
                        parameters.push(("none".to_owned(), None));
                        parameters.push((key.to_owned(), Some(name.to_owned())));
                    }
                    None => parameters.push((controller.clone(), None)),
                }
            }
            Origin::New { fstype: "cgroup", parameters }
        }
    }
}

fn bound(own: &Path) -> Result<OwnedFd> {
    let tree = mount::clone_tree_at(own, false)?;
    let private =
        Attributes { propagation: Some(mount::Propagation::Private), ..Attributes::default() };
    mount::set_attributes(&tree, &private, false)?;
    Ok(tree)
}

#[cfg(test)]
mod tests;
