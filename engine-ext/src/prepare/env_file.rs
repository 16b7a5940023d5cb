//! `--env-target-file`: the environment as a file of the rootfs.
//!
//! At create its own variables join the environment, unless something else has set them. At start
//! it is brought up to date: known keys change in place, new ones are appended, and every other
//! line (comments, what the guest wrote) stays.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use linux::root::Root;
use rustix::io::Errno;

use crate::request::environment;

const FILE_MAX: usize = 10 << 20;
const LINE_MAX: usize = 4096;

/// Adds to `env` what only the file says.
pub fn merge(root: &Root, path: &Path, env: &mut Vec<String>) -> Result<()> {
    let text = read(root, path)?;
    for (key, value) in text.lines().filter_map(assignment) {
        if !environment::has(env, key) {
            env.push(format!("{key}={value}"));
        }
    }
    Ok(())
}

/// Brings the file up to date.
pub(super) fn write(root: &Root, path: &Path, env: &[String], owner: (u32, u32)) -> Result<()> {
    if let Some(long) = env.iter().find(|entry| entry.len() > LINE_MAX) {
        let key = long.split('=').next().unwrap_or_default();
        bail!("Env is too long: {key}; at most {LINE_MAX} bytes fit into {}", path.display());
    }
    let old = read(root, path)?;
    let new = updated(&old, env);
    if new == old {
        return Ok(());
    }
    let act = || format!("write the environment to {}", path.display());
    let (mode, owner) = match root.stat(path) {
        Ok(stat) => (stat.st_mode & 0o777, (stat.st_uid, stat.st_gid)),
        Err(error) if error.is(Errno::NOENT) => (0o640, owner),
        Err(error) => return Err(error).with_context(act),
    };
    if let Some(parent) = path.parent() {
        root.mkdir_all(parent, 0o750).with_context(act)?;
    }
    root.write_lasting(path, new, mode, Some(owner)).with_context(act)
}

fn read(root: &Root, path: &Path) -> Result<String> {
    match root.read_file(path, FILE_MAX) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) if error.is(Errno::NOENT) => Ok(String::new()),
        Err(error) => {
            let path = path.display();
            ensure!(!error.is(Errno::ISDIR), "Env target file is a directory: {path}");
            ensure!(
                !error.is(Errno::FBIG),
                "env target file '{path}', size exceed limit: {FILE_MAX}"
            );
            Err(error).with_context(|| format!("read env target file {path}"))
        }
    }
}

/// `KEY=VALUE`; not a comment, not a blank line.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (key, value) = line.split_once('=')?;
    let key = key.trim_end();
    (!line.starts_with('#') && !key.is_empty()).then_some((key, value))
}

fn updated(old: &str, env: &[String]) -> String {
    let wanted = |key: &str| {
        env.iter().find(|entry| entry.split_once('=').is_some_and(|(name, _)| name == key))
    };
    let mut written: Vec<&str> = vec![];
    let mut text = String::new();
    for line in old.lines() {
        let known = assignment(line).and_then(|(key, _)| wanted(key));
        let line = known.map_or(line, String::as_str);
        if known.is_some() {
            if written.contains(&line) {
                continue;
            }
            written.push(line);
        }
        text.push_str(line);
        text.push('\n');
    }
    for entry in env.iter().filter(|entry| !entry.contains('\n')) {
        if !written.contains(&entry.as_str()) {
            text.push_str(entry);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn foreign_lines_stay_and_keys_are_there_once() {
        let env = ["PATH=/bin".to_owned(), "abc=123".to_owned()];
        let text = updated("# kept\nabc=1\nonly=file\n\nabc=2\n", &env);
        expect![[r#"
            # kept
            abc=123
            only=file

            PATH=/bin
        "#]]
        .assert_eq(&text);
        assert_eq!(updated(&text, &env), text);
        assert_eq!(updated("", &env), "PATH=/bin\nabc=123\n");
    }
}
