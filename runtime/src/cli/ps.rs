//! ps: pids as JSON, which engines ask for, or the lines of ps(1) that are about them.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use linux::process::Pid;
use ui::{Exit, Report};

use super::{Session, print, print_json};

#[derive(Debug, Args)]
pub(super) struct PsArgs {
    /// table or json
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// The container, then options of ps(1)
    #[arg(value_name = "ID [PS OPTION...]", trailing_var_arg = true, num_args = 1..)]
    #[arg(allow_hyphen_values = true)]
    words: Vec<String>,
}

pub(super) fn ps(session: &Session, args: &PsArgs) -> Report {
    let [id, options @ ..] = &args.words[..] else { bail!("name a container") };
    let pids = session.runtime.pids(id)?;
    if args.format == "json" {
        let mut numbers: Vec<i32> = pids.iter().map(|pid| pid.get()).collect();
        numbers.sort_unstable();
        print_json(&numbers)?;
    } else {
        let default = ["-ef".to_owned()];
        let text = crate::external::ps(if options.is_empty() { &default } else { options })?;
        print(&lines_about(&text, &pids)?)?;
    }
    Ok(Exit::DONE)
}

/// The heading, and the lines whose column PID holds one of `pids`.
fn lines_about(text: &str, pids: &[Pid]) -> Result<String> {
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading.split_whitespace().position(|word| word == "PID");
    let column = column.context("ps shows no column PID; ask it for one")?;
    let is_about = |line: &&str| {
        let number = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        number.is_some_and(|number: i32| pids.iter().any(|pid| pid.get() == number))
    };
    let about = std::iter::once(heading).chain(lines.filter(is_about));
    Ok(about.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use linux::process::Pid;

    use super::lines_about;

    #[test]
    fn lines_are_found_by_their_column() {
        let text = "UID   PID  PPID CMD\nroot  12   1    sh 13\nroot  13   1    sleep\n";
        let pids = [Pid::new(13).unwrap()];
        expect![[r#"
            UID   PID  PPID CMD
            root  13   1    sleep
        "#]]
        .assert_eq(&lines_about(text, &pids).unwrap());
        expect!["ps shows no column PID; ask it for one"]
            .assert_eq(&lines_about("CMD\nsh\n", &pids).unwrap_err().to_string());
    }
}
