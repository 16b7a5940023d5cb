//! The same OCI bundles for every runtime: a small one and one that boots systemd.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::World;

/// Writes a bundle whose container runs `args`.
pub(crate) fn write(
    world: &World,
    id: &str,
    rootfs: &Path,
    args: &[&str],
    seccomp: Option<&Value>,
) -> Result<PathBuf> {
    let dir = world.new_directory("bundle")?;
    let mut spec = spec(world, id, rootfs, args);
    if let Some(profile) = seccomp {
        spec["linux"]["seccomp"] = profile.clone();
    }
    let text = serde_json::to_vec_pretty(&spec)?;
    std::fs::write(dir.join("config.json"), text).context("write config.json")?;
    Ok(dir)
}

const CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
];

fn spec(world: &World, id: &str, rootfs: &Path, args: &[&str]) -> Value {
    let mount = |to: &str, kind: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": kind, "options": options });
    let safe = ["nosuid", "noexec", "nodev"];
    let with = |more: &[&'static str]| [&safe[..], more].concat();
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": rootfs, "readonly": false },
        "hostname": "bench",
        "process": {
            "terminal": false,
            "cwd": "/",
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=oci"],
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            },
        },
        "mounts": [
            mount("/proc", "proc", &safe),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &with(&["mode=1777", "size=65536k"])),
            mount("/dev/mqueue", "mqueue", &safe),
            mount("/sys", "sysfs", &with(&["ro"])),
            mount("/sys/fs/cgroup", "cgroup", &with(&["relatime"])),
            mount("/run", "tmpfs", &["nosuid", "nodev", "mode=755"]),
            mount("/run/lock", "tmpfs", &with(&["mode=755"])),
            mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
        ],
        "linux": {
            "cgroupsPath": format!("/{}/{id}", world.name()),
            "resources": { "devices": [
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 7, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 8, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm" },
                { "allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm" },
                { "allow": true, "type": "c", "major": 136, "access": "rwm" },
            ] },
            "namespaces": (["pid", "network", "ipc", "uts", "mount", "cgroup"]
                .map(|kind| json!({ "type": kind }))),
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
