//! The bundle: reads `config.json` and finds the rootfs.
//!
//! Members the specification does not know are kept out of the way, as it demands, but not out of
//! sight: each is logged. Members it knows and this runtime does not honour are refused by
//! `validate`, by name.

use std::path::{Path, PathBuf};

use linux::error::Context as _;
use oci_spec::runtime::{Capability, Process, Spec};
use serde_json::Value;
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
        let spec = read(&directory.join("config.json"), strictly)?;
        Self::in_directory(directory, spec)
    }

    /// The `config.json` of `directory` alone, for what comes after a container was made of it: what
    /// is unknown in it has been said then.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn spec_of(directory: &Path) -> Result<Spec> {
        read(&directory.join("config.json"), |text| serde_json::from_slice(text))
    }

    /// The bundle in `directory`, whose `config.json` says what `spec` does.
    ///
    /// # Errors
    /// The directory or the rootfs it names cannot be used.
    pub fn of(directory: &Path, spec: Spec) -> Result<Self> {
        Self::in_directory(canonical("open bundle", directory)?, spec)
    }

    fn in_directory(directory: PathBuf, spec: Spec) -> Result<Self> {
        let root = spec.root().as_ref().ok_or_else(|| {
            Error::config("root", "is missing; name the root filesystem in root.path")
        })?;
        let rootfs = canonical("open rootfs", &directory.join(root.path()))?;
        Ok(Self { directory, rootfs, spec })
    }
}

/// The text of a `config.json` as the specification's types.
fn read(path: &Path, parse: fn(&[u8]) -> serde_json::Result<Spec>) -> Result<Spec> {
    let text = linux::file::read(path)?;
    let spec = match parse(&text) {
        Err(_) if let Some(text) = without_unknown_capabilities(&text, "/process/capabilities") => {
            parse(&text)
        }
        parsed => parsed,
    };
    spec.map_err(|error| Error::File {
        act: format!("parse {}", path.display()),
        reason: error.to_string(),
    })
}

fn strictly(text: &[u8]) -> serde_json::Result<Spec> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let spec = serde_ignored::deserialize(&mut json, |member| {
        warn!(member = %member, "unknown member of config.json passed over");
    })?;
    json.end()?;
    Ok(spec)
}

/// A process document, as `exec --process` is given it.
///
/// # Errors
/// It is not one.
pub(crate) fn parse_process(text: &[u8]) -> serde_json::Result<Process> {
    match serde_json::from_slice(text) {
        Err(_) if let Some(text) = without_unknown_capabilities(text, "/capabilities") => {
            serde_json::from_slice(&text)
        }
        parsed => parsed,
    }
}

/// Capabilities that nobody knows are no error but a warning (config.md, "Linux Process"), and the
/// specification's types have no room for them. None when there are none.
fn without_unknown_capabilities(text: &[u8], member: &str) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(text).ok()?;
    let is_known = |name: &Value| {
        let name = name.as_str().unwrap_or_default();
        let known = name.trim_start_matches("CAP_").parse::<Capability>().is_ok();
        if !known {
            warn!(capability = name, "unknown capability left out");
        }
        known
    };
    let mut found = false;
    for set in document.pointer_mut(member)?.as_object_mut()?.values_mut() {
        let Some(names) = set.as_array_mut() else { continue };
        let before = names.len();
        names.retain(is_known);
        found |= names.len() < before;
    }
    found.then(|| document.to_string().into_bytes())
}

fn canonical(act: &str, path: &Path) -> Result<PathBuf> {
    Ok(path.canonicalize().during(|| format!("{act} {}", path.display()))?)
}
