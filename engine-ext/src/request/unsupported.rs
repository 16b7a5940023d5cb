//! Options that are known and not done, refused by name.

use anyhow::{Result, bail};

use crate::cli::args::ContainerArgs;

/// The first of them that was given.
pub(super) fn check(args: &ContainerArgs) -> Result<()> {
    let options = &args.unsupported;
    let by_directory = "the rootfs is a directory of the host; limit it there";
    let refused = [
        ("--storage-opt", !options.storage_opt.is_empty(), by_directory),
        ("--pull", options.pull.is_some(), "there are no images; use --external-rootfs"),
        ("--no-pivot", options.no_pivot, "run from a root that is not a ramdisk"),
    ];
    for (name, given, instead) in refused {
        if given {
            bail!("{name} is not supported; {instead}");
        }
    }
    Ok(())
}
