//! OCI runtimes that are not ours, by name: from the table `runtimes` of `daemon.json`, or as a
//! program of the host.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use container::DaemonJson;
use container::config::OciRuntime;

/// Programs that are looked for without an entry.
const KNOWN: &[&str] = &["runc", "crun", "runsc", "kata-runtime"];

/// Where they are installed. The caller's PATH is no matter: a container outlives its shell.
const DIRECTORIES: &[&str] =
    &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The runtime that `name` stands for: an absolute path, an entry of the settings, or one of the
/// names that everybody knows.
pub fn find(daemon_json: &Path, settings: &DaemonJson, name: &str) -> Result<OciRuntime> {
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
    if let Some(entry) = settings.runtimes.get(name) {
        ensure!(
            entry.path.is_absolute(),
            "{}: runtimes.{name}.path {:?} is not absolute",
            daemon_json.display(),
            entry.path
        );
        check(name, &entry.path)?;
        return Ok(runtime(entry.path.clone(), entry.args.clone()));
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

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn entries_paths_and_what_is_neither() {
        let text = r#"{ "group": "isula", "runtimes": {
            "one": { "path": "/bin/sh", "runtime-args": ["--debug"] },
            "two": { "path": "/bin/sh", "runtimeArgs": ["--x"] },
            "rel": { "path": "sh" },
            "gone": { "path": "/no/such" } } }"#;
        let settings = serde_json::from_str(text).unwrap();
        let find = |name: &str| find(Path::new("/daemon.json"), &settings, name);
        let found = find("one").unwrap();
        assert_eq!((found.name.as_str(), found.args), ("one", vec!["--debug".to_owned()]));
        assert_eq!(find("two").unwrap().args, ["--x"]);
        let found = find("/bin/sh").unwrap();
        assert_eq!((found.name.as_str(), found.path.to_str()), ("sh", Some("/bin/sh")));
        let text = |name: &str| find(name).unwrap_err().to_string();
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
    }
}
