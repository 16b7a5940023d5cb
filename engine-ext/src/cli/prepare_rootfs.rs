use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use linux::root::Root;
use serde_json::{Value, json};
use ui::{Exit, Report};

use super::listing::{self, Column};
use super::{Session, print};
use crate::rootfs_check;

/// Say what of a rootfs will not work in a container
///
/// Prints nothing and ends with 0 when all of it will, with 1 otherwise. Nothing is changed.
#[derive(Debug, Args)]
pub(crate) struct PrepareRootfsArgs {
    /// Only look; there is nothing else it does
    #[arg(long)]
    check: bool,
    /// Print as table, json, "table TEMPLATE" or TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The rootfs
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

const COLUMNS: &[Column] = &[("Path", "PATH"), ("Problem", "PROBLEM"), ("Fix", "FIX")];

pub(crate) fn prepare_rootfs(_: &Session, args: &PrepareRootfsArgs) -> Report {
    ensure!(args.check, "a rootfs is looked at and not changed; say so with --check");
    let root = Root::open(&args.directory)?;
    let found = rootfs_check::check(&root)
        .with_context(|| format!("check {}", args.directory.display()))?;
    let rows: Vec<Value> = found
        .iter()
        .map(|problem| json!({ "Path": problem.path, "Problem": problem.what, "Fix": problem.fix }))
        .collect();
    if args.format.is_some() || !rows.is_empty() {
        print(&listing::render(args.format.as_deref(), COLUMNS, &[], &rows)?)?;
    }
    Ok(if rows.is_empty() { Exit::DONE } else { Exit::FAILED })
}
