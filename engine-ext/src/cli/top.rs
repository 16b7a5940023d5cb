mod process;

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use clap::Args;
use container::Status;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use ui::{Exit, Report};

use self::process::{COLUMNS, Clock, Process};
use super::listing::{self, Column};
use super::{Session, print};

/// List the processes of a container
///
/// Pids and users are the host's, times are UTC. Of ps's options -e, -f and -o LIST are understood.
#[derive(Debug, Args)]
#[command(override_usage = "isula top [OPTIONS] CONTAINER [PS OPTIONS]")]
pub(crate) struct TopArgs {
    /// Print as table, json, "table TEMPLATE" or TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Name, id or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Options of ps: -ef, -o pid,user,args
    #[arg(value_name = "PS OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// `ps -ef`.
const FULL: &[&str] = &["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

pub(crate) fn top(session: &Session, args: &TopArgs) -> Report {
    let columns = columns(&args.options)?;
    let container = session.engine.store.find(&args.container)?;
    if !matches!(container.state()?.status, Status::Running | Status::Paused) {
        bail!("Container {} is not running.", container.id);
    }
    let mut pids = session.engine.runtime(&container.config()?).pids(container.id.as_str())?;
    pids.sort_unstable_by_key(|pid| pid.get());
    let clock = Clock::now()?;
    let users = users();
    // One that has ended meanwhile is not listed.
    let processes = pids.into_iter().filter_map(Process::read);
    let rows: Vec<Value> = processes.map(|process| row(&process, &clock, &users)).collect();
    print(&listing::render(args.format.as_deref(), &columns, COLUMNS, &rows)?)?;
    Ok(Exit::DONE)
}

fn row(process: &Process, clock: &Clock, users: &HashMap<u32, String>) -> Value {
    let now = OffsetDateTime::now_utc();
    let cells = COLUMNS.iter().map(|(field, _)| {
        ((*field).to_owned(), Value::String(process.cell(field, clock, now, users)))
    });
    Value::Object(cells.collect::<Map<_, _>>())
}

/// The columns that options of ps(1) choose.
fn columns(options: &[String]) -> Result<Vec<Column>> {
    let known = |name: &str| COLUMNS.iter().find(|(field, _)| *field == name).copied();
    let full = || FULL.iter().filter_map(|name| known(name)).collect::<Vec<_>>();
    let mut chosen = vec![];
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let list = match word.strip_prefix('-').unwrap_or(word) {
            "e" | "f" | "ef" => continue,
            "o" | "eo" => words.next().context("-o needs a list, as in -o pid,args")?.as_str(),
            joined if word.starts_with("-o") => &joined[1..],
            _ => bail!("option {word:?} of ps is not understood; use -ef or -o LIST"),
        };
        for name in list.split(',') {
            let column = process::field(name).and_then(known).with_context(|| {
                format!("ps has no column {name:?} here; there are {}", process::names())
            })?;
            chosen.push(column);
        }
    }
    Ok(if chosen.is_empty() { full() } else { chosen })
}

/// The host's names of its users; what has none is shown by its number.
fn users() -> HashMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn check(options: &[&str]) -> String {
        let options: Vec<String> = options.iter().map(|&word| word.to_owned()).collect();
        match columns(&options) {
            Ok(columns) => columns.iter().map(|column| column.1).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn options_of_ps_choose_columns() {
        assert_eq!(check(&[]), "UID PID PPID C STIME TTY TIME CMD");
        assert_eq!(check(&["-ef"]), "UID PID PPID C STIME TTY TIME CMD");
        assert_eq!(check(&["-o", "pid,user,args"]), "PID UID CMD");
        assert_eq!(check(&["-opid,rss"]), "PID RSS");
        expect![[r#"option "aux" of ps is not understood; use -ef or -o LIST"#]]
            .assert_eq(&check(&["aux"]));
        expect![[r#"ps has no column "luck" here; there are uid, user, pid, ppid, c, pcpu, stime, tty, time, cmd, args, command, comm, s, stat, rss, vsz, nlwp"#]]
            .assert_eq(&check(&["-o", "luck"]));
    }
}
