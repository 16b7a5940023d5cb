//! The bundle: reads `config.json` and finds the rootfs.
//!
//! Members the specification does not know are kept out of the way, as it demands, but not out of
//! sight: each is logged. Members it knows and this runtime does not honour are refused by
//! `validate`, by name.

use std::path::{Path, PathBuf};

use linux::error::Context as _;
use oci_spec::runtime::Spec;
use tracing::warn;

use crate::{Error, Result};

/// A bundle as it was found.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Absolute path of the directory.
    pub directory: PathBuf,
    /// Absolute path of the rootfs on the host.
    pub rootfs: PathBuf,
    /// What `config.json` says.
    pub spec: Spec,
}

impl Bundle {
    /// Reads the bundle in `directory`.
    ///
    /// # Errors
    /// The directory, its `config.json` or the rootfs it names cannot be used.
    pub fn load(directory: &Path) -> Result<Self> {
        let directory = canonical("open bundle", directory)?;
        let path = directory.join("config.json");
        let spec = parse(&linux::file::read(&path)?).map_err(|error| Error::File {
            act: format!("parse {}", path.display()),
            reason: error.to_string(),
        })?;
        let root = spec.root().as_ref().ok_or_else(|| {
            Error::config("root", "is missing; name the root filesystem in root.path")
        })?;
        let rootfs = canonical("open rootfs", &directory.join(root.path()))?;
        Ok(Self { directory, rootfs, spec })
    }
}

/// The text of a `config.json` as the specification's types.
fn parse(text: &[u8]) -> serde_json::Result<Spec> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let spec = serde_ignored::deserialize(&mut json, |member| {
        warn!(member = %member, "unknown member of config.json passed over");
    })?;
    json.end()?;
    Ok(spec)
}

fn canonical(act: &str, path: &Path) -> Result<PathBuf> {
    Ok(path
        .canonicalize()
        .map_err(|error| linux::Errno::from_io_error(&error).unwrap_or(linux::Errno::IO))
        .during(|| format!("{act} {}", path.display()))?)
}
