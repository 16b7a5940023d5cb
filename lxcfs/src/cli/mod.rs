//! Command lines of `lxcfs` and `lxcfs-toolkit`.

pub mod daemon;
pub mod toolkit;

use std::path::Path;

use anyhow::{Result, anyhow};

/// Starts logging.
pub fn init_log(file: Option<&Path>, level: Option<&str>) -> Result<()> {
    let level = level.map(str::parse).transpose().map_err(|cause: String| anyhow!(cause))?;
    ui::log::init(&ui::log::Options {
        file: file.map(Path::to_owned),
        level: level.unwrap_or_default(),
        ..ui::log::Options::default()
    })
}
