//! Which namespaces are its own, and which are joined.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use container::Config;
use oci_spec::runtime::LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts};
use oci_spec::runtime::{
    LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxTimeOffset,
    LinuxTimeOffsetBuilder,
};

use crate::host::Host;

/// The list, in a fixed order.
pub(super) fn build(config: &Config, host: &Host) -> Result<Vec<LinuxNamespace>> {
    let asked = &config.namespaces;
    let mut list = vec![own(Mount)?];
    let shareable = [
        (Pid, &asked.pid, "pid"),
        (Network, &asked.net, "net"),
        (Ipc, &asked.ipc, "ipc"),
        (Uts, &asked.uts, "uts"),
        (Cgroup, &asked.cgroup, "cgroup"),
    ];
    for (kind, sharing, file) in shareable {
        match sharing.as_deref() {
            None => list.push(own(kind)?),
            Some("host") => {}
            Some(other) => {
                let pid = host.joined(other).with_context(|| format!("join {other}"))?;
                list.push(joined(kind, PathBuf::from(format!("/proc/{pid}/ns/{file}")))?);
            }
        }
    }
    if config.user_remap.is_some() {
        list.push(own(User)?);
    }
    if asked.time {
        list.push(own(Time)?);
    }
    Ok(list)
}

/// What turns the host's clocks of uptime back to nothing.
pub(super) fn time_offsets(host: &Host) -> Result<HashMap<String, LinuxTimeOffset>> {
    let clocks = [("boottime", host.clocks.boottime_s), ("monotonic", host.clocks.monotonic_s)];
    let offset = |seconds: i64| LinuxTimeOffsetBuilder::default().secs(-seconds).build();
    clocks.into_iter().map(|(clock, seconds)| Ok((clock.to_owned(), offset(seconds)?))).collect()
}

fn own(kind: LinuxNamespaceType) -> Result<LinuxNamespace> {
    Ok(LinuxNamespaceBuilder::default().typ(kind).build()?)
}

fn joined(kind: LinuxNamespaceType, path: PathBuf) -> Result<LinuxNamespace> {
    Ok(LinuxNamespaceBuilder::default().typ(kind).path(path).build()?)
}
