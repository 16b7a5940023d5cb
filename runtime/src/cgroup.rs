//! The container's cgroup: where it is, what it may use, who manages it, how a process gets in.
//!
//! What a cgroup is on this host is [`linux::cgroup`]'s business; here the words of `config.json`
//! are turned into its terms.

use std::collections::HashMap;

use linux::cgroup::{Cgroup, CgroupPath, JoinFds, Layout, Lid, Resources};
use linux::process::Pid;
use oci_spec::runtime::{LinuxNamespaceType, Spec};

use crate::systemd::Scope;
use crate::{Error, Result};

mod devices;
mod resources;

pub(crate) use resources::resources;

/// Where a container goes that names no cgroup.
const DEFAULT_PARENT: &str = "isulad";

/// Bounds the cgroups that the container may make in the v2 tree.
pub(crate) const MAX_DESCENDANTS: &str = "org.isula.cgroup.max-descendants";

/// As many as it may make unless that annotation says. A Debian has about 50; each costs the host
/// some 100 KiB of the kernel's memory, not all of which the container pays for.
const DEFAULT_DESCENDANTS: u64 = 1000;

/// The path that `linux.cgroupsPath` names, or the one of a container that names none.
pub(crate) fn path_of(spec: &Spec, id: &str) -> Result<CgroupPath> {
    let named = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) else {
        return config("linux.cgroupsPath", CgroupPath::parse(&format!("{DEFAULT_PARENT}/{id}")));
    };
    let text = path.to_str().ok_or_else(|| refuse("linux.cgroupsPath", "is not UTF-8"))?;
    // "SLICE:PREFIX:NAME" asks systemd for a scope; as a path it would be a directory of that name.
    if text.split(':').count() == 3 && !text.contains('/') {
        return Err(refuse(
            "linux.cgroupsPath",
            "names a unit of systemd; give --systemd-cgroup, or name a path, as in /isulad/ID",
        ));
    }
    config("linux.cgroupsPath", CgroupPath::parse(text))
}

/// Makes the cgroup, sets its limits and device rules, and gives it to the container where that
/// may manage it. `owner` is the host's ids of the container's root, if it has ids of its own.
pub(crate) fn create(
    layout: &Layout,
    path: &CgroupPath,
    spec: &Spec,
    owner: Option<(u32, u32)>,
) -> Result<Cgroup> {
    // What can be wrong with the words is found before anything is made.
    let resources = resources::of_new_container(spec)?;
    let lid = lid(spec.annotations().as_ref())?;
    let mut cgroup =
        Cgroup::create(layout, path).map_err(|error| step(format!("make cgroup {path}"), error))?;
    match set_up(&mut cgroup, path, spec, owner, &resources, lid) {
        Ok(()) => Ok(cgroup),
        Err(error) => {
            cgroup.discard();
            Err(error)
        }
    }
}

/// The same with a cgroup that systemd has made, where it did.
pub(crate) fn complete(
    layout: &Layout,
    path: &CgroupPath,
    spec: &Spec,
    owner: Option<(u32, u32)>,
    scope: &Scope,
) -> Result<Cgroup> {
    let resources = resources::of_new_container(spec)?;
    let lid = lid(spec.annotations().as_ref())?;
    let mut cgroup = Cgroup::complete(layout, path)
        .map_err(|error| step(format!("find cgroup {path}"), error))?;
    let set_up = set_up(&mut cgroup, path, spec, owner, &resources, lid)
        .and_then(|()| scope.tell(&cgroup, resources.devices.as_ref()));
    match set_up {
        Ok(()) => Ok(cgroup),
        Err(error) => {
            cgroup.discard();
            Err(error)
        }
    }
}

fn set_up(
    cgroup: &mut Cgroup,
    path: &CgroupPath,
    spec: &Spec,
    owner: Option<(u32, u32)>,
    resources: &Resources,
    lid: Lid,
) -> Result<()> {
    cgroup.apply(resources).map_err(|error| step(format!("set up cgroup {path}"), error))?;
    if is_managed_inside(spec) {
        let (uid, gid) = owner.unwrap_or((0, 0));
        cgroup
            .delegate(uid, gid, lid)
            .map_err(|error| step(format!("delegate cgroup {path}"), error))?;
    }
    Ok(())
}

/// Opens what a further process needs to join: the cgroups that init is in, which its systemd may
/// have chosen, or the one called `sub` below `outer`, the container's own.
pub(crate) fn join_of_exec(
    layout: &Layout,
    outer: &Cgroup,
    init: Pid,
    sub: Option<&str>,
) -> Result<JoinFds> {
    let cgroup = Cgroup::of(layout, init)
        .map_err(|error| step(format!("find the cgroups of init ({init})"), error))?;
    if !outer.contains(&cgroup) {
        let error = linux::Error::new(
            format!("check that the cgroups of init ({init}) are the container's"),
            linux::Errno::XDEV,
        );
        return Err(step("join the container's cgroups".to_owned(), error));
    }
    let cgroup = match sub {
        None => cgroup,
        Some(sub) => CgroupPath::parse(sub)
            .and_then(|path| outer.below(&path, cgroup))
            .map_err(|error| step(format!("find cgroup {sub:?} in the container"), error))?,
    };
    cgroup.join_fds().map_err(|error| step("open the container's cgroups".to_owned(), error))
}

/// The container sees its own cgroup as the top, and may write there.
fn is_managed_inside(spec: &Spec) -> bool {
    let is_cgroup = |namespace: &oci_spec::runtime::LinuxNamespace| {
        namespace.typ() == LinuxNamespaceType::Cgroup && namespace.path().is_none()
    };
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let has_namespace = namespaces.is_some_and(|list| list.iter().any(is_cgroup));
    let is_writable = |mount: &oci_spec::runtime::Mount| {
        let options = mount.options().as_deref().unwrap_or_default();
        matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"))
            && !options.iter().any(|option| option == "ro")
    };
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    has_namespace && mounts.iter().any(is_writable)
}

fn lid(annotations: Option<&HashMap<String, String>>) -> Result<Lid> {
    let text = annotations.and_then(|annotations| annotations.get(MAX_DESCENDANTS));
    let descendants = match text.map(String::as_str) {
        None => Some(DEFAULT_DESCENDANTS),
        Some("max") => None,
        Some(text) => Some(text.parse().map_err(|_| {
            let member = format!("annotations[{MAX_DESCENDANTS:?}]");
            refuse(member, format!("is {text:?}; give a number of cgroups, or max"))
        })?),
    };
    Ok(Lid { descendants, depth: None })
}

fn refuse(member: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Config { member: member.into(), reason: reason.into() }
}

fn config<T>(member: &str, result: linux::Result<T>) -> Result<T> {
    result.map_err(|error| refuse(member, error.to_string()))
}

fn step(step: String, source: linux::Error) -> Error {
    Error::Step { step, source: Box::new(source) }
}

#[cfg(test)]
mod tests;
