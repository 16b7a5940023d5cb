//! `cargo xtask man`: manual pages from the command lines, kept in docs/man.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap_mangen::Man;

use crate::step;
use crate::tidy::commands;

pub(crate) fn run() -> Result<ExitCode> {
    let dir = step::root().join("docs/man");
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let pages = pages()?;
    for name in found(&dir)?.keys().filter(|name| !pages.contains_key(*name)) {
        fs::remove_file(dir.join(name)).with_context(|| format!("remove {name}"))?;
    }
    for (name, page) in pages {
        fs::write(dir.join(&name), page).with_context(|| format!("write {name}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is there and not what the command lines say.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    Ok(compare(&pages()?, &found(&root.join("docs/man"))?))
}

fn compare(pages: &BTreeMap<String, Vec<u8>>, found: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names = pages.keys().chain(found.keys().filter(|name| !pages.contains_key(*name)));
    names
        .filter(|name| pages.get(*name) != found.get(*name))
        .map(|name| format!("docs/man/{name}: not what the command line says; cargo xtask man"))
        .collect()
}

fn found(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let page = fs::read(entry.path())?;
        found.insert(entry.file_name().to_string_lossy().into_owned(), page);
    }
    Ok(found)
}

fn pages() -> Result<BTreeMap<String, Vec<u8>>> {
    let mut pages = BTreeMap::new();
    for (section, command) in commands() {
        let mut command = command.disable_help_subcommand(true).term_width(100);
        command.build();
        add(&command, section, &mut pages)?;
    }
    Ok(pages)
}

fn add(
    command: &clap::Command,
    section: &str,
    pages: &mut BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let man = Man::new(command.clone()).section(section).date("").manual("");
    let mut page = Vec::new();
    man.render(&mut page).context("render a manual page")?;
    pages.insert(man.get_filename(), page);
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        add(sub, section, pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_a_missing_and_a_superfluous_page_are_found() {
        let page = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
        let expected = BTreeMap::from([page("a.1", "new"), page("b.1", "b"), page("d.1", "d")]);
        let found = BTreeMap::from([page("a.1", "old"), page("c.1", "c"), page("d.1", "d")]);
        let names: Vec<_> =
            compare(&expected, &found).iter().map(|line| line[9..12].to_owned()).collect();
        assert_eq!(names, ["a.1", "b.1", "c.1"]);
    }
}
