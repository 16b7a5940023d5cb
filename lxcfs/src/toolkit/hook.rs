//! `lxcfs-hook`: an OCI prestart hook that gives a container its files before its program runs.
//!
//! A container without them works, with the host's values; so a caller logs an error and lets the
//! start go on.

use std::path::{Path, PathBuf};

use linux::{Errno, Error, Result, process::Pid};
use serde::Deserialize;

use super::{daemon::Daemon, graft};

/// What the runtime tells a hook, as far as it matters here (runtime-spec, State). Old runtimes
/// say `bundlePath`; isulad adds `root`.
#[derive(Debug, Deserialize)]
struct State {
    id: String,
    pid: i32,
    #[serde(alias = "bundlePath")]
    bundle: Option<PathBuf>,
    root: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Bundle {
    root: BundleRoot,
}

#[derive(Debug, Deserialize)]
struct BundleRoot {
    path: PathBuf,
}

/// What to do for which container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Its id.
    pub id: String,
    /// Its init, which has not pivoted yet.
    pub pid: Pid,
    /// Its root, as its init sees it.
    pub rootfs: PathBuf,
}

impl Start {
    /// Reads the state the runtime wrote to the hook's stdin.
    pub fn parse(state: &[u8]) -> Result<Start> {
        let bad = || Error::new("read the state on stdin", Errno::BADMSG);
        let state: State = serde_json::from_slice(state)
            .map_err(|_| bad().with_hint("a hook is run by an OCI runtime, which writes it"))?;
        let pid = Pid::new(state.pid)
            .ok_or_else(|| bad().with_hint("it has no pid: use this as a prestart hook"))?;
        let rootfs = match (state.root, state.bundle) {
            (Some(root), _) => root,
            (None, Some(bundle)) => root_of(&bundle)?,
            (None, None) => return Err(bad().with_hint("it names neither root nor bundle")),
        };
        Ok(Start { id: state.id, pid, rootfs })
    }

    /// Mounts the container's files; returns how many.
    pub fn apply(&self, daemon: &Daemon) -> Result<usize> {
        let tree = graft::Tree::of(self.pid)?.below(&self.rootfs)?;
        let source = daemon.source(&self.id, self.pid)?;
        let pieces = graft::pieces(&source, tree.root())?;
        tree.put(&pieces)
    }
}

fn root_of(bundle: &Path) -> Result<PathBuf> {
    let path = bundle.join("config.json");
    let text = linux::file::read(&path)?;
    let config: Bundle = serde_json::from_slice(&text)
        .map_err(|_| Error::new(format!("read {}", path.display()), Errno::BADMSG))?;
    Ok(bundle.join(config.root.path))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn root_wins_over_bundle_and_bundle_will_do() {
        let start = Start::parse(br#"{"ociVersion":"1.0","id":"a","pid":7,"root":"/r"}"#).unwrap();
        assert_eq!(start.rootfs, Path::new("/r"));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), r#"{"root":{"path":"rootfs"}}"#).unwrap();
        let state = format!(r#"{{"id":"a","pid":7,"bundlePath":"{}"}}"#, dir.path().display());
        assert_eq!(Start::parse(state.as_bytes()).unwrap().rootfs, dir.path().join("rootfs"));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let refused = |state: &str| Start::parse(state.as_bytes()).unwrap_err().to_string();
        expect!["read the state on stdin: bad message (EBADMSG); a hook is run by an OCI runtime, which writes it"]
            .assert_eq(&refused("{"));
        expect!["read the state on stdin: bad message (EBADMSG); it has no pid: use this as a prestart hook"]
            .assert_eq(&refused(r#"{"id":"a","pid":0,"root":"/"}"#));
        expect!["read the state on stdin: bad message (EBADMSG); it names neither root nor bundle"]
            .assert_eq(&refused(r#"{"id":"a","pid":3}"#));
    }
}
