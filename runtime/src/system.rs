//! Makes an ordinary bundle one that boots an init, for engines that know no system containers.
//! Pure: spec in, spec out.
//!
//! What is there stays; what an init cannot do without is added (the container interface of
//! systemd, systemd.io/CONTAINER_INTERFACE).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Capabilities, Capability, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxSeccompAction,
    LinuxSyscallBuilder, Mount, MountBuilder, Spec,
};

use crate::cgroup::MAX_DESCENDANTS;
use crate::policy::Policy;
use crate::{Error, Result};

/// The annotation: `true`, `false`, or `auto` for "if its program is an init".
pub const ANNOTATION: &str = "org.isula.system-container";
/// The annotation that names the signal which shuts the init down.
pub const STOP_SIGNAL: &str = "org.isula.stop-signal";
/// All annotations of ours begin so.
const PREFIX: &str = "org.isula.";

/// What a system container does, whatever profile is in force: mount, shut down, make namespaces,
/// which the default profiles keep to CAP_SYS_ADMIN or do not know.
pub const SYSCALLS: &[&str] = &["mount", "umount2", "reboot", "name_to_handle_at", "unshare"];

/// Who decides whether a bundle is a system container's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SystemContainer {
    /// The bundle was written for that already, or not: it is taken as it is.
    #[default]
    AsWritten,
    /// Its annotations.
    AsAnnotated,
    /// The caller: it is one.
    Always,
}

impl SystemContainer {
    /// Whether `spec` is to be [`adapt`]ed.
    pub(crate) fn asks(self, spec: &Spec, policy: &Policy) -> Result<bool> {
        if self == Self::AsWritten {
            return Ok(false);
        }
        let annotations = spec.annotations().clone().unwrap_or_default();
        check(&annotations, policy)?;
        if self == Self::Always {
            return Ok(true);
        }
        match annotations.get(ANNOTATION).map(String::as_str) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some("auto") => Ok(runs_init(spec)),
            Some(other) => Err(wrong(ANNOTATION, format!("is {other:?}; use true, false or auto"))),
        }
    }
}

/// Whether `spec` is a system container's as it stands.
pub(crate) fn is_one(spec: &Spec) -> bool {
    let annotations = spec.annotations().as_ref();
    annotations.and_then(|all| all.get(ANNOTATION)).is_some_and(|value| value == "true")
}

/// Ours are honoured or refused; those of others are theirs.
fn check(annotations: &HashMap<String, String>, policy: &Policy) -> Result<()> {
    let sorted: BTreeMap<_, _> =
        annotations.iter().filter(|(key, _)| key.starts_with(PREFIX)).collect();
    for (key, value) in sorted {
        if policy.forbids(key) {
            return Err(wrong(key, "is forbidden on this host by its policy file".into()));
        }
        match key.as_str() {
            // Read where the cgroup is made.
            ANNOTATION | MAX_DESCENDANTS => {}
            STOP_SIGNAL => {
                value.parse::<linux::signal::Signal>().map_err(|e| wrong(key, e.to_string()))?;
            }
            _ => return Err(wrong(key, "is not known to this runtime; leave it out".into())),
        }
    }
    Ok(())
}

fn wrong(annotation: &str, reason: String) -> Error {
    Error::config(format!("annotations.{annotation}"), reason)
}

fn runs_init(spec: &Spec) -> bool {
    let args = spec.process().as_ref().and_then(|process| process.args().as_ref());
    let program = args.and_then(|args| Path::new(args.first()?).file_name());
    program.is_some_and(|name| name == "init" || name == "systemd")
}

/// The spec of a system container. Doing it twice is doing it once.
pub(crate) fn adapt(spec: &mut Spec) {
    spec.annotations_mut().get_or_insert_default().insert(ANNOTATION.to_owned(), "true".to_owned());
    let mounts = spec.mounts().clone().unwrap_or_default();
    spec.set_mounts(Some(with_mounts(mounts)));
    if let Some(process) = spec.process_mut() {
        let mut env = process.env().clone().unwrap_or_default();
        if !env.iter().any(|entry| entry.starts_with("container=")) {
            env.push("container=isula".to_owned());
        }
        process.set_env(Some(env));
        if let Some(mut capabilities) = process.capabilities().clone() {
            // To power off and reboot, which ends the pid namespace and nothing else (reboot(2)).
            let with = |set: &Option<Capabilities>| {
                let mut set = set.clone().unwrap_or_default();
                set.insert(Capability::SysBoot);
                Some(set)
            };
            let (bounding, effective) =
                (with(capabilities.bounding()), with(capabilities.effective()));
            let permitted = with(capabilities.permitted());
            capabilities.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
            process.set_capabilities(Some(capabilities));
        }
    }
    if let Some(linux) = spec.linux_mut() {
        let namespaces = linux.namespaces_mut().get_or_insert_default();
        if !namespaces.iter().any(|it| it.typ() == LinuxNamespaceType::Cgroup) {
            let cgroup = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Cgroup).build();
            namespaces.extend(cgroup.ok());
        }
        if let Some(seccomp) = linux.seccomp_mut() {
            let default = seccomp.default_action();
            let mut rules = seccomp.syscalls().clone().unwrap_or_default();
            // Two rules about one call would be a conflict: the call is open without condition.
            for rule in &mut rules {
                let names = rule.names().iter().filter(|name| !SYSCALLS.contains(&name.as_str()));
                let names: Vec<String> = names.cloned().collect();
                rule.set_names(names);
            }
            rules.retain(|rule| !rule.names().is_empty());
            if default != LinuxSeccompAction::ScmpActAllow {
                let names: Vec<String> = SYSCALLS.iter().map(|&name| name.to_owned()).collect();
                let open = LinuxSyscallBuilder::default()
                    .names(names)
                    .action(LinuxSeccompAction::ScmpActAllow)
                    .build();
                rules.extend(open.ok());
            }
            seccomp.set_syscalls(Some(rules));
        }
    }
}

fn with_mounts(mut mounts: Vec<Mount>) -> Vec<Mount> {
    // An engine's own files lie below /run, so that the tmpfs comes before them.
    tmpfs(&mut mounts, "/run", &["nosuid", "nodev", "mode=755"]);
    tmpfs(&mut mounts, "/run/lock", &["nosuid", "noexec", "nodev", "mode=755"]);
    tmpfs(&mut mounts, "/tmp", &["nosuid", "nodev", "mode=1777"]);
    match mounts.iter_mut().find(|mount| is_at(mount, "/sys/fs/cgroup")) {
        Some(cgroup) => {
            let mut options = cgroup.options().clone().unwrap_or_default();
            options.retain(|word| word != "ro" && word != "rw");
            options.push("rw".to_owned());
            cgroup.set_options(Some(options));
        }
        None => {
            let options = ["nosuid", "noexec", "nodev", "relatime", "rw"];
            mounts.extend(mount("cgroup", "cgroup", "/sys/fs/cgroup", &options));
        }
    }
    mounts
}

/// A tmpfs at `path`, unless something is mounted there.
fn tmpfs(mounts: &mut Vec<Mount>, path: &str, options: &[&str]) {
    if mounts.iter().any(|mount| is_at(mount, path)) {
        return;
    }
    let below = mounts.iter().position(|mount| mount.destination().starts_with(path));
    let at = below.unwrap_or(mounts.len());
    if let Some(tmpfs) = mount("tmpfs", "tmpfs", path, options) {
        mounts.insert(at, tmpfs);
    }
}

fn is_at(mount: &Mount, path: &str) -> bool {
    // As components: a slash at the end changes nothing.
    mount.destination().components().eq(Path::new(path).components())
}

fn mount(kind: &str, source: &str, path: &str, options: &[&str]) -> Option<Mount> {
    let options: Vec<String> = options.iter().map(|&word| word.to_owned()).collect();
    let mount = MountBuilder::default()
        .typ(kind)
        .source(source)
        .destination(PathBuf::from(path))
        .options(options)
        .build();
    mount.ok()
}

#[cfg(test)]
mod tests;
