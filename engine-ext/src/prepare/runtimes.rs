//! OCI runtimes that are not ours, by name: from the table `runtimes` of `daemon.json`, or as a
//! program of the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use container::config::OciRuntime;
use serde::Deserialize;

/// Where the predecessor's daemon has its settings.
pub const DAEMON_JSON: &str = "/etc/isulad/daemon.json";

/// Programs that are looked for without an entry.
const KNOWN: &[&str] = &["runc", "crun", "runsc", "kata-runtime"];

/// Where they are installed. The caller's PATH is no matter: a container outlives its shell.
const DIRECTORIES: &[&str] =
    &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The part of the file that is ours here.
#[derive(Debug, Default, Deserialize)]
struct DaemonJson {
    #[serde(default)]
    runtimes: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    path: PathBuf,
    #[serde(default, rename = "runtime-args", alias = "runtimeArgs")]
    args: Vec<String>,
}

/// The runtime that `name` stands for: an absolute path, an entry of `daemon_json`, or one of the
/// names that everybody knows.
pub fn find(daemon_json: &Path, name: &str) -> Result<OciRuntime> {
    let runtime = |path: PathBuf, args| OciRuntime { name: name.to_owned(), path, args };
    if name.starts_with('/') {
        let path = PathBuf::from(name);
        check(name, &path)?;
        let short = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(OciRuntime { name: short, path, args: vec![] });
    }
    let word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    ensure!(
        !name.is_empty() && !name.starts_with('.') && name.chars().all(word),
        "--runtime {name:?}: give a name of letters, digits and _-., or an absolute path"
    );
    if let Some(entry) = read(daemon_json)?.runtimes.remove(name) {
        ensure!(
            entry.path.is_absolute(),
            "{}: runtimes.{name}.path {:?} is not absolute",
            daemon_json.display(),
            entry.path
        );
        check(name, &entry.path)?;
        return Ok(runtime(entry.path, entry.args));
    }
    let installed = || DIRECTORIES.iter().map(|dir| Path::new(dir).join(name));
    match installed().find(|path| KNOWN.contains(&name) && path.is_file()) {
        Some(path) => Ok(runtime(path, vec![])),
        None => bail!(
            "--runtime {name:?}: no such runtime; install it, give its absolute path, or add it to \
             runtimes in {}",
            daemon_json.display()
        ),
    }
}

fn check(name: &str, path: &Path) -> Result<()> {
    ensure!(path.is_file(), "--runtime {name:?}: {} is not a program", path.display());
    Ok(())
}

/// Without a file there are no entries.
fn read(path: &Path) -> Result<DaemonJson> {
    let act = || format!("read {}", path.display());
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DaemonJson::default()),
        text => serde_json::from_slice(&text.with_context(act)?).with_context(act),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn entries_paths_and_what_is_neither() {
        let dir = tempfile::tempdir().unwrap();
        let json = dir.path().join("daemon.json");
        let text = r#"{ "group": "isula", "runtimes": {
            "one": { "path": "/bin/sh", "runtime-args": ["--debug"] },
            "two": { "path": "/bin/sh", "runtimeArgs": ["--x"] },
            "rel": { "path": "sh" },
            "gone": { "path": "/no/such" } } }"#;
        std::fs::write(&json, text).unwrap();
        let found = find(&json, "one").unwrap();
        assert_eq!((found.name.as_str(), found.args), ("one", vec!["--debug".to_owned()]));
        assert_eq!(find(&json, "two").unwrap().args, ["--x"]);
        let found = find(&json, "/bin/sh").unwrap();
        assert_eq!((found.name.as_str(), found.path.to_str()), ("sh", Some("/bin/sh")));
        let text = |name: &str| {
            let text = find(&json, name).unwrap_err().to_string();
            text.replace(&*dir.path().to_string_lossy(), "")
        };
        expect![[r#"/daemon.json: runtimes.rel.path "sh" is not absolute"#]]
            .assert_eq(&text("rel"));
        expect![[r#"--runtime "gone": /no/such is not a program"#]].assert_eq(&text("gone"));
        expect![[r#"--runtime "/etc": /etc is not a program"#]].assert_eq(&text("/etc"));
        expect![[r#"--runtime "sh": no such runtime; install it, give its absolute path, or add it to runtimes in /daemon.json"#]]
            .assert_eq(&text("sh"));
        expect![[
            r#"--runtime "../x": give a name of letters, digits and _-., or an absolute path"#
        ]]
        .assert_eq(&text("../x"));
        std::fs::write(&json, "{").unwrap();
        assert!(text("one").starts_with("read /daemon.json"), "{}", text("one"));
    }
}
