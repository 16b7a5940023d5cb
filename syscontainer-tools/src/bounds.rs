//! How much a container may be given: the user guide's numbers, unless the administrator has others.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};

/// Where the administrator's are.
pub const CONFIG: &str = "/etc/isulad-tools/config.json";

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bounds {
    /// Links of any kind.
    pub nics: usize,
    /// Links of the host's.
    pub physical_nics: usize,
    /// Paths.
    pub paths: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { nics: 128, physical_nics: 8, paths: 128 }
    }
}

impl Bounds {
    /// Those that `path` says; what it does not say is as usual, and so is all without it.
    ///
    /// # Errors
    /// It cannot be read, or says something else.
    pub fn read(path: &Path) -> Result<Self> {
        match linux::file::read(path) {
            Err(error) if error.is(linux::Errno::NOENT) => Ok(Self::default()),
            text => serde_json::from_slice(&text?).map_err(|error| {
                Error::Failed(format!(
                    "read {}: {error}; it may say nics, physical-nics and paths",
                    path.display()
                ))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert_eq!(Bounds::read(&path).unwrap(), Bounds::default());
        std::fs::write(&path, r#"{"paths": 2}"#).unwrap();
        assert_eq!(Bounds::read(&path).unwrap(), Bounds { paths: 2, ..Bounds::default() });
        std::fs::write(&path, r#"{"volumes": 2}"#).unwrap();
        let error = Bounds::read(&path).unwrap_err().to_string();
        assert!(error.contains("unknown field `volumes`"), "{error}");
        assert!(error.ends_with("it may say nics, physical-nics and paths"), "{error}");
    }
}
