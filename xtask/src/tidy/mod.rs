//! `cargo xtask tidy`: the rules of this repository that no compiler checks. Also a test.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::step;

mod edges;
mod flags;
mod lexer;
mod places;
mod sources;

pub(crate) fn run() -> Result<ExitCode> {
    let findings = findings()?;
    findings.iter().for_each(|finding| step::say(finding));
    if findings.is_empty() {
        step::say("tidy: nothing to say");
        return Ok(ExitCode::SUCCESS);
    }
    step::say(&format!("tidy: {} findings", findings.len()));
    Ok(ExitCode::FAILURE)
}

/// The command lines of the tools, each with the section of its manual pages.
pub(crate) fn commands() -> Vec<(&'static str, clap::Command)> {
    vec![
        ("1", engine_ext::cli::command()),
        ("8", runtime::cli::command()),
        ("8", syscontainer_tools::cli::command()),
        ("8", hooks::cli::command()),
        ("8", hooks::lxcfs::command()),
        ("8", lxcfs::cli::daemon::Args::command()),
        ("8", lxcfs::cli::toolkit::Cli::command()),
    ]
}

/// Everything that is not as it should be, one line each.
fn findings() -> Result<Vec<String>> {
    let mut metadata = step::cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let mut found = edges::check(&serde_json::from_str(&step::output(&mut metadata)?)?);

    let mut files = Vec::new();
    rust_files(step::root(), &mut files)?;
    files.sort();
    let mut unsafes = 0;
    for file in files {
        let shown = file.display();
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {shown}"))?;
        let path = file.strip_prefix(step::root()).unwrap_or(&file);
        let source = sources::check(path, &text);
        found.extend(places::check(path, &text));
        unsafes += source.unsafes;
        found.extend(source.findings);
    }
    found.extend(sources::check_unsafes(unsafes));
    found.extend(flags::check()?.into_iter().chain(crate::man::check(step::root())?));
    Ok(found)
}

/// The Rust files of the repository, by their path in it.
fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let shown = directory.display();
    for entry in std::fs::read_dir(directory).with_context(|| format!("read {shown}"))? {
        let path = entry.with_context(|| format!("read {shown}"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        let findings = super::findings().unwrap();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }
}
