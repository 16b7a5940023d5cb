//! `cargo xtask demo`: everything up to the show. The show itself is `tests/src/bin/demo.rs`,
//! which runs in a world of its own and leaves nothing.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::{packages, rootfs, step};

pub(crate) fn run() -> Result<ExitCode> {
    ensure!(rustix::process::geteuid().is_root(), "demo: not root; run it as root");
    step::step("looking for the packages this needs");
    packages::install(&[packages::BUILD, packages::ROOTFS, packages::TESTS])?;
    step::step("building the tools (release)");
    let binaries = build(&["--release"], "release")?;
    let debian = rootfs::get()?;
    step::step("starting the demonstration");
    // In place of this process: an interrupt then reaches the one that cleans up.
    let mut demo = Command::new(binaries.join("demo"));
    demo.env("SYSC_BIN", &binaries).env("SYSC_DEBIAN", debian);
    Err(demo.exec()).context("start the demonstration")
}

/// Builds the tools and the demonstration; returns the directory of the binaries.
fn build(arguments: &[&str], profile: &str) -> Result<PathBuf> {
    let mut cargo = step::cargo();
    cargo.args(["build", "--package", "engine-ext", "--package", "runtime"]);
    step::run(cargo.args(["--package", "tests", "--bins"]).args(arguments))?;
    Ok(target_directory()?.join(profile))
}

/// Where cargo puts binaries of the configured target.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let mut metadata = step::cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&step::output(&mut metadata)?)?;
    let target = metadata["target_directory"].as_str().context("a target directory")?;
    let rustc = step::output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    Ok(PathBuf::from(target).join(rustc.trim()))
}
