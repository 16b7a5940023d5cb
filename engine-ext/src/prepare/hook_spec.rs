//! `--hook-spec`: the file, and the programs it names. They run as root on the host, so whoever
//! could change them, or a directory on the way to them, could become root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::Hooks;

use crate::request::hooks::all;

const FILE_MAX_MIB: u64 = 10;

/// Reads the document.
pub fn read(path: &Path) -> Result<String> {
    ensure!(path.is_absolute(), "Hook path {path:?} must be an absolute path");
    let metadata = fs::metadata(path)
        .with_context(|| format!("Stat hook spec file failed: {}", path.display()))?;
    ensure!(metadata.is_file(), "Hook spec file must be a regular text file: {}", path.display());
    let size = metadata.len();
    ensure!(size <= FILE_MAX_MIB << 20, "Hook spec file size {size} exceed limit: {FILE_MAX_MIB}M");
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Checks every program that is named.
pub fn check(hooks: &Hooks) -> Result<()> {
    all(hooks).try_for_each(|hook| check_program(hook.path()))
}

fn check_program(path: &Path) -> Result<()> {
    // Links are followed here and by execve(2) alike; what counts is where they lead.
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("Cann't find path: {}", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("find hook {}", path.display())),
    };
    let shown = real.display();
    let metadata = fs::metadata(&real).with_context(|| format!("stat hook {shown}"))?;
    ensure!(metadata.is_file(), "Hook file {shown} isn't right,it should be a regular file");
    ensure!(metadata.uid() == 0, "Hook file {shown} isn't right,file owner should be root");
    ensure!(
        metadata.mode() & 0o022 == 0,
        "{shown} should not be written by non-root; chmod go-w it"
    );
    ensure!(metadata.mode() & 0o111 != 0, "hook {shown} is not executable; chmod +x it");
    for parent in real.ancestors().skip(1) {
        let metadata =
            fs::metadata(parent).with_context(|| format!("stat {}", parent.display()))?;
        // In a sticky directory only its owner moves what root has put there (inode(7)).
        let sealed = metadata.mode() & 0o022 == 0 || metadata.mode() & 0o1000 != 0;
        ensure!(
            metadata.uid() == 0 && sealed,
            "hook {shown}: {} should not be written by non-root; chmod go-w it",
            parent.display()
        );
    }
    Ok(())
}
