use anyhow::Context as _;
use clap::Args;
use clap_complete::Shell;
use ui::{Exit, Report};

use super::{Session, command, print};

/// Print the completions of a shell
///
/// Example: isula completion bash > /usr/share/bash-completion/completions/isula
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// bash, zsh or fish
    #[arg(value_name = "SHELL")]
    shell: String,
}

pub(crate) fn completion(_: &Session, args: &CompletionArgs) -> Report {
    let shell = match args.shell.as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        other => anyhow::bail!("there are no completions for {other:?}; use bash, zsh or fish"),
    };
    let mut text = vec![];
    clap_complete::generate(shell, &mut command(), "isula", &mut text);
    print(&String::from_utf8(text).context("completions are text")?)?;
    Ok(Exit::DONE)
}
