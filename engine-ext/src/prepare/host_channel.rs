//! `--host-channel`: a tmpfs that host and container share.
//!
//! It lives from the first start to the removal of the container, so that its content survives a
//! restart. What is taken away at the end is our mount, known by its source, and the directory if
//! it is empty: never anything that somebody else put there.

use std::fs;
use std::os::unix::fs::DirBuilderExt;

use anyhow::{Context, Result, bail, ensure};
use container::Config;
use container::config::HostChannel;
use linux::mount::{self, Attributes, Flags};
use linux::mountinfo;

/// Checks what only the host knows, and makes the directory.
pub fn create(channel: &HostChannel) -> Result<()> {
    let path = &channel.host_path;
    let (total, available) = memory()?;
    check_size(channel.size, total, available)?;
    let act = || format!("make host channel {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(act)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("Host path '{}' already exists", path.display())
        }
        Err(error) => Err(error).with_context(act),
    }
}

fn check_size(size: u64, total: u64, available: u64) -> Result<()> {
    ensure!(
        size <= total / 2,
        "Required host channel size {size} is larger than half of total memory {}",
        total / 2
    );
    ensure!(
        size <= available,
        "Required host channel size {size} is larger than available memory {available}"
    );
    Ok(())
}

/// Mounts the tmpfs unless it is there.
pub(super) fn mount(channel: &HostChannel, config: &Config) -> Result<()> {
    let path = &channel.host_path;
    let source = source(config);
    if is_mounted(channel, &source)? {
        return Ok(());
    }
    let act = || format!("mount host channel {}", path.display());
    // After a reboot of the host the directory is there and the tmpfs is not.
    fs::create_dir_all(path).with_context(act)?;
    let size = channel.size.to_string();
    let (uid, gid) = config.user_remap.map_or((0, 0), |remap| (remap.uid, remap.gid));
    let (uid, gid) = (uid.to_string(), gid.to_string());
    let options = [
        ("size", Some(size.as_str())),
        ("mode", Some("1777")),
        ("uid", Some(uid.as_str())),
        ("gid", Some(gid.as_str())),
    ];
    let attributes = Attributes::set(Flags::NOSUID | Flags::NODEV | Flags::NOEXEC);
    let tmpfs =
        mount::new_filesystem("tmpfs", Some(&source), &options, &attributes).with_context(act)?;
    let target = fs::File::open(path).with_context(act)?;
    mount::attach(tmpfs, target).with_context(act)
}

/// Takes it away with the container.
pub fn remove(channel: &HostChannel, config: &Config) -> Result<()> {
    let path = &channel.host_path;
    let act = || format!("remove host channel {}", path.display());
    if is_mounted(channel, &source(config))? {
        mount::detach(path).with_context(act)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(act),
    }
}

fn source(config: &Config) -> String {
    format!("isula:{}", config.id.short())
}

/// Whether the topmost mount there is ours.
fn is_mounted(channel: &HostChannel, source: &str) -> Result<bool> {
    let mounts = mountinfo::of_self()?;
    let there = mounts.iter().rev().find(|mount| mount.mount_point == channel.host_path);
    Ok(there.is_some_and(|mount| mount.fstype == "tmpfs" && mount.source == source))
}

/// Total and available bytes.
fn memory() -> Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes << 10)
    };
    match (field("MemTotal:"), field("MemAvailable:")) {
        (Some(total), Some(available)) => Ok((total, available)),
        _ => bail!("read /proc/meminfo: MemTotal or MemAvailable is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::check_size;

    #[test]
    fn a_channel_fits_into_the_memory() {
        let refused = |size, total, available| {
            check_size(size, total, available).err().map(|error| error.to_string())
        };
        assert_eq!(refused(50, 100, 50), None);
        assert_eq!(
            refused(51, 100, 80).as_deref(),
            Some("Required host channel size 51 is larger than half of total memory 50")
        );
        assert_eq!(
            refused(50, 100, 49).as_deref(),
            Some("Required host channel size 50 is larger than available memory 49")
        );
    }
}
