//! Compiled filters on disk: `<directory>/<sha256 of all that went in>`, written by rename.
//!
//! A filter decides what a container may do, so a file is believed only if root alone can have
//! written it and its own hash holds; anything else is compiled again. A cache that cannot be
//! written costs time, not the container.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use libseccomp::{ScmpVersion, get_api};
use oci_spec::runtime::LinuxSeccomp;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use tracing::debug;

use super::{LONGEST, refuse};
use crate::Result;

/// Begins a file; the digit is the version of the format and of what `compile` makes of a profile.
const MAGIC: &[u8; 8] = b"scmpbpf2";
/// Magic, hash of the rest, instructions of eight bytes.
const HEADER: usize = 8 + 32;

/// The name of the program that `profile` compiles to with this libseccomp on this kernel.
///
/// The lists of a profile have an order, so equal profiles are equal text; flags and a listener are
/// of the loading. The API level is what libseccomp found the kernel to support: the same library
/// compiles differently on another.
pub(super) fn key(profile: &LinuxSeccomp) -> Result<String> {
    let text = serde_json::to_vec(&(
        profile.default_action(),
        profile.default_errno_ret(),
        profile.architectures(),
        profile.syscalls(),
    ))
    .map_err(|error| refuse("", error.to_string()))?;
    let version = ScmpVersion::current().map_err(|error| refuse("", error.to_string()))?;
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    hash.update(format!(
        "libseccomp {}.{}.{} api {} {}\n",
        version.major,
        version.minor,
        version.micro,
        get_api(),
        std::env::consts::ARCH
    ));
    hash.update(text);
    let mut name = String::with_capacity(64);
    for byte in hash.finalize() {
        write!(name, "{byte:02x}").expect("a string takes everything");
    }
    Ok(name)
}

/// The program kept under `key`, if there is one to be trusted.
pub(super) fn load(directory: &Path, key: &str) -> Option<Vec<u8>> {
    let path = directory.join(key);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file =
        OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path).ok()?;
    let bytes = trusted(&mut file)?;
    let program = parse(&bytes);
    if program.is_none() {
        debug!(path = %path.display(), "ignored a damaged seccomp filter");
    }
    program
}

/// The content of a regular file that nobody but us can have written.
fn trusted(file: &mut File) -> Option<Vec<u8>> {
    let stat = file.metadata().ok()?;
    let us = rustix::process::geteuid().as_raw();
    let longest = u64::try_from(HEADER + LONGEST * 8).ok()?;
    if !stat.is_file() || stat.uid() != us || stat.mode() & 0o022 != 0 || stat.len() > longest {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stat.len()).ok()?);
    file.take(longest).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn parse(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (hash, program) = rest.split_at_checked(32)?;
    if program.is_empty()
        || program.len() % 8 != 0
        || program.len() / 8 > LONGEST
        || *hash != *Sha256::digest(program)
    {
        return None;
    }
    Some(program.to_vec())
}

/// Keeps `program` under `key`.
pub(super) fn save(directory: &Path, key: &str, program: &[u8]) {
    if let Err(reason) = try_save(directory, key, program) {
        debug!(path = %directory.display(), reason, "did not keep the seccomp filter");
    }
}

fn try_save(directory: &Path, key: &str, program: &[u8]) -> Result<(), String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| error.to_string())?;
    let stat = fs::symlink_metadata(directory).map_err(|error| error.to_string())?;
    if !stat.is_dir()
        || stat.uid() != rustix::process::geteuid().as_raw()
        || stat.mode() & 0o022 != 0
    {
        return Err("somebody else can write there".to_owned());
    }
    let mut bytes = Vec::with_capacity(HEADER + program.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&Sha256::digest(program));
    bytes.extend_from_slice(program);
    linux::file::write_atomic(directory.join(key), &bytes, 0o600).map_err(|error| error.to_string())
}
