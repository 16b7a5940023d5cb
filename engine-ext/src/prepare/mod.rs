//! What the host has ready for a container before the runtime makes it.
//!
//! [`before_start`] runs ahead of every start, restarts included, in the process that supervises:
//! the tree is claimed first, then the document is made for the host as it is at that moment.

pub mod bridge;
pub mod env_file;
mod facts;
pub mod hook_spec;
pub mod host_channel;
pub mod image;
mod leases;
mod lxcfs;
mod network_files;
mod publish;
mod rootfs;
mod run_host;
pub mod runtimes;
pub mod users;

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use container::layout::bundle;
use container::state::Lease;
use container::{Config, Container, Layout, Store};
use linux::root::Root;
use oci_spec::runtime::Spec;

pub use facts::{block_devices, check_cpus, gather};
pub use rootfs::{Claim, HeldImage, Tree, tree};

use crate::{host::Host, spec};

/// What must be held while the container lives.
#[derive(Debug)]
pub struct Held {
    _claim: Claim,
    /// Its place on a bridge.
    pub lease: Option<Lease>,
    /// Ports of the host that lead there.
    ports: Vec<publish::Reserved>,
}

/// Makes everything ready and returns the document it has written. What `held` holds of an earlier
/// start is kept.
pub fn before_start(
    layout: &Layout,
    container: &Container,
    config: &Config,
    held: &mut Option<Held>,
) -> Result<Spec> {
    let held = match held {
        Some(held) => held,
        None => {
            let claim = rootfs::claim(layout, config)?;
            held.insert(Held { _claim: claim, lease: None, ports: vec![] })
        }
    };
    let port = config.bridge.as_ref();
    let lease =
        port.map(|port| bridge::lease(layout, config, port, &mut held.ports)).transpose()?;
    hook_spec::check(&config.hooks)?;
    image::mount_all(container, config)?;
    let root = Root::open(image::rootfs_place(container, config))?;
    let owner = rootfs::owner(&root)?;
    let store = Store::new(layout.root(), layout.state());
    let host = facts::gather(&store, container, config, &root)?;
    let spec = write_spec(container, config, &host)?;
    if let Some(channel) = &config.host_channel {
        host_channel::mount(channel, config)?;
    }
    if config.system_container {
        run_host::write(container, config)?;
        network_files::fill_rootfs(&root, config, owner)?;
        if let Some(path) = &config.process.env_target_file {
            env_file::write(&root, path, &config.process.env, owner)?;
        }
    } else {
        network_files::write_bundle(container, config, lease.as_ref())?;
    }
    held.lease = lease;
    Ok(spec)
}

/// Takes away what was made ready, once nothing of the container runs.
pub fn give_back(layout: &Layout, container: &Container, config: &Config) -> Result<()> {
    let unmounted = image::unmount_all(container, config);
    let released = bridge::release(layout, config);
    unmounted.and(released)
}

/// Writes the OCI document for the host as it is, and returns it.
pub fn write_spec(container: &Container, config: &Config, host: &Host) -> Result<Spec> {
    let spec = spec::build(config, host)?;
    let path = container.path(bundle::SPEC);
    let text = serde_json::to_vec(&spec).with_context(|| format!("encode {}", path.display()))?;
    // Also when it is the same: its sets are written in any order, so that only a parser could tell.
    linux::file::write_atomic(&path, &text, 0o644)?;
    Ok(spec)
}

/// Makes `path` a file of mode 0644 that says `text`.
///
/// Most starts find what an earlier one has written, and to write it anew costs a disk's file
/// system more than a look. Not synced: it is made at every start.
fn put(path: &Path, text: &str) -> Result<()> {
    let is_there = || -> std::io::Result<bool> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        // The container may have written to it, and more than anyone wants to read.
        let alike = metadata.len() == text.len() as u64 && metadata.mode() & 0o7777 == 0o644;
        Ok(alike && std::io::read_to_string(file)? == text)
    };
    if !is_there().unwrap_or(false) {
        linux::file::write_atomic(path, text, 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn inode(path: &Path) -> u64 {
        path.metadata().unwrap().ino()
    }

    #[test]
    fn a_file_that_says_it_already_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        put(&path, "one").unwrap();
        let first = inode(&path);
        put(&path, "one").unwrap();
        assert_eq!(inode(&path), first);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        put(&path, "one").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
        put(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
