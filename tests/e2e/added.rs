//! What stories about things that are added to containers have in common.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tests::{Container, Output, World};

/// Runs a script inside.
pub(crate) fn sh(container: &Container<'_>, script: &str) -> Result<Output> {
    container.exec(["sh", "-c", script]).output()
}

/// A directory of the host with a file in it.
pub(crate) fn source(world: &World) -> Result<PathBuf> {
    let dir = world.new_directory("source")?;
    fs::write(dir.join("file"), "host\n")?;
    Ok(dir)
}

pub(crate) fn pair(host: &Path, inside: &str) -> String {
    format!("{}:{inside}", host.display())
}

/// A sleeping container with our hooks.
pub(crate) fn hooked<'w>(world: &'w World, options: &[&str]) -> Result<Container<'w>> {
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let options = [&["--name", "web", "--hook-spec", &spec], options].concat();
    world.run(&options, &world.busybox()?, &["sleep", "86400"])
}

/// The names of nodes in the container's /dev that begin like this.
pub(crate) fn nodes(container: &Container<'_>, prefix: &str) -> Result<Vec<String>> {
    let listed = sh(container, &format!("cd /dev && ls -d {prefix}* 2>/dev/null"))?;
    Ok(listed.stdout.lines().map(str::to_owned).collect())
}
