//! Refuses by name what `config.json` says and this runtime does not do, and what contradicts
//! itself between members.
//!
//! Most members are read by one step of `create`, which checks them where it parses them; the
//! test beside this file lists every member of the specification's types with the step that
//! honours it, or says that it is refused here. A member that nobody reads cannot be added to the
//! types without that list failing.

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespaceType, Process, Spec};

use crate::{Error, Result, net_devices};

/// The values of `linux.rootfsPropagation`.
const PROPAGATIONS: [&str; 8] =
    ["private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"];

/// Checks a whole configuration, before anything is made.
///
/// # Errors
/// The first member that is wrong or not supported.
pub(crate) fn check(spec: &Spec) -> Result<()> {
    version(spec.version())?;
    other_platforms(spec)?;
    if spec.annotations().iter().flatten().any(|(key, _)| key.is_empty()) {
        return Err(Error::config("annotations", "has an empty key; name it"));
    }
    let linux = spec.linux().as_ref().ok_or_else(|| {
        Error::config("linux", "is missing; a container needs at least linux.namespaces")
    })?;
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| Error::config("process", "is missing; say what to run in process.args"))?;
    check_process(process)?;
    names(spec, linux)?;
    mounts(spec)?;
    ids(linux)?;
    links(linux)?;
    paths(linux)?;
    unsupported(linux)?;
    Ok(())
}

/// Checks a process, of a configuration or of `exec`.
///
/// # Errors
/// The first member that is wrong or not supported.
pub(crate) fn check_process(process: &Process) -> Result<()> {
    match process.args().as_deref() {
        None | Some([]) => {
            return Err(Error::config("process.args", "is empty; name the program to run"));
        }
        Some([name, ..]) if name.is_empty() => {
            return Err(Error::config("process.args", "begins with an empty string"));
        }
        Some(args) => text("process.args", args)?,
    }
    if process.command_line().is_some() {
        return Err(Error::config("process.commandLine", "is for Windows; use process.args"));
    }
    if process.user().username().as_deref().is_some_and(|name| !name.is_empty()) {
        return Err(Error::config("process.user.username", "is for Windows; use process.user.uid"));
    }
    if !process.cwd().is_absolute() {
        return Err(Error::config(
            "process.cwd",
            format!("{:?} is not an absolute path", process.cwd()),
        ));
    }
    let env = process.env().as_deref().unwrap_or_default();
    text("process.env", env)?;
    for variable in env {
        if variable.find('=').is_none_or(|at| at == 0) {
            // The name alone: the rest could be a secret.
            let name = variable.split('=').next().unwrap_or_default();
            return Err(Error::config("process.env", format!("{name:?} is not NAME=VALUE")));
        }
    }
    Ok(())
}

/// No C string can hold a NUL byte.
fn text(member: &str, strings: &[String]) -> Result<()> {
    match strings.iter().position(|string| string.contains('\0')) {
        Some(index) => Err(Error::config(format!("{member}[{index}]"), "holds a NUL byte")),
        None => Ok(()),
    }
}

/// Versions are semantic: whatever 1.x adds, we ignore or refuse by its name.
fn version(version: &str) -> Result<()> {
    let mut numbers = version.split(['-', '+']).next().unwrap_or_default().split('.');
    let major = numbers.next().and_then(|major| major.parse::<u32>().ok());
    let rest = numbers.map(str::parse::<u32>).collect::<Result<Vec<_>, _>>();
    match (major, rest) {
        (Some(1), Ok(rest)) if rest.len() == 2 => Ok(()),
        (Some(_), Ok(rest)) if rest.len() == 2 => Err(Error::config(
            "ociVersion",
            format!("{version} is not supported; this runtime knows 1.0.0 to 1.3.0"),
        )),
        _ => Err(Error::config("ociVersion", format!("{version:?} is not a version like 1.0.2"))),
    }
}

fn other_platforms(spec: &Spec) -> Result<()> {
    let sections = [
        ("solaris", spec.solaris().is_some()),
        ("windows", spec.windows().is_some()),
        ("vm", spec.vm().is_some()),
        ("zos", spec.zos().is_some()),
    ];
    for (name, there) in sections {
        if there {
            return Err(Error::config(name, "is for another platform; this runtime is for Linux"));
        }
    }
    // The types have two members at the top that the specification never had.
    if spec.uid_mappings().is_some() || spec.gid_mappings().is_some() {
        return Err(Error::config("uidMappings", "belongs below linux; move it there"));
    }
    Ok(())
}

fn names(spec: &Spec, linux: &Linux) -> Result<()> {
    for (member, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else { continue };
        if !has(linux, LinuxNamespaceType::Uts) {
            return Err(Error::config(member, "would rename the host; add a uts namespace"));
        }
        // __NEW_UTS_LEN, linux/utsname.h.
        if name.len() > 64 {
            return Err(Error::config(member, format!("{name:?} is longer than 64 bytes")));
        }
    }
    Ok(())
}

fn mounts(spec: &Spec) -> Result<()> {
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let member = || format!("mounts[{index}]");
        // A relative one is taken from the root (config.md, "Mounts").
        if mount.destination().as_os_str().is_empty() {
            return Err(Error::config(format!("{}.destination", member()), "is empty"));
        }
        let maps = [mount.uid_mappings(), mount.gid_mappings()]
            .map(|maps| maps.as_ref().is_some_and(|maps| !maps.is_empty()));
        if maps[0] != maps[1] {
            return Err(Error::config(
                member(),
                "has one of uidMappings and gidMappings; give both",
            ));
        }
    }
    Ok(())
}

fn ids(linux: &Linux) -> Result<()> {
    let maps = [("uidMappings", linux.uid_mappings()), ("gidMappings", linux.gid_mappings())];
    if !has(linux, LinuxNamespaceType::User) {
        for (name, map) in maps {
            if map.as_ref().is_some_and(|map| !map.is_empty()) {
                return Err(Error::config(
                    format!("linux.{name}"),
                    "needs a user namespace; add {\"type\": \"user\"}",
                ));
            }
        }
    }
    Ok(())
}

/// A namespace of this type that is not the caller's.
fn has(linux: &Linux, typ: LinuxNamespaceType) -> bool {
    linux.namespaces().iter().flatten().any(|namespace| namespace.typ() == typ)
}

fn links(linux: &Linux) -> Result<()> {
    let wanted = net_devices::of(linux)?;
    if !wanted.is_empty() && !has(linux, LinuxNamespaceType::Network) {
        return Err(Error::config(
            "linux.netDevices",
            "needs a network namespace; add {\"type\": \"network\"}",
        ));
    }
    Ok(())
}

fn paths(linux: &Linux) -> Result<()> {
    let lists = [("maskedPaths", linux.masked_paths()), ("readonlyPaths", linux.readonly_paths())];
    for (name, list) in lists {
        for (index, path) in list.iter().flatten().enumerate() {
            if !Path::new(path).is_absolute() || path.contains('\0') {
                return Err(Error::config(
                    format!("linux.{name}[{index}]"),
                    format!("{path:?} is not an absolute path"),
                ));
            }
        }
    }
    let propagation = linux.rootfs_propagation().as_deref().unwrap_or_default();
    if !propagation.is_empty() && !PROPAGATIONS.contains(&propagation) {
        return Err(Error::config(
            "linux.rootfsPropagation",
            format!("{propagation:?} is not one of {}", PROPAGATIONS.join(", ")),
        ));
    }
    Ok(())
}

fn unsupported(linux: &Linux) -> Result<()> {
    if linux.intel_rdt().is_some() {
        return Err(Error::config(
            "linux.intelRdt",
            "is not supported; put the container's cgroup into a resctrl group from outside",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
