//! `-e`, `--env-file`, labels and annotations: `KEY=VALUE` in all its forms.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use super::Outside;

/// What every container starts from.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Sets `KEY=VALUE`; a key that is there already changes in place.
pub fn set(env: &mut Vec<String>, entry: String) {
    let key = key_of(&entry);
    match env.iter().position(|other| key_of(other) == key) {
        Some(index) => env[index] = entry,
        None => env.push(entry),
    }
}

/// Whether `key` is set.
pub fn has(env: &[String], key: &str) -> bool {
    env.iter().any(|entry| key_of(entry) == key)
}

fn key_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

/// The variables of the files, then those of the command line; a bare key copies ours.
pub fn asked(entries: &[String], files: &[String], outside: &Outside<'_>) -> Result<Vec<String>> {
    let mut env = vec![];
    for file in files {
        let text = (outside.read)(Path::new(file))?;
        for line in text.lines().map(str::trim_start) {
            if !line.is_empty() && !line.starts_with('#') {
                add(&mut env, line, outside.variable)?;
            }
        }
    }
    for entry in entries {
        add(&mut env, entry, outside.variable)?;
    }
    Ok(env)
}

/// The variables of a command line alone.
pub fn variables(entries: &[String], ours: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let mut env = vec![];
    entries.iter().try_for_each(|entry| add(&mut env, entry, ours))?;
    Ok(env)
}

fn add(env: &mut Vec<String>, entry: &str, ours: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
        bail!("Invalid environment {entry}; write KEY=VALUE or KEY");
    }
    if entry.contains('=') {
        set(env, entry.to_owned());
    } else if let Some(value) = ours(entry) {
        set(env, format!("{entry}={value}"));
    }
    Ok(())
}

/// `KEY` or `KEY=VALUE`, of files and of the command line.
pub fn labels(
    entries: &[String],
    files: &[String],
    outside: &Outside<'_>,
) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut add = |entry: &str| {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        if key.is_empty() {
            bail!("invalid label {entry:?}; write KEY or KEY=VALUE");
        }
        labels.insert(key.to_owned(), value.to_owned());
        Ok(())
    };
    for file in files {
        let text = (outside.read)(Path::new(file))?;
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            add(line)?;
        }
    }
    entries.iter().try_for_each(|entry| add(entry))?;
    Ok(labels)
}

/// `KEY=VALUE`.
pub fn annotations(entries: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |entry: &String| match entry.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!("Invalid annotation '{entry}'; write KEY=VALUE"),
    };
    let annotations: BTreeMap<String, String> = entries.iter().map(pair).collect::<Result<_>>()?;
    match annotations.get(UMASK).map(String::as_str) {
        None | Some("secure" | "normal") => Ok(annotations),
        Some(other) => bail!("native.umask option {other} not supported; use secure or normal"),
    }
}

/// The annotation that chooses the umask.
pub const UMASK: &str = "native.umask";
