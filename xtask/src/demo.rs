//! `cargo xtask demo`: everything up to the show. The show itself is `tests/src/bin/demo.rs`,
//! which runs in a world of its own and leaves nothing.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::{packages, rootfs, step, target};

pub(crate) fn run() -> Result<ExitCode> {
    ensure!(rustix::process::geteuid().is_root(), "demo: not root; run it as root");
    step::step("looking for the packages this needs");
    packages::install(&[packages::BUILD, packages::ROOTFS, packages::TESTS])?;
    step::step("building the tools (release)");
    let binaries = target::release()?;
    let debian = rootfs::get()?;
    step::step("starting the demonstration");
    // In place of this process: an interrupt then reaches the one that cleans up.
    let mut demo = Command::new(binaries.join("demo"));
    demo.env("SYSC_BIN", &binaries).env("SYSC_DEBIAN", debian);
    Err(demo.exec()).context("start the demonstration")
}
