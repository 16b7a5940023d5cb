//! The parent's half: opens what only the host's privileges can, as detached mounts.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use linux::cgroup::{Cgroup, Layout};
use linux::mount::{self, Attributes, Propagation};
use linux::ns::Kind;
use oci_spec::runtime::{Linux, Mount};
use rustix::fs::{FileType, Mode, fstat};

use super::cgroups::CgroupMount;
use super::devices::{self, Node};
use super::options::{Options, Recursion};
use super::{Entry, Hole, Idmap, Rootfs, Source, sysctl};
use crate::bundle::Bundle;
use crate::error::During as _;
use crate::idmap::IdMaps;
use crate::namespaces::Namespaces;
use crate::security::label::mount_context;
use crate::{Error, Result};

/// Filesystems that take the namespaces, or the user namespace, of the process that opens them.
const MADE_BY_THE_CHILD: [&str; 8] =
    ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "bpf", "binfmt_misc"];

/// Those of them whose files have no label of their own.
const TAKES_A_LABEL: [&str; 4] = ["tmpfs", "ramfs", "devpts", "mqueue"];

/// What else the tree depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) linux: &'a Linux,
    pub(crate) namespaces: &'a Namespaces,
    /// Of the container's user namespace, when it has one.
    pub(crate) maps: Option<&'a IdMaps>,
    pub(crate) layout: &'a Layout,
    pub(crate) cgroup: &'a Cgroup,
    /// The container runs an init that manages its own cgroups.
    pub(crate) system_container: bool,
}

/// Opens everything the child needs.
pub(crate) fn prepare(needs: &Needs<'_>) -> Result<Rootfs> {
    // Modes below are meant as they are written.
    let umask = rustix::process::umask(Mode::empty());
    let rootfs = assemble(needs);
    rustix::process::umask(umask);
    rootfs
}

fn assemble(needs: &Needs<'_>) -> Result<Rootfs> {
    let linux = needs.linux;
    let spec = &needs.bundle.spec;
    let (tree, idmapped) = open_rootfs(needs)?;
    let mut dev_nodes = devices::nodes(linux.devices().as_deref().unwrap_or_default(), needs.maps)?;
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let dev = mounts.iter().find(|mount| mount.destination() == Path::new("/dev"));
    let dev_is_ours = dev.is_some_and(|mount| mount.typ().as_deref() == Some("tmpfs"));
    let mut stored: Vec<Node> =
        dev_nodes.extract_if(.., |node| !node.path.starts_with("/dev")).collect();
    // What somebody else mounts at /dev has the nodes that its owner gave it.
    if dev.is_none() {
        stored.append(&mut dev_nodes);
    }

    let mut entries = Vec::with_capacity(mounts.len());
    let mut holes = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let options = Options::of(mount, index)?;
        if is_hole(mount) {
            let path = mount.destination().clone();
            holes.push(Hole { path, flags: options.own });
            continue;
        }
        let destination = destination(mount, index)?;
        let flags = options.own;
        let source = if dev_is_ours && destination == Path::new("/dev") {
            dev_filesystem(&options, &dev_nodes, needs)?
        } else {
            source(mount, index, options, needs)?
        };
        entries.push(Entry { destination, source, flags });
    }

    let masked = linux.masked_paths().clone().unwrap_or_default();
    let read_only_paths = linux.readonly_paths().clone().unwrap_or_default();
    let wanted_sysctl = linux.sysctl().clone().unwrap_or_default();
    Ok(Rootfs {
        path: needs.bundle.rootfs.clone(),
        tree,
        idmapped,
        read_only: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        propagation: rootfs_propagation(linux)?,
        mounts: entries,
        nodes: match stored.is_empty() {
            true => None,
            false => Some(devices::fill_store(store_filesystem()?, stored)?),
        },
        masked,
        read_only_paths,
        holes,
        sysctl: sysctl::check(&wanted_sysctl, needs.namespaces)?,
    })
}

/// The rootfs as a mount of its own; its files shown as the container's where they are the host's.
fn open_rootfs(needs: &Needs<'_>) -> Result<(OwnedFd, bool)> {
    let path = &needs.bundle.rootfs;
    let act = || format!("open rootfs {}", path.display());
    let tree = mount::clone_tree_at(path, true).step(act)?;
    // Never shared while it is built, or our mounts would appear on the host.
    let propagation = match rootfs_propagation(needs.linux)? {
        Some((Propagation::Slave, _)) => Propagation::Slave,
        _ => Propagation::Private,
    };
    let attributes = Attributes { propagation: Some(propagation), ..Attributes::default() };
    mount::set_attributes(&tree, &attributes, true).step(act)?;
    let Some(maps) = needs.maps else { return Ok((tree, false)) };
    let stat = fstat(&tree).map_err(|errno| linux::Error::new(act(), errno))?;
    if maps.covers(stat.st_uid, stat.st_gid) {
        return Ok((tree, false));
    }
    if (stat.st_uid, stat.st_gid) == (0, 0) {
        return Ok((tree, true));
    }
    Err(Error::config(
        "root.path",
        format!(
            "{} belongs to {}:{}, which the container's id maps do not cover; chown it to the \
             container's root, or to 0:0 to have it shown as the container's",
            path.display(),
            stat.st_uid,
            stat.st_gid
        ),
    ))
}

fn rootfs_propagation(linux: &Linux) -> Result<Option<(Propagation, Recursion)>> {
    use Propagation::{Private, Shared, Slave, Unbindable};
    let Some(word) = linux.rootfs_propagation().as_deref().filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    let (kind, recursion) = match word.strip_prefix('r') {
        Some(kind) => (kind, Recursion::Recursive),
        None => (word, Recursion::Single),
    };
    let propagation = match kind {
        "private" => Private,
        "slave" => Slave,
        "shared" => Shared,
        "unbindable" => Unbindable,
        _ => {
            return Err(Error::config(
                "linux.rootfsPropagation",
                format!("{word:?} is none of [r]private, [r]slave, [r]shared, [r]unbindable"),
            ));
        }
    };
    Ok(Some((propagation, recursion)))
}

/// A proc mount of a path on itself below /proc: a part that stays writable although a read-only
/// path covers it.
pub(crate) fn is_hole(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("proc")
        && mount.source().as_deref() == Some(mount.destination())
        && mount.destination().starts_with("/proc/")
        && mount.destination() != Path::new("/proc/")
}

fn destination(mount: &Mount, index: usize) -> Result<PathBuf> {
    let path = Path::new("/").join(mount.destination());
    let member = || format!("mounts[{index}].destination");
    if path.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(Error::config(member(), format!("{} holds \"..\"", path.display())));
    }
    if path.file_name().is_none() {
        return Err(Error::config(member(), "is the root itself; change root.path instead"));
    }
    // Rebuilt from its components, so that "/dev/" is "/dev".
    Ok(path.components().collect())
}

fn dev_filesystem(options: &Options, nodes: &[Node], needs: &Needs<'_>) -> Result<Source> {
    let mut parameters = options.parameters.clone();
    label(&mut parameters, needs.linux)?;
    let root = devices::owner("mounts (/dev)", 0, 0, needs.maps)?;
    for (key, id) in [("uid", root.0), ("gid", root.1)] {
        parameters.retain(|(name, _)| name != key);
        parameters.push((key.to_owned(), Some(id.to_string())));
    }
    let mount = filesystem("tmpfs", Some("tmpfs"), &parameters)?;
    devices::fill_dev(&mount, nodes, root)?;
    set_flags(&mount, options)?;
    Ok(Source::Tree { mount, directory: true, idmap: None })
}

/// What `linux.mountLabel` adds to a filesystem of the container's own.
fn label(parameters: &mut Vec<(String, Option<String>)>, linux: &Linux) -> Result<()> {
    if let Some(label) = mount_context(linux.mount_label().as_deref())? {
        parameters.push(("context".to_owned(), Some(label.to_owned())));
    }
    Ok(())
}

fn store_filesystem() -> Result<OwnedFd> {
    filesystem("tmpfs", Some("devices"), &[("mode".to_owned(), Some("755".to_owned()))])
}

fn source(mount: &Mount, index: usize, options: Options, needs: &Needs<'_>) -> Result<Source> {
    let member = || format!("mounts[{index}] ({})", mount.destination().display());
    if options.remount {
        return remount(&member(), options);
    }
    if let Some(recursion) = options.bind {
        return bind(mount, &member(), recursion, &options, needs);
    }
    if options.idmap.is_some() {
        return Err(Error::config(member(), "only a bind mount can be idmapped; add bind"));
    }
    if !options.all.is_empty() {
        return Err(Error::config(member(), "options for a whole tree are for bind mounts"));
    }
    let fstype = mount.typ().as_deref().unwrap_or_default();
    if options.copy_up && fstype != "tmpfs" {
        return Err(Error::config(member(), "only a tmpfs can begin with what it covers"));
    }
    let source = mount.source().as_ref().map(|source| source.to_string_lossy().into_owned());
    let act = |fstype: &str| format!("mount {fstype} on {}", mount.destination().display());
    let make = || filesystem(fstype, source.as_deref(), &options.parameters);
    if let Some(kind) = of_older_namespace(fstype, needs) {
        let made = needs.namespaces.within(kind, make);
        return tree(made.step(|| act(fstype))?, &options);
    }
    match fstype {
        "" | "none" => Err(Error::config(member(), "has no type, and no bind among its options")),
        "cgroup" | "cgroup2" if is_shared(&options) => {
            Err(Error::config(member(), "mounts of cgroups are private; leave the propagation out"))
        }
        "cgroup" | "cgroup2" => CgroupMount::plan(needs, options.own.is_read_only())
            .map(Source::Cgroup)
            .step(|| format!("prepare {}", mount.destination().display())),
        _ if MADE_BY_THE_CHILD.contains(&fstype) => {
            let mut parameters = options.parameters.clone();
            if TAKES_A_LABEL.contains(&fstype) {
                label(&mut parameters, needs.linux)?;
            }
            Ok(Source::Fresh {
                fstype: fstype.to_owned(),
                source,
                parameters,
                copy_up: options.copy_up,
                propagation: options.propagation.map(|(propagation, _)| propagation),
            })
        }
        _ => tree(make().step(|| act(fstype))?, &options),
    }
}

fn is_shared(options: &Options) -> bool {
    !matches!(options.propagation, None | Some((Propagation::Private, _)))
}

/// With `bind` the mount alone is changed, as mount(8) has it; what belongs to a filesystem is
/// nothing for that.
fn remount(member: &str, options: Options) -> Result<Source> {
    if options.idmap.is_some() || options.copy_up {
        return Err(Error::config(member, "remount can neither idmap nor copy; leave that out"));
    }
    match options.parameters.first() {
        Some((parameter, _)) if options.bind.is_some() => Err(Error::config(
            member,
            format!("option {parameter:?} means nothing to a bind mount; leave it out"),
        )),
        _ => Ok(Source::Remount {
            all: options.all,
            propagation: options.propagation,
            parameters: options.parameters,
        }),
    }
}

/// The root of a user namespace has no right over a network or ipc namespace that is older, and
/// cannot mount what shows it: then the host's root does, inside of that namespace.
fn of_older_namespace(fstype: &str, needs: &Needs<'_>) -> Option<Kind> {
    let kind = match fstype {
        "sysfs" => Kind::Net,
        "mqueue" => Kind::Ipc,
        _ => return None,
    };
    (needs.maps.is_some() && !needs.namespaces.is_new(kind)).then_some(kind)
}

fn bind(
    mount: &Mount,
    member: &str,
    recursion: Recursion,
    options: &Options,
    needs: &Needs<'_>,
) -> Result<Source> {
    let Some(source) = mount.source().as_deref() else {
        return Err(Error::config(member, "a bind mount needs a source"));
    };
    if let Some((parameter, _)) = options.parameters.first() {
        let reason = format!("option {parameter:?} means nothing to a bind mount; leave it out");
        return Err(Error::config(member, reason));
    }
    let source = needs.bundle.directory.join(source);
    let act = || format!("bind {} on {}", source.display(), mount.destination().display());
    let tree = mount::clone_tree_at(&source, recursion == Recursion::Recursive).step(act)?;
    let stat = fstat(&tree).map_err(|errno| linux::Error::new(act(), errno))?;
    set_flags(&tree, options).step(act)?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(Source::Tree { mount: tree, directory, idmap: idmap(mount, member, options, needs)? })
}

fn idmap(
    mount: &Mount,
    member: &str,
    options: &Options,
    needs: &Needs<'_>,
) -> Result<Option<Idmap>> {
    let mappings = mount.uid_mappings().is_some() || mount.gid_mappings().is_some();
    let Some(recursion) = options.idmap.or(mappings.then_some(Recursion::Single)) else {
        return Ok(None);
    };
    if !mappings {
        return match needs.maps {
            Some(_) => Ok(Some(Idmap { recursion, namespace: None })),
            None => Err(Error::config(
                member,
                "idmap needs uidMappings and gidMappings, or a user namespace of the container",
            )),
        };
    }
    let maps = IdMaps::checked(
        member,
        mount.uid_mappings().clone().unwrap_or_default(),
        mount.gid_mappings().clone().unwrap_or_default(),
    )?;
    Ok(Some(Idmap { recursion, namespace: Some(maps.namespace()?) }))
}

fn tree(mount: OwnedFd, options: &Options) -> Result<Source> {
    set_flags(&mount, options)?;
    Ok(Source::Tree { mount, directory: true, idmap: None })
}

fn filesystem(
    fstype: &str,
    source: Option<&str>,
    parameters: &[(String, Option<String>)],
) -> Result<OwnedFd> {
    Ok(super::attach::new_filesystem(fstype, source, parameters)?)
}

/// Attributes of a detached mount; private unless the options say otherwise.
fn set_flags(mount: &OwnedFd, options: &Options) -> Result<()> {
    let (propagation, recursion) =
        options.propagation.unwrap_or((Propagation::Private, Recursion::Recursive));
    let recursive = Attributes {
        propagation: (recursion == Recursion::Recursive).then_some(propagation),
        ..options.all.attributes()
    };
    let single = Attributes {
        propagation: (recursion == Recursion::Single).then_some(propagation),
        ..options.own.attributes()
    };
    mount::set_attributes(mount, &recursive, true)?;
    mount::set_attributes(mount, &single, false)?;
    Ok(())
}

#[cfg(test)]
mod tests;
