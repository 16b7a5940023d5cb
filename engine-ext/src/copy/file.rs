//! The contents of a regular file.

use std::fs::File;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, Stat};

use super::{Step, replace, settle};

/// Whoever opens it finds the old contents or the new ones, complete.
pub(super) fn copy(step: &Step<'_>, stat: &Stat) -> Result<()> {
    let &Step { from, name, to, new, rules } = step;
    let mut source = File::from(from.open_file(name, OFlags::RDONLY | OFlags::NOFOLLOW)?);
    replace(to, new, |temporary| {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(to, temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let mut target = File::from(target);
        // copy_file_range(2) where the two file systems can.
        std::io::copy(&mut source, &mut target).context("copy its contents")?;
        settle(&target, stat, rules)
    })
}
