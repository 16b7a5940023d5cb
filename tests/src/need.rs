//! What a story needs of the machine: there, or a reason why not.
//!
//! A missing need ends a story as *ignored with a reason*. `skips.allow` names the needs that may
//! be missing on which machine; any other skip fails the run (`SYSC_TESTS=strict`, the default).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::rootfs;

/// A named condition and how to look for it.
#[derive(Clone, Copy)]
pub struct Need {
    pub name: &'static str,
    check: fn() -> Result<(), String>,
}

impl std::fmt::Debug for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Need {
    /// `Err` says why the need is not met here.
    pub fn check(&self) -> Result<(), String> {
        (self.check)()
    }
}

/// Every need there is; `skips.allow` may name no other.
pub const ALL: &[Need] = &[
    ROOT,
    BUSYBOX,
    DEBIAN,
    DEBIAN_ENGINES,
    CGROUP_V1,
    CGROUP_V2,
    RUNC,
    CRUN,
    PODMAN,
    CONTAINERD,
    DOCKER,
    JAVA,
    MKSQUASHFS,
    NFT,
    PREVIOUS,
    PSUTIL,
    STRACE,
    USER_NS,
    IDMAP_TMPFS,
    OUR_RUNTIME,
    EACH_CAPABILITY,
    FUSE,
    ETHTOOL,
    IPVLAN,
    POLICE,
    OPEN_VSWITCH,
    SCSI_DEBUG,
    MODULES,
    BFQ,
    SYSTEMD,
];

pub const ROOT: Need = Need {
    name: "root",
    check: || match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err("not root".into()),
    },
};

pub const BUSYBOX: Need = Need {
    name: "busybox",
    check: || match rootfs::busybox() {
        Some(_) => Ok(()),
        None => Err("no static busybox (apt-get install busybox-static)".into()),
    },
};

pub const DEBIAN: Need = Need {
    name: "debian",
    check: || match rootfs::debian() {
        Some(_) => Ok(()),
        None => Err("no Debian rootfs: SYSC_DEBIAN names none (cargo xtask test makes one)".into()),
    },
};

pub const DEBIAN_ENGINES: Need = Need {
    name: "debian_engines",
    check: || match rootfs::debian_with_engines() {
        Some(_) => Ok(()),
        None => Err("no Debian with docker and podman: SYSC_DEBIAN_ENGINES names none".into()),
    },
};

pub const CGROUP_V1: Need = Need {
    name: "cgroup_v1",
    check: || match mounted("cgroup").is_empty() {
        false => Ok(()),
        true => Err("no cgroup v1 hierarchy is mounted".into()),
    },
};

/// The unified hierarchy with the controllers that limits need, not the bare tree of a hybrid host.
pub const CGROUP_V2: Need = Need {
    name: "cgroup_v2",
    check: || {
        let controllers = mounted("cgroup2")
            .iter()
            .find_map(|dir| std::fs::read_to_string(dir.join("cgroup.controllers")).ok())
            .ok_or("no cgroup2 is mounted")?;
        let has = |name| controllers.split_whitespace().any(|word| word == name);
        match has("memory") && has("pids") {
            true => Ok(()),
            false => Err(format!("cgroup2 has only: {}", controllers.trim())),
        }
    },
};

pub const RUNC: Need = Need { name: "runc", check: || program("runc") };
pub const CRUN: Need = Need { name: "crun", check: || program("crun") };
pub const PODMAN: Need = Need { name: "podman", check: || program("podman") };
pub const CONTAINERD: Need = Need { name: "containerd", check: || program("containerd") };
pub const DOCKER: Need = Need { name: "docker", check: || program("dockerd") };

/// The binaries of an earlier version.
pub const PREVIOUS: Need = Need {
    name: "previous",
    check: || match std::env::var_os("SYSC_PREVIOUS").map(PathBuf::from) {
        Some(dir) if dir.join("isula-runtime").exists() => Ok(()),
        Some(dir) => Err(format!("SYSC_PREVIOUS: no isula-runtime in {}", dir.display())),
        None => Err("SYSC_PREVIOUS names no directory with the binaries of before".into()),
    },
};

/// A world's directories are on a tmpfs, which can be shown with other ids from Linux 6.3 on.
pub const IDMAP_TMPFS: Need = Need {
    name: "idmap_tmpfs",
    check: || {
        (USER_NS.check)()?;
        match linux::kernel::version() >= (6, 3) {
            true => Ok(()),
            false => {
                let release = rustix::system::uname().release().to_string_lossy().into_owned();
                Err(format!("Linux {release} has no id mapping for tmpfs"))
            }
        }
    },
};

/// What only isula's own runtime does, of the stories that SYSC_RUNTIME has another run.
pub const OUR_RUNTIME: Need = Need {
    name: "our-runtime",
    check: || match std::env::var("SYSC_RUNTIME") {
        Ok(runtime) => Err(format!("SYSC_RUNTIME: {runtime} does not do this")),
        Err(_) => Ok(()),
    },
};

/// runc refuses to give a capability that the host itself has not; ours and crun leave it out.
pub const EACH_CAPABILITY: Need = Need {
    name: "each-capability",
    check: || {
        let is_runc = std::env::var("SYSC_RUNTIME").is_ok_and(|runtime| runtime == "runc");
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
        let all =
            last.trim().parse().map_or(0, |last: u32| u64::MAX >> 63_u32.saturating_sub(last));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        let has = bounding.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
        match is_runc && has & all != all {
            true => Err("SYSC_RUNTIME: runc wants a host with each capability".to_owned()),
            false => Ok(()),
        }
    },
};

pub const FUSE: Need = Need {
    name: "fuse",
    check: || match Path::new("/dev/fuse").exists() {
        true => Ok(()),
        false => Err("no /dev/fuse; load the module: modprobe fuse".into()),
    },
};

pub const JAVA: Need = Need { name: "java", check: || program("java") };
pub const PSUTIL: Need = Need {
    name: "psutil",
    check: || match Path::new("/usr/lib/python3/dist-packages/psutil").is_dir() {
        true => Ok(()),
        false => Err("python3-psutil is not installed".to_owned()),
    },
};
pub const MKSQUASHFS: Need = Need { name: "mksquashfs", check: || program("mksquashfs") };
pub const NFT: Need = Need { name: "nft", check: || program("nft") };
pub const STRACE: Need = Need { name: "strace", check: || program("strace") };

/// A machine that can be given disks and loses them again.
pub const SCSI_DEBUG: Need = Need { name: "scsi_debug", check: || module("scsi_debug") };

pub const MODULES: Need = Need { name: "modules", check: || module("dummy") };

/// A scheduler of disks that keeps to shares.
pub const BFQ: Need = Need {
    name: "bfq",
    check: || {
        // Where it is a module, a disk's list has it once it is loaded.
        let _ = Command::new("modprobe").args(["-q", "bfq"]).output();
        let disks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let lists = disks.map(|disk| disk.path().join("queue/scheduler"));
        let mut lists = lists.filter_map(|list| std::fs::read_to_string(list).ok());
        match lists.any(|list| list.contains("bfq")) {
            true => Ok(()),
            false => Err("the kernel has no BFQ".into()),
        }
    },
};

pub const SYSTEMD: Need = Need {
    name: "systemd",
    check: || match Path::new("/run/systemd/system").is_dir() {
        true => Ok(()),
        false => Err("systemd is not this machine's init".into()),
    },
};

/// Whether the kernel has it as a module, which can be loaded and removed.
fn module(name: &str) -> Result<(), String> {
    let found = Command::new("modinfo").args(["-F", "filename", name]).output();
    let found = found.map_err(|error| format!("run modinfo: {error}"))?;
    match String::from_utf8_lossy(&found.stdout).trim() {
        path if path.starts_with('/') => Ok(()),
        _ => Err(format!("the kernel has no module {name}")),
    }
}

pub const ETHTOOL: Need = Need { name: "ethtool", check: || program("ethtool") };

pub const IPVLAN: Need = Need {
    name: "ipvlan",
    check: || {
        kernel_can(
            "ip link add u0 type veth peer name u1 && \
        ip link add link u0 name i0 type ipvlan",
        )
    },
};

pub const POLICE: Need = Need {
    name: "police",
    check: || {
        kernel_can(
            "ip link add u0 type veth peer name u1 && tc qdisc add dev u0 ingress && \
        tc filter add dev u0 ingress matchall action police rate 1mbit burst 32k",
        )
    },
};

/// Open vSwitch with its switch in user space, for which the kernel needs no module of its own.
pub const OPEN_VSWITCH: Need = Need {
    name: "open_vswitch",
    check: || {
        program("ovs-vswitchd")?;
        match Path::new("/dev/net/tun").exists() {
            true => Ok(()),
            false => Err("no /dev/net/tun; load the module: modprobe tun".into()),
        }
    },
};

/// Whether it works in a network of its own.
fn kernel_can(script: &str) -> Result<(), String> {
    let output = Command::new("unshare").args(["-n", "sh", "-c", script]).output();
    let output = output.map_err(|error| format!("run unshare: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    if output.status.success() { Ok(()) } else { Err(format!("the kernel cannot: {words}")) }
}

pub const USER_NS: Need = Need {
    name: "user_ns",
    check: || match std::fs::read_to_string("/proc/sys/user/max_user_namespaces") {
        Ok(max) if max.trim() != "0" => Ok(()),
        Ok(_) => Err("user.max_user_namespaces is 0".into()),
        Err(error) => Err(format!("no user namespaces: {error}")),
    },
};

fn program(name: &str) -> Result<(), String> {
    Command::new(name)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
        .map_err(|error| format!("run {name}: {error}"))
}

/// Mount points of a file system type whose root is the hierarchy's own.
pub fn mounted(fstype: &str) -> Vec<PathBuf> {
    let Ok(text) = std::fs::read_to_string("/proc/self/mountinfo") else { return Vec::new() };
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, point) = (left.next()?, left.next()?);
            (right.split(' ').next()? == fstype && root == "/").then(|| PathBuf::from(point))
        })
        .collect()
}

/// The skips that are accepted: lines of `MACHINE NEED # why`, `*` being every machine.
#[derive(Debug, Default)]
pub struct Allowed(Vec<(String, String)>);

impl Allowed {
    /// Reads the list; a line that names an unknown need is an error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut allowed = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let words = line.split('#').next().unwrap_or_default();
            let mut words = words.split_whitespace();
            let Some(machine) = words.next() else { continue };
            let (Some(need), None) = (words.next(), words.next()) else {
                return Err(format!("line {}: not \"MACHINE NEED # why\": {line}", number + 1));
            };
            if !line.contains('#') {
                return Err(format!("line {}: no reason is given: {line}", number + 1));
            }
            if !ALL.iter().any(|known| known.name == need) {
                return Err(format!("line {}: there is no need \"{need}\"", number + 1));
            }
            allowed.push((machine.to_owned(), need.to_owned()));
        }
        Ok(Self(allowed))
    }

    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub fn allows(&self, machine: &str, need: &str) -> bool {
        self.0.iter().any(|(m, n)| (m == "*" || m == machine) && n == need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_in_the_tree_names_only_known_needs() {
        Allowed::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/skips.allow"))).unwrap();
    }

    #[test]
    fn an_unknown_need_or_a_missing_reason_is_refused() {
        let unknown = Allowed::parse("host moonlight # it is day\n").unwrap_err();
        assert_eq!(unknown, "line 1: there is no need \"moonlight\"");
        let bare = Allowed::parse("\nhost crun\n").unwrap_err();
        assert_eq!(bare, "line 2: no reason is given: host crun");
    }

    #[test]
    fn a_skip_is_allowed_per_machine() {
        let allowed = Allowed::parse("vm cgroup_v1 # pure v2\n* crun # a peer\n").unwrap();
        assert!(allowed.allows("vm", "cgroup_v1") && !allowed.allows("host", "cgroup_v1"));
        assert!(allowed.allows("host", "crun"));
    }
}
