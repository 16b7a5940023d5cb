//! The document of `--hook-spec` (pure part; `prepare::hook_spec` looks at the files it names).

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use oci_spec::runtime::{Hook, HookBuilder, Hooks, HooksBuilder};
use serde::Deserialize;

/// Without a time-out of its own, a hook has this many seconds.
const TIMEOUT_DEFAULT: i64 = 30;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    prestart: Vec<Entry>,
    #[serde(default)]
    poststart: Vec<Entry>,
    #[serde(default)]
    poststop: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<i64>,
}

/// Reads the document and checks what can be checked without looking at the host.
pub fn parse(text: &str) -> Result<Hooks> {
    let document: Document =
        serde_json::from_str(text).context("Failed to parse hook-spec file")?;
    let hooks = |entries: Vec<Entry>| entries.into_iter().map(hook).collect::<Result<Vec<_>>>();
    let hooks = HooksBuilder::default()
        .prestart(hooks(document.prestart)?)
        .poststart(hooks(document.poststart)?)
        .poststop(hooks(document.poststop)?)
        .build()?;
    Ok(hooks)
}

fn hook(entry: Entry) -> Result<Hook> {
    ensure!(entry.path.is_absolute(), "{} is not an absolute path", entry.path.display());
    let timeout = entry.timeout.unwrap_or(TIMEOUT_DEFAULT);
    ensure!(timeout > 0, "Invalid timeout: {timeout}; give at least 1 second");
    for variable in &entry.env {
        ensure!(
            variable.split_once('=').is_some_and(|(key, _)| !key.is_empty()),
            "hook {}: environment entry {variable:?} is not KEY=VALUE",
            entry.path.display()
        );
    }
    let args = if entry.args.is_empty() {
        vec![entry.path.to_string_lossy().into_owned()]
    } else {
        entry.args
    };
    let hook = HookBuilder::default().path(entry.path).args(args).env(entry.env).timeout(timeout);
    Ok(hook.build()?)
}

/// The hooks of several documents, one document after the other.
pub fn in_order(documents: &[Hooks]) -> Hooks {
    let join = |of: fn(&Hooks) -> &Option<Vec<Hook>>| {
        Some(documents.iter().filter_map(|hooks| of(hooks).clone()).flatten().collect())
    };
    let mut all = Hooks::default();
    all.set_prestart(join(Hooks::prestart))
        .set_poststart(join(Hooks::poststart))
        .set_poststop(join(Hooks::poststop));
    all
}

/// Every hook with the word for its moment.
pub fn all(hooks: &Hooks) -> impl Iterator<Item = &Hook> {
    [hooks.prestart(), hooks.poststart(), hooks.poststop()].into_iter().flatten().flatten()
}
