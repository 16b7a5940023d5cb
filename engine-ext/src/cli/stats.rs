mod sample;

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use container::Container;
use rustix::event::poll;
use rustix::time::Timespec;
use serde_json::Value;
use ui::report::Many;
use ui::{Exit, Report};

use self::sample::{Sample, row};
use super::listing::{self, Column};
use super::{Session, print};
use crate::lifecycle::shown;

/// Show what containers use of the host, every second
///
/// CPU % is of one CPU: two busy ones are 200 %. Memory is without the page cache that the kernel
/// takes back first.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Show those that do not run as well
    #[arg(short, long)]
    all: bool,
    /// Show once and end
    #[arg(long)]
    no_stream: bool,
    /// Show bytes, not the nearest unit
    #[arg(long)]
    original: bool,
    /// Print as table, json, "table TEMPLATE" or TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: &[Column] = &[
    ("Container", "CONTAINER"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("BlockIO", "BLOCK I / O"),
    ("PIDs", "PIDS"),
];

const FURTHER: &[Column] = &[("ID", "ID"), ("Name", "NAME")];

const INTERVAL: Duration = Duration::from_secs(1);
/// CPU time is a difference: long enough to be one.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) fn stats(session: &Session, args: &StatsArgs) -> Report {
    let mut before = round(session, args)?;
    let mut interval = FIRST_INTERVAL;
    // On a terminal each table takes the place of the last.
    let in_place = !args.no_stream && args.format.is_none() && std::io::stdout().is_terminal();
    loop {
        pause(interval)?;
        let now = round(session, args)?;
        let rows: Vec<Value> = now
            .iter()
            .map(|seen| {
                let earlier = before.iter().find(|one| one.id == seen.id).map(|one| &one.sample);
                row(&seen.id, &seen.name, &seen.sample, earlier, args.original)
            })
            .collect();
        let text = listing::render(args.format.as_deref(), COLUMNS, FURTHER, &rows)?;
        print(&if in_place { format!("\x1b[H\x1b[J{text}") } else { text })?;
        if args.no_stream {
            return Ok(Exit::DONE);
        }
        before = now;
        interval = INTERVAL;
    }
}

/// A container at one moment.
struct Seen {
    id: String,
    name: String,
    sample: Sample,
}

/// Those that were named, else those that run, looked for anew each time.
fn round(session: &Session, args: &StatsArgs) -> Result<Vec<Seen>> {
    let store = &session.engine.store;
    if args.containers.is_empty() {
        let look = |container: &Container| {
            let config = container.config().ok()?;
            let runs = args.all || container.state().ok()?.status.is_live();
            runs.then(|| (config.created.clone(), container.clone()))
        };
        let mut all: Vec<_> = store.list()?.iter().filter_map(look).collect();
        all.sort_by(|a, b| b.0.cmp(&a.0));
        // One that goes away while we look is no error.
        return Ok(all.iter().filter_map(|(_, container)| seen(container).ok()).collect());
    }
    let mut found = HashMap::new();
    let (mut rows, mut errors) = (vec![], vec![]);
    for name in &args.containers {
        let looked = store.find(name).map_err(Into::into).and_then(|one| seen(&one));
        match looked.with_context(|| format!("container {name}")) {
            Ok(seen) if found.insert(seen.id.clone(), ()).is_none() => rows.push(seen),
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
    }
    Many::check(errors)?;
    Ok(rows)
}

fn seen(container: &Container) -> Result<Seen> {
    let config = container.config()?;
    Ok(Seen {
        id: container.id.to_string(),
        name: shown(&config).to_owned(),
        sample: Sample::take(container)?,
    })
}

fn pause(time: Duration) -> Result<()> {
    let time = Timespec::try_from(time).context("wait")?;
    // Interrupted by a signal that is not the end of us, it is a little early.
    let _ = poll(&mut [], Some(&time));
    Ok(())
}
