//! What a hook reads on its stdin (the runtime specification, "State").

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The document. `root` is not a member of the specification; some runtimes add it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OciState {
    /// The id of the container.
    pub id: String,
    /// Host pid of init; 0 or absent once it is gone.
    #[serde(default)]
    pub pid: i32,
    /// The bundle; engines of old called it `bundlePath`.
    #[serde(alias = "bundlePath")]
    pub bundle: PathBuf,
    /// The rootfs, where the runtime says it.
    #[serde(default)]
    pub root: Option<PathBuf>,
}

/// Why a document is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Not JSON, or members are missing.
    #[error("read the container's state from stdin: {0}")]
    Json(#[from] serde_json::Error),
    /// A member that cannot be meant.
    #[error("read the container's state from stdin: {0}")]
    Member(&'static str),
}

impl OciState {
    /// Parses the document.
    ///
    /// # Errors
    /// It is not JSON, or has no id or no absolute bundle.
    pub fn parse(text: &[u8]) -> Result<Self, StateError> {
        let state: Self = serde_json::from_slice(text)?;
        if state.id.is_empty() || state.id.contains(['/', '\0']) {
            return Err(StateError::Member("id is empty or holds a slash"));
        }
        if !state.bundle.is_absolute() || state.bundle == Path::new("/") {
            return Err(StateError::Member("bundle is not an absolute path"));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn refused(text: &str, expected: &Expect) {
        expected.assert_eq(&OciState::parse(text.as_bytes()).unwrap_err().to_string());
    }

    #[test]
    fn both_spellings_of_the_bundle_are_read_and_root_may_be_missing() {
        let state = OciState::parse(br#"{"id":"a","pid":7,"bundlePath":"/b","x":1}"#).unwrap();
        assert_eq!((state.pid, &*state.bundle, state.root), (7, Path::new("/b"), None));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        refused(
            "",
            &expect![
                "read the container's state from stdin: EOF while parsing a value at line 1 column 0"
            ],
        );
        refused(
            r#"{"id":"a"}"#,
            &expect![
                "read the container's state from stdin: missing field `bundle` at line 1 column 10"
            ],
        );
        refused(
            r#"{"id":"a","bundle":"b"}"#,
            &expect!["read the container's state from stdin: bundle is not an absolute path"],
        );
        refused(
            r#"{"id":"../a","bundle":"/b"}"#,
            &expect!["read the container's state from stdin: id is empty or holds a slash"],
        );
    }
}
