//! What this host forbids bundles to ask for by annotation. The file is the host's, by default
//! there is none, and then all of it is allowed.

use std::path::Path;

use linux::Errno;
use serde::Deserialize;

use crate::{Error, Result};

/// Where it is looked for.
pub const DEFAULT: &str = "/etc/isula-runtime/policy.json";

/// `{"forbid": ["org.isula.system-container"]}`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Annotations that are refused.
    #[serde(default)]
    pub forbid: Vec<String>,
}

impl Policy {
    /// The policy in `path`; without the file everything is allowed.
    ///
    /// # Errors
    /// The file cannot be read, or is no policy: then nothing is allowed.
    pub fn load(path: &Path) -> Result<Self> {
        let text = match linux::file::read(path) {
            Err(error) if error.is(Errno::NOENT) => return Ok(Self::default()),
            text => text?,
        };
        serde_json::from_slice(&text).map_err(|error| Error::File {
            act: format!("parse {}", path.display()),
            reason: error.to_string(),
        })
    }

    pub(crate) fn forbids(&self, annotation: &str) -> bool {
        self.forbid.iter().any(|forbidden| forbidden == annotation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_cannot_be_read_allows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.json");
        assert_eq!(Policy::load(&path).unwrap(), Policy::default());
        std::fs::write(&path, r#"{"forbid":["a"]}"#).unwrap();
        assert!(Policy::load(&path).unwrap().forbids("a"));
        std::fs::write(&path, r#"{"forbidden":["a"]}"#).unwrap();
        let error = Policy::load(&path).unwrap_err().to_string();
        assert!(error.contains("policy.json: unknown field `forbidden`"), "{error}");
    }
}
