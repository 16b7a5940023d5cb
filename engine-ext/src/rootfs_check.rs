//! What in a rootfs will not work in a container, and how to put it right. Looks, changes nothing.

use anyhow::Result;
use linux::root::Root;

/// One thing that will not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Path in the rootfs.
    pub(crate) path: String,
    pub(crate) what: &'static str,
    pub(crate) fix: &'static str,
}

const FILE_MAX: usize = 1 << 20;
const INITS: &[&str] = &["/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
/// Where units are said to be wanted.
const WANTS: &[&str] = &[
    "/etc/systemd/system/multi-user.target.wants",
    "/etc/systemd/system/sysinit.target.wants",
    "/etc/systemd/system/basic.target.wants",
    "/etc/systemd/system/network-online.target.wants",
];
const UNITS: &[&str] = &["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Services that want what a container does not have.
const SERVICES: &[(&str, &str, &str)] = &[
    (
        "auditd.service",
        "there is no auditing in a container",
        "disable it: systemctl --root=DIR disable auditd",
    ),
    (
        "cgconfig.service",
        "libcgroup takes the cgroups of the container's systemd away",
        "disable it: systemctl --root=DIR disable cgconfig, or set Delegate=no for it",
    ),
    (
        "lvm2-monitor.service",
        "the host's volumes are not the container's",
        "disable it: systemctl --root=DIR disable lvm2-monitor",
    ),
];

/// Everything that was found, in the order of a boot.
pub(crate) fn check(root: &Root) -> Result<Vec<Problem>> {
    let mut found = vec![];
    let mut note = |path: &str, what, fix| {
        found.push(Problem { path: path.to_owned(), what, fix });
    };
    let stat = root.stat("")?;
    if (stat.st_uid, stat.st_gid) != (0, 0) {
        note(
            "/",
            "the tree does not belong to root",
            "run it with --user-remap UID:GID:SIZE of its owner, or chown it to 0:0",
        );
    }
    match INITS.iter().find(|path| root.exists(path).unwrap_or(false)) {
        None => note("/sbin/init", "there is no init", "install systemd-sysv, or name a program"),
        Some(init) if !is_for_this_machine(root, init)? => {
            note(init, "it is built for another architecture", "use a rootfs of the host's");
        }
        Some(_) => {}
    }
    for path in ["/etc/passwd", "/etc/group"] {
        if !root.exists(path)? {
            note(path, "users have no names", "copy it from a rootfs of the same distribution");
        }
    }
    if text(root, "/etc/fstab")?.lines().any(is_mount) {
        note(
            "/etc/fstab",
            "nothing here tells systemd that a disk is there: it waits for each and gives up",
            "empty it; add disks with --volume or isulad-tools add-device",
        );
    }
    let id = text(root, "/etc/machine-id")?;
    if !matches!(id.trim(), "" | "uninitialized") {
        note(
            "/etc/machine-id",
            "every copy of the tree has the same id",
            "empty it: the first boot writes another",
        );
    }
    if root.stat_no_follow("/etc/mtab").is_ok() && root.read_link("/etc/mtab").is_err() {
        note("/etc/mtab", "it lists the mounts of another time", "ln -sf /proc/mounts etc/mtab");
    }
    if let Some(path) = enabled(root, "NetworkManager.service")?
        && !text_of_all(root, "/etc/NetworkManager/conf.d")?.contains("unmanaged-devices")
    {
        note(
            &path,
            "it takes links down that are plugged into the running container",
            "leave them alone: unmanaged-devices=interface-name:* in etc/NetworkManager/conf.d",
        );
    }
    for (unit, what, fix) in SERVICES {
        if let Some(path) = enabled(root, unit)? {
            note(&path, what, fix);
        }
    }
    if let Some(path) = udevd_that_starts(root)? {
        note(
            &path,
            "devices are the host's to manage",
            "mask it: ln -s /dev/null in etc/systemd/system",
        );
    }
    Ok(found)
}

/// e_machine of the two ELF headers (elf(5)).
fn is_for_this_machine(root: &Root, init: &str) -> Result<bool> {
    let machine = |header: &[u8]| {
        (header.get(..4)? == b"\x7fELF").then(|| header.get(18..20).map(<[u8]>::to_vec))?
    };
    let own = std::fs::File::open("/proc/self/exe").ok().and_then(|file| head(file).ok());
    let file = root.open_file(init, rustix::fs::OFlags::RDONLY)?;
    let there = head(std::fs::File::from(file))?;
    // A script has no machine: its interpreter has, and is looked for when it is run.
    let (Some(own), Some(there)) = (own.as_deref().and_then(machine), machine(&there)) else {
        return Ok(true);
    };
    Ok(own == there)
}

fn head(file: std::fs::File) -> std::io::Result<Vec<u8>> {
    let mut head = vec![];
    std::io::Read::read_to_end(&mut std::io::Read::take(file, 64), &mut head)?;
    Ok(head)
}

/// A line of fstab(5) that mounts something other than memory.
fn is_mount(line: &str) -> bool {
    let mut fields = line.split_whitespace();
    let source = fields.next().unwrap_or("#");
    let kind = fields.nth(1).unwrap_or_default();
    !source.starts_with('#') && !matches!(kind, "tmpfs" | "proc" | "sysfs" | "devpts" | "none")
}

fn enabled(root: &Root, unit: &str) -> Result<Option<String>> {
    for directory in WANTS {
        let path = format!("{directory}/{unit}");
        if root.stat_no_follow(&path).is_ok() && !is_masked(root, unit)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn is_masked(root: &Root, unit: &str) -> Result<bool> {
    let path = format!("/etc/systemd/system/{unit}");
    Ok(root.read_link(path).is_ok_and(|target| target == std::path::Path::new("/dev/null")))
}

/// Where systemd looks at /sys first, udevd stays down by itself.
fn udevd_that_starts(root: &Root) -> Result<Option<String>> {
    let unit = "systemd-udevd.service";
    if is_masked(root, unit)? {
        return Ok(None);
    }
    for directory in UNITS {
        let path = format!("{directory}/{unit}");
        let text = text(root, &path)?;
        if !text.is_empty() {
            let stays_down = text.contains("ConditionPathIsReadWrite=/sys");
            return Ok((!stays_down).then_some(path));
        }
    }
    Ok(None)
}

/// What is not there, or not a text, says nothing.
fn text(root: &Root, path: &str) -> Result<String> {
    let text = root.read_file(path, FILE_MAX).unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn text_of_all(root: &Root, directory: &str) -> Result<String> {
    let names = root.list(directory).unwrap_or_default();
    let texts =
        names.iter().map(|name| text(root, &format!("{directory}/{}", name.to_string_lossy())));
    texts.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_problem_is_found_and_gone_when_it_is_fixed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let wants = "etc/systemd/system/multi-user.target.wants";
        fs::create_dir_all(at(wants)).unwrap();
        fs::create_dir_all(at("sbin")).unwrap();
        fs::create_dir_all(at("usr/lib/systemd/system")).unwrap();
        let paths = || -> Vec<String> {
            let root = Root::open(dir.path()).unwrap();
            let found = check(&root).unwrap();
            // The tree of a test may belong to somebody else.
            found.into_iter().map(|problem| problem.path).filter(|path| path != "/").collect()
        };
        let mut other = b"\x7fELF".to_vec();
        other.resize(64, 0xee);
        fs::write(at("sbin/init"), other).unwrap();
        fs::write(at("etc/fstab"), "# x\n/dev/sda1 / ext4 defaults 0 1\n").unwrap();
        fs::write(at("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::write(at("etc/mtab"), "old").unwrap();
        for unit in ["NetworkManager", "auditd", "cgconfig"] {
            symlink("/nowhere", at(&format!("{wants}/{unit}.service"))).unwrap();
        }
        let udevd = "usr/lib/systemd/system/systemd-udevd.service";
        fs::write(at(udevd), "[Unit]\n").unwrap();
        let unit = |name: &str| format!("/{wants}/{name}.service");
        assert_eq!(
            paths(),
            [
                "/sbin/init",
                "/etc/passwd",
                "/etc/group",
                "/etc/fstab",
                "/etc/machine-id",
                "/etc/mtab",
                &unit("NetworkManager"),
                &unit("auditd"),
                &unit("cgconfig"),
                &format!("/{udevd}"),
            ]
        );

        fs::copy("/proc/self/exe", at("sbin/init")).unwrap();
        fs::write(at("etc/passwd"), "").unwrap();
        fs::write(at("etc/group"), "").unwrap();
        fs::write(at("etc/fstab"), "tmpfs /tmp tmpfs defaults 0 0\n").unwrap();
        fs::write(at("etc/machine-id"), "").unwrap();
        fs::remove_file(at("etc/mtab")).unwrap();
        symlink("/proc/mounts", at("etc/mtab")).unwrap();
        fs::create_dir_all(at("etc/NetworkManager/conf.d")).unwrap();
        fs::write(at("etc/NetworkManager/conf.d/x.conf"), "unmanaged-devices=*\n").unwrap();
        for unit in ["auditd", "cgconfig"] {
            symlink("/dev/null", at(&format!("etc/systemd/system/{unit}.service"))).unwrap();
        }
        fs::write(at(udevd), "[Unit]\nConditionPathIsReadWrite=/sys\n").unwrap();
        assert_eq!(paths(), [""; 0]);
    }
}
