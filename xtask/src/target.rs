//! What cargo has built, and where.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::step;

/// Where cargo puts binaries of the configured target, by profile directory below it.
pub(crate) fn directory() -> Result<PathBuf> {
    let mut metadata = step::cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&step::output(&mut metadata)?)?;
    let target = metadata["target_directory"].as_str().context("a target directory")?;
    let tuple = step::output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    Ok(PathBuf::from(target).join(tuple.trim()))
}

/// Builds the tools and the demonstration for release; returns the directory of the binaries.
pub(crate) fn release() -> Result<PathBuf> {
    let mut cargo = step::cargo();
    cargo.args(["build", "--release", "--package", "engine-ext", "--package", "runtime"]);
    cargo.args(["--package", "syscontainer-tools", "--package", "hooks", "--package", "lxcfs"]);
    step::run(cargo.args(["--package", "tests", "--bins"]))?;
    Ok(directory()?.join("release"))
}

/// Builds the tools and the end-to-end tests; returns the directory of the tools, and the tests.
pub(crate) fn tests() -> Result<(PathBuf, Vec<PathBuf>)> {
    step::step("building the tools and the tests");
    let mut cargo = step::cargo();
    cargo.args(["build", "--quiet", "--package", "engine-ext", "--package", "runtime"]);
    cargo.args(["--package", "syscontainer-tools", "--package", "hooks", "--package", "lxcfs"]);
    step::run(cargo.arg("--bins"))?;
    let tests = ["tests", "lxcfs"].map(|package| {
        let mut cargo = step::cargo();
        cargo.args(["test", "--quiet", "--package", package, "--test", "e2e", "--no-run"]);
        let messages = step::output(cargo.args(["--message-format", "json"]))?;
        executable(&messages, "e2e").with_context(|| format!("cargo named no e2e of {package}"))
    });
    Ok((directory()?.join("debug"), tests.into_iter().collect::<Result<_>>()?))
}

/// The executable of that target in cargo's messages.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == target)
            .then(|| message["executable"].as_str().map(PathBuf::from))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages = "{\"target\":{\"name\":\"other\"},\"executable\":\"/t/other\"}\n\
                        {\"target\":{\"name\":\"e2e\"},\"executable\":\"/t/deps/e2e-1\"}\n\
                        {\"reason\":\"build-finished\"}\n";
        let found = super::executable(messages, "e2e").unwrap();
        assert_eq!(found, std::path::Path::new("/t/deps/e2e-1"));
    }
}
