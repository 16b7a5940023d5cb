//! The files a guest's init finds below `/run/host` (systemd's CONTAINER_INTERFACE).

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

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
    // Whatever our umask, and whoever root inside is on the host.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("chmod {}", directory.display()))?;
    let put = |name: &str, text: &str| super::put(&directory.join(name), text);
    put("container-manager", "isula\n")?;
    put("container-uuid", &format!("{}\n", spec::uuid(config)))?;
    // The place the socket is bound on.
    put("notify", "")?;
    if let Ok(release) = fs::read_to_string("/etc/os-release") {
        put("os-release", &release)?;
    }
    Ok(())
}
