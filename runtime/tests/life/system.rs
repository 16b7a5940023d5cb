//! systemd of a real distribution, from its start to `running` and to its own end.

use std::fs;
use std::path::Path;
use std::process::Command;

use linux::process::ExitStatus;
use linux::signal::Signal;
use serde_json::json;

use crate::world::{Bundle, World, mount, until};

crate::cases!(systemd_boots_and_halts, systemd_boots_in_a_user_namespace);

fn systemd_boots_and_halts() {
    boot("plain", false);
}

fn systemd_boots_in_a_user_namespace() {
    boot("user", true);
}

/// The set of LXC, without what would let it act on the host.
const CAPABILITIES: [&str; 27] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "SETFCAP",
    "AUDIT_WRITE",
    "SYS_RESOURCE",
];

fn boot(id: &str, user: bool) {
    let Some(tree) = std::env::var_os("SYSC_ROOTFS") else {
        crate::skip("SYSC_ROOTFS names no root filesystem with systemd");
    };
    let world = World::new();
    let mut bundle = Bundle::new(id);
    // A copy in memory: the tree stays as it is.
    let rootfs = bundle.rootfs();
    fs::remove_dir_all(&rootfs).unwrap();
    let copied = Command::new("cp").arg("-a").arg(&tree).arg(&rootfs).status();
    assert!(copied.unwrap().success());
    bundle.spec["process"]["args"] = json!(["/sbin/init"]);
    bundle.spec["process"]["env"] =
        json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "container=isula"]);
    bundle.capabilities(&CAPABILITIES);
    bundle.spec["annotations"] = json!({ "org.isula.system-container": "true" });
    bundle.spec["linux"]["readonlyPaths"] = json!(["/proc/sys", "/proc/sysrq-trigger"]);
    bundle.add_mount(mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "mode=1777"]));
    bundle.add_mount(mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    bundle.add_mount(mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]));
    bundle.add_mount(mount("/run", "tmpfs", &["nosuid", "nodev", "mode=755"]));
    bundle.add_mount(mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"]));
    if user {
        bundle.user_namespace();
    }
    let created = world.start(&bundle);
    let pid = created.pid.to_string();
    let bus = format!("/proc/{pid}/root/run/dbus/system_bus_socket");
    until("the bus is there", || Path::new(&bus).exists());
    let inside = |args: &[&str]| {
        let output = Command::new("nsenter").args(["-t", &pid, "-a"]).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(
        inside(&["systemctl", "is-system-running", "--wait"]),
        "running",
        "{}",
        inside(&["systemctl", "--failed", "--no-pager"])
    );
    world.runtime.kill(id, "RTMIN+3".parse::<Signal>().unwrap(), false).unwrap();
    assert_eq!(created.pidfd.wait().unwrap(), ExitStatus::Killed { signal: 2, core: false });
    world.runtime.delete(id, false).unwrap();
    world.assert_nothing_left(&bundle);
}
