//! What is expensive to make is kept here, under a name that says what went into it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::step;

/// The cache: SYSC_CACHE, or a directory of the machine's.
pub(crate) fn directory() -> PathBuf {
    std::env::var_os("SYSC_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/system-container-toolkit"), PathBuf::from)
}

/// `KIND-KEY` in the cache, made by `make` unless it is there. Others of its kind are removed.
///
/// It is made under another name and renamed, under a lock: what has the right name is complete.
pub(crate) fn get(
    kind: &str,
    ingredients: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = directory();
    fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
    let lock = File::create(cache.join(format!("{kind}.lock")))
        .with_context(|| format!("make a lock in {}", cache.display()))?;
    flock(&lock, FlockOperation::LockExclusive).context("lock the cache")?;

    let name = format!("{kind}-{:016x}", hash(ingredients));
    let complete = cache.join(&name);
    if complete.exists() {
        return Ok(complete);
    }
    for entry in fs::read_dir(&cache)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&format!("{kind}-")) {
            step::run(std::process::Command::new("rm").arg("-rf").arg(entry.path()))?;
        }
    }
    let partial = cache.join(format!("{name}.partial"));
    make(&partial)?;
    fs::rename(&partial, &complete)
        .with_context(|| format!("rename {} to {name}", partial.display()))?;
    Ok(complete)
}

/// FNV-1a: a name needs no more, and it stays the same with every toolchain.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(super::hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(super::hash("foobar"), 0x8594_4171_f739_67e8);
    }
}
