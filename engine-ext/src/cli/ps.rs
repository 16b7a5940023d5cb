use anyhow::{Result, anyhow, bail};
use clap::Args;
use container::{Config, State, Status};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use ui::{Exit, Report};

use super::{Session, listing, print};
use crate::lifecycle::{runtime_name, shown};

/// List containers
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// List those that do not run as well
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// List those only: id=, name=, label=, status=, last_n=
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print as table, json, "table TEMPLATE" or TEMPLATE
    ///
    /// Example: --format "table {{.ID}} {{.Image}}"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not shorten ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// List the last N, running or not
    #[arg(short = 'n', long = "last", value_name = "N")]
    last: Option<usize>,
    /// List the last one, running or not
    #[arg(short, long)]
    latest: bool,
}

/// What is known of one container.
struct Row {
    config: Config,
    state: State,
}

#[derive(Default)]
struct Filter {
    ids: Vec<String>,
    names: Vec<String>,
    labels: Vec<String>,
    statuses: Vec<String>,
    last: Option<usize>,
}

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "ID"),
    ("Image", "IMAGE"),
    ("Status", "STATUS"),
    ("Pid", "PID"),
    ("Command", "COMMAND"),
    ("ExitCode", "EXIT CODE"),
    ("RestartCount", "RESTART COUNT"),
    ("StartAt", "STARTAT"),
    ("FinishAt", "FINISHAT"),
    ("Runtime", "RUNTIME"),
    ("Names", "NAMES"),
];

/// Shown when they are asked for.
const FURTHER: &[(&str, &str)] = &[("Created", "CREATED"), ("State", "STATE"), ("Ports", "PORTS")];

const COMMAND_WIDTH: usize = 20;

pub(crate) fn ps(session: &Session, args: &PsArgs) -> Report {
    let mut filter = Filter::parse(&args.filter)?;
    filter.last = filter.last.or(args.last).or(args.latest.then_some(1));
    let mut rows = vec![];
    for container in session.engine.store.list()? {
        // One that goes away while we look is no error.
        if let (Ok(config), Ok(state)) = (container.config(), container.state()) {
            rows.push(Row { config, state });
        }
    }
    // RFC 3339 in UTC sorts as text.
    rows.sort_by(|a, b| b.config.created.cmp(&a.config.created));
    let every = args.all || filter.last.is_some() || !filter.statuses.is_empty();
    rows.retain(|row| (every || row.state.status.is_live()) && filter.admits(row));
    rows.truncate(filter.last.unwrap_or(usize::MAX));
    let now = OffsetDateTime::now_utc();
    let values: Vec<Value> = rows.iter().map(|row| row.value(args.no_trunc, now)).collect();
    print(&render(args, &rows, &values)?)?;
    Ok(Exit::DONE)
}

fn render(args: &PsArgs, rows: &[Row], values: &[Value]) -> Result<String> {
    if args.quiet {
        let id = |row: &Row| match args.no_trunc {
            true => format!("{}\n", row.config.id),
            false => format!("{}\n", row.config.id.short()),
        };
        return Ok(rows.iter().map(id).collect());
    }
    listing::render(args.format.as_deref(), COLUMNS, FURTHER, values)
}

impl Row {
    fn value(&self, whole: bool, now: OffsetDateTime) -> Value {
        let Self { config, state } = self;
        let health = state.health.as_ref().filter(|_| state.status == Status::Running);
        let status = health.map_or_else(
            || state.status.word().to_owned(),
            |health| format!("{} ({})", state.status.word(), health.status.word()),
        );
        let mut command = config.process.args.join(" ");
        if !whole && command.chars().count() > COMMAND_WIDTH {
            command = command.chars().take(COMMAND_WIDTH - 3).collect::<String>() + "...";
        }
        json!({
            "ID": if whole { config.id.as_str() } else { config.id.short() },
            "Image": config.image,
            "Status": status,
            "State": state.status.word(),
            "Pid": state.pid.unwrap_or(0),
            "Command": format!("\"{command}\""),
            "ExitCode": state.exit_code,
            "RestartCount": state.restart_count + state.reboot_count,
            "StartAt": ago(&state.started_at, now),
            "FinishAt": ago(&state.finished_at, now),
            "Created": ago(&config.created, now),
            "Runtime": runtime_name(config),
            "Names": if whole { config.name.as_str() } else { shown(config) },
            "Ports": ports(state),
        })
    }
}

/// `0.0.0.0:8080->80/tcp`, each.
fn ports(state: &State) -> String {
    let ports = state.network.iter().flat_map(|lease| &lease.ports);
    ports.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `13 minutes ago`; `-` for never.
fn ago(time: &str, now: OffsetDateTime) -> String {
    let Ok(then) = OffsetDateTime::parse(time, &Rfc3339) else { return "-".to_owned() };
    let seconds = (now - then).whole_seconds().max(0);
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

impl Filter {
    fn parse(texts: &[String]) -> Result<Self> {
        let mut filter = Self::default();
        for text in texts {
            let invalid =
                || anyhow!("Invalid filter '{text}'; use id=, name=, label=, status= or last_n=");
            let (key, value) = text.split_once('=').ok_or_else(invalid)?;
            let value = value.to_owned();
            match key {
                "id" => filter.ids.push(value),
                "name" => filter.names.push(value),
                "label" => filter.labels.push(value),
                "status" if STATUSES.contains(&value.as_str()) => filter.statuses.push(value),
                "status" => bail!(
                    "Unrecognised filter value for status: {value}; use {}",
                    STATUSES.join(", ")
                ),
                "last_n" => filter.last = Some(value.parse().map_err(|_| invalid())?),
                _ => return Err(invalid()),
            }
        }
        Ok(filter)
    }

    /// Values of one key are alternatives, labels and keys are all wanted.
    fn admits(&self, row: &Row) -> bool {
        let any = |wanted: &[String], test: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|value| test(value))
        };
        let config = &row.config;
        let labelled = |label: &String| match label.split_once('=') {
            Some((key, value)) => config.labels.get(key).is_some_and(|own| own == value),
            None => config.labels.contains_key(label),
        };
        any(&self.ids, &|id| config.id.as_str().starts_with(id))
            && any(&self.names, &|name| config.name.as_str().contains(name))
            && any(&self.statuses, &|status| {
                row.state.status.word() == if status == "created" { "inited" } else { status }
            })
            && self.labels.iter().all(labelled)
    }
}

const STATUSES: &[&str] =
    &["inited", "created", "starting", "running", "exited", "paused", "restarting"];
