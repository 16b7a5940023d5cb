//! The files a guest's init finds below `/run/host` (systemd's CONTAINER_INTERFACE).

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use container::layout::bundle;
use container::{Config, Container};

use crate::spec;

/// Writes them into the bundle; the document binds the directory.
pub(super) fn write(container: &Container, config: &Config) -> Result<()> {
    let directory = container.path(bundle::HOST);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&directory)
        .with_context(|| format!("make {}", directory.display()))?;
    readable(&directory, 0o755)?;
    put(&directory, "container-manager", "isula\n")?;
    put(&directory, "container-uuid", &format!("{}\n", spec::uuid(config)))?;
    // The place the socket is bound on.
    put(&directory, "notify", "")?;
    if let Ok(release) = fs::read_to_string("/etc/os-release") {
        put(&directory, "os-release", &release)?;
    }
    Ok(())
}

fn put(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    readable(&path, 0o644)
}

/// Whatever our umask, and whoever root inside is on the host.
fn readable(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("chmod {}", path.display()))
}
