//! Every option of a command line has a row in docs/compat.md.

use anyhow::{Context, Result};

use super::commands;
use crate::step;

pub(super) fn check() -> Result<Vec<String>> {
    let path = step::root().join("docs/compat.md");
    let compat =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut missing = Vec::new();
    for (_, command) in commands() {
        walk(&command, command.get_name(), &compat, &mut missing);
    }
    Ok(missing)
}

fn walk(command: &clap::Command, name: &str, compat: &str, missing: &mut Vec<String>) {
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let Some(long) = argument.get_long().filter(|long| *long != "help") else { continue };
        let written = compat.match_indices(&format!("--{long}")).any(|(at, found)| {
            !compat[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '-')
        });
        let short = argument.get_short().map(|short| format!("-{short}"));
        let written = written
            || short
                .is_some_and(|short| compat.split(['`', ' ', ',', '|', '/']).any(|w| w == short));
        if !written {
            missing.push(format!("docs/compat.md: no word about --{long} of {name}"));
        }
    }
    for sub in command.get_subcommands() {
        walk(sub, &format!("{name} {}", sub.get_name()), compat, missing);
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    #[test]
    fn an_option_without_a_row_is_found() {
        let command = Command::new("isula").subcommand(
            Command::new("run").args(["name", "cpu", "rm"].map(|name| Arg::new(name).long(name))),
        );
        let mut missing = Vec::new();
        super::walk(&command, "isula", "| `--name` | | `--cpu-shares` | | `--rm`, |", &mut missing);
        assert_eq!(missing, ["docs/compat.md: no word about --cpu of isula run"]);
    }
}
