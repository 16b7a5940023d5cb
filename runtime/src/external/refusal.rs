//! What only our own runtime does for a container: refused by name before another is called.

use linux::error::Context as _;
use oci_spec::runtime::Spec;

use super::Foreign;
use crate::{Bundle, Error, Result};

/// What only our own runtime does, by name.
pub(super) fn check(foreign: &Foreign, bundle: &Bundle) -> Result<()> {
    let name = &foreign.name;
    for (index, mount) in bundle.spec.mounts().iter().flatten().enumerate() {
        if crate::rootfs::is_hole(mount) {
            return Err(Error::config(
                format!("mounts[{index}]"),
                format!(
                    "{} stays writable with isula's own runtime only, not with {name}; drop \
                     --ns-change-opt or --runtime",
                    mount.destination().display()
                ),
            ));
        }
    }
    let layout = linux::cgroup::Layout::detect()?;
    if layout.kind() != linux::cgroup::Kind::Unified && has_limits_to_guard(&bundle.spec) {
        return Err(Error::config(
            "linux.resources",
            format!(
                "on cgroup v1 {name} lets a system container write the files of its own \
                 limits; drop the limits or --runtime"
            ),
        ));
    }
    let linux = bundle.spec.linux().as_ref();
    let maps = linux.and_then(|linux| linux.uid_mappings().as_ref());
    let shifted = maps.is_some_and(|maps| maps.iter().any(|map| map.host_id() != 0));
    let stat =
        rustix::fs::stat(&bundle.rootfs).during(|| format!("stat {}", bundle.rootfs.display()))?;
    if shifted && stat.st_uid == 0 {
        return Err(Error::config(
            "root.path",
            format!(
                "{} belongs to the host's root, and {name} cannot show it as the container's; \
                 chown it to the mapped ids, or drop --runtime",
                bundle.rootfs.display()
            ),
        ));
    }
    Ok(())
}

/// A system container, whose cgroups are writable, with limits that are there.
fn has_limits_to_guard(spec: &Spec) -> bool {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    crate::system::is_one(spec)
        && resources.is_some_and(|resources| {
            let memory = resources.memory().as_ref().and_then(|memory| memory.limit());
            let cpu = resources.cpu().as_ref().and_then(|cpu| cpu.quota());
            let pids = resources.pids().as_ref().map(|pids| pids.limit());
            [memory, cpu, pids].into_iter().flatten().any(|limit| limit > 0)
        })
}
