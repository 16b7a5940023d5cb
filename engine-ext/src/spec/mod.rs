//! The OCI configuration, built from what was asked and what the host is like.
//!
//! Pure: everything that has to be looked up is in [`Host`]. The document is made anew at every
//! start, because devices, users and the namespaces of other containers change in between.

mod capabilities;
mod devices;
mod mounts;
mod namespaces;
mod paths;
mod process;
mod resources;
pub mod seccomp;

use std::collections::HashMap;

use anyhow::{Context, Result};
use container::Config;
use container::config::{LxcfsChoice, Seccomp};
use oci_spec::runtime::{
    HookBuilder, Hooks, Linux, LinuxBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxSeccomp,
    RootBuilder, Spec, SpecBuilder,
};

pub use capabilities::{bounding, for_user};
pub use devices::DeviceFact;
pub use process::{labels, rlimits, umask, uuid};
pub use resources::limits;

use crate::host::Host;

/// Tells the runtime that the cgroup mount is for an init that manages cgroups.
const SYSTEM_CONTAINER: &str = runtime::system::ANNOTATION;
/// The specification version whose members are used below.
pub const OCI_VERSION: &str = "1.2.0";
/// What every runtime in use takes: crun 1.8 knows no other minor number.
const OLD_OCI_VERSION: &str = "1.0.2";

/// A daemon that hangs holds a start no longer than this, in seconds.
const LXCFS_PATIENCE_S: i64 = 10;

/// The document.
pub fn build(config: &Config, host: &Host) -> Result<Spec> {
    let capabilities = capabilities::bounding(config);
    let root =
        RootBuilder::default().path(&host.paths.rootfs).readonly(config.read_only).build()?;
    let mut spec = SpecBuilder::default()
        .version(if config.runtime.is_some() { OLD_OCI_VERSION } else { OCI_VERSION })
        .root(root)
        .process(process::build(config, host, &capabilities)?)
        .mounts(mounts::build(config, host)?)
        .hooks(hooks(config, host)?)
        .linux(linux(config, host, seccomp(config, host, &capabilities)?)?)
        .annotations(annotations(config))
        .build()?;
    let named = config.namespaces.uts.is_none() && !config.hostname.is_empty();
    spec.set_hostname(named.then(|| config.hostname.clone()));
    spec.set_domainname(None);
    Ok(spec)
}

fn linux(config: &Config, host: &Host, seccomp: Option<LinuxSeccomp>) -> Result<Linux> {
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces::build(config, host)?)
        .resources(resources::build(config, host)?)
        .cgroups_path(cgroups_path(config))
        .devices(devices::nodes(config, host)?)
        .masked_paths(paths::masked(config))
        .readonly_paths(paths::read_only(config))
        .sysctl(config.sysctls.clone().into_iter().collect::<HashMap<_, _>>())
        .build()?;
    if let Some(remap) = config.user_remap {
        linux.set_uid_mappings(Some(vec![mapping(remap.uid, remap.size)?]));
        linux.set_gid_mappings(Some(vec![mapping(remap.gid, remap.size)?]));
    }
    if config.namespaces.time {
        linux.set_time_offsets(Some(namespaces::time_offsets(host)?));
    }
    linux.set_seccomp(seccomp);
    Ok(linux)
}

/// What was asked for, and the one of lxcfs.
fn hooks(config: &Config, host: &Host) -> Result<Hooks> {
    let mut hooks = config.hooks.clone();
    let Some(program) = &host.lxcfs_hook else { return Ok(hooks) };
    let directory = config.lxcfs.directory.to_string_lossy().into_owned();
    let mut args = vec!["lxcfs-hook".to_owned(), "--runtime-dir".to_owned(), directory];
    if config.lxcfs.choice == LxcfsChoice::On {
        args.push("--required".to_owned());
    }
    let hook = HookBuilder::default().path(program).args(args).timeout(LXCFS_PATIENCE_S).build()?;
    hooks.create_runtime_mut().get_or_insert_default().push(hook);
    Ok(hooks)
}

/// Below every hierarchy's root.
pub fn cgroups_path(config: &Config) -> String {
    format!("{}/{}", config.cgroup_parent.trim_end_matches('/'), config.id)
}

fn mapping(host: u32, size: u32) -> Result<LinuxIdMapping> {
    let mapping = LinuxIdMappingBuilder::default().container_id(0_u32).host_id(host).size(size);
    Ok(mapping.build()?)
}

fn seccomp(
    config: &Config,
    host: &Host,
    capabilities: &[oci_spec::runtime::Capability],
) -> Result<Option<LinuxSeccomp>> {
    let mut profile = match &config.security.seccomp {
        _ if config.privileged => return Ok(None),
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default => seccomp::Profile::built_in(),
        Seccomp::Profile(document) => {
            let text = serde_json::to_vec(document).context("encode the seccomp profile")?;
            seccomp::Profile::parse(&config.rootfs.join("seccomp profile"), &text)?
        }
    };
    if config.system_container {
        profile = profile.for_system_container(config.user_remap.is_some());
    }
    Ok(Some(profile.flatten(capabilities, host.machine())?))
}

fn annotations(config: &Config) -> HashMap<String, String> {
    let mut annotations: HashMap<String, String> = config.annotations.clone().into_iter().collect();
    if config.system_container {
        annotations.insert(SYSTEM_CONTAINER.to_owned(), "true".to_owned());
    }
    annotations
}

#[cfg(test)]
pub(crate) mod tests;
