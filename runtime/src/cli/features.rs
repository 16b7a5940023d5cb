//! features: what engines ask before they use a runtime (runtime-spec, features.md).

use clap::Args;
use serde_json::{Value, json};
use ui::{Exit, Report};

use super::print_json;
use crate::rootfs::MOUNT_OPTIONS;
use crate::system;

/// The newest runtime specification whose members are honoured or refused by name.
pub(super) const NEWEST: &str = "1.3.0";

#[derive(Debug, Args)]
pub(super) struct FeaturesArgs {}

pub(super) fn features(_: &FeaturesArgs) -> Report {
    print_json(&document())?;
    Ok(Exit::DONE)
}

fn document() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": NEWEST,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart",
            "poststop",
        ],
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "cgroup": {
                "v1": true, "v2": true, "systemd": true, "systemdUser": false, "rdma": true,
            },
            "seccomp": { "enabled": true },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "netDevices": { "enabled": true },
            "mountExtensions": { "idmap": { "enabled": true } },
        },
        "annotations": {
            "org.isula.runtime.version": env!("CARGO_PKG_VERSION"),
        },
        "potentiallyUnsafeConfigAnnotations": [system::ANNOTATION, system::STOP_SIGNAL],
    })
}
