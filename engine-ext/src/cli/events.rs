use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::time::Timespec;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use ui::template::Template;
use ui::{Exit, Report};

use super::{Session, print};
use crate::events::Events;

/// Show what happens to containers, as it happens
///
/// Of the past, as much as is kept since the host booted: some ten thousand events.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Show those of one container, by name or id
    #[arg(short, long, value_name = "CONTAINER")]
    name: Option<String>,
    /// Begin in the past: RFC 3339, Unix time, or 10m ago
    #[arg(short = 'S', long, value_name = "TIME")]
    since: Option<String>,
    /// End then; in the past it is all that is shown
    #[arg(short = 'U', long, value_name = "TIME")]
    until: Option<String>,
    /// Print as json (a line each) or TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// What of it is shown, and how.
struct Wanted {
    name: Option<String>,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
    form: Form,
}

enum Form {
    Line,
    Json,
    Template(Template),
}

pub(crate) fn events(session: &Session, args: &EventsArgs) -> Report {
    let now = OffsetDateTime::now_utc();
    let time = |text: &Option<String>| text.as_deref().map(|text| time_of(text, now)).transpose();
    let form = match args.format.as_deref() {
        None => Form::Line,
        Some("json") => Form::Json,
        Some(template) => Form::Template(Template::parse(template)?),
    };
    let (since, until) = (time(&args.since)?, time(&args.until)?);
    let wanted = Wanted { name: args.name.clone(), since, until, form };
    let layout = session.engine.store.layout();
    let log = Events::of(layout);
    std::fs::create_dir_all(layout.state()).context("make the state directory")?;
    let watch =
        inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context("watch the events")?;
    let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, layout.state(), changes).context("watch the events")?;

    let mut current = open(log.path())?;
    if wanted.since.is_some() || wanted.until.is_some() {
        if let Some(mut earlier) = open(&log.earlier())? {
            show_rest(&mut earlier, &wanted)?;
        }
    } else if let Some(file) = &mut current {
        file.seek(SeekFrom::End(0)).context("read the events")?;
    }
    loop {
        catch_up(&mut current, &log, &wanted)?;
        let left = match wanted.until.map(|until| until - OffsetDateTime::now_utc()) {
            Some(left) if !left.is_positive() => return Ok(Exit::DONE),
            Some(left) => left.unsigned_abs(),
            None => Duration::from_secs(3600),
        };
        let left = Timespec::try_from(left).ok();
        // Interrupted, it looks once more than it had to.
        let _ = poll(&mut [PollFd::new(&watch, PollFlags::IN)], left.as_ref());
        let mut buffer = [0; 4096];
        while matches!(rustix::io::read(&watch, &mut buffer), Ok(1..)) {}
    }
}

/// To the end of the file, and over to the next where it was renamed.
fn catch_up(current: &mut Option<BufReader<File>>, log: &Events, wanted: &Wanted) -> Result<()> {
    loop {
        if let Some(file) = current {
            show_rest(file, wanted)?;
            if is_named(file.get_ref(), log.path()) {
                return Ok(());
            }
            // Whoever opened it before it was renamed has written by now.
            show_rest(file, wanted)?;
        }
        match open(log.path())? {
            None => return Ok(()),
            next => *current = next,
        }
    }
}

fn show_rest(file: &mut BufReader<File>, wanted: &Wanted) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if file.read_line(&mut line).context("read the events")? == 0 {
            return Ok(());
        }
        // A line that was cut by a full disk is no event.
        if let Ok(event) = serde_json::from_str::<Value>(&line)
            && wanted.admits(&event)
        {
            print(&wanted.form.show(&event)?)?;
        }
    }
}

fn open(path: &Path) -> Result<Option<BufReader<File>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("open {}", path.display())),
    }
}

fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
        _ => true,
    }
}

impl Wanted {
    fn admits(&self, event: &Value) -> bool {
        let time =
            event["time"].as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let Some(time) = time else { return false };
        let of_name = self.name.as_deref().is_none_or(|name| {
            let id = event["id"].as_str().unwrap_or_default();
            event["attributes"]["name"] == name || (!name.is_empty() && id.starts_with(name))
        });
        of_name
            && self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time <= until)
    }
}

impl Form {
    /// `TIME container ACTION ID (KEY=VALUE, ...)`.
    fn show(&self, event: &Value) -> Result<String> {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let line = match self {
            Self::Json => event.to_string(),
            Self::Template(template) => template.render(event)?,
            Self::Line => {
                let attributes = event["attributes"].as_object().into_iter().flatten();
                let attributes: Vec<String> = attributes
                    .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                    .collect();
                let [time, kind, action, id] = ["time", "type", "action", "id"].map(text);
                format!("{time} {kind} {action} {id} ({})", attributes.join(", "))
            }
        };
        Ok(ui::escape::line(&line).into_owned() + "\n")
    }
}

/// RFC 3339, seconds since 1970, or that long ago.
fn time_of(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    if let Ok(seconds) = text.parse::<f64>()
        && let Ok(span) = Duration::try_from_secs_f64(seconds)
    {
        return Ok(OffsetDateTime::UNIX_EPOCH + span);
    }
    match crate::request::health::duration(text) {
        Ok(ago) => Ok(now - ago),
        Err(_) => bail!(
            "{text:?} is not a time; write it like 2026-01-31T12:00:00Z, 1769860800 or 10m (ago)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        let seconds = |text: &str| time_of(text, now).unwrap().unix_timestamp();
        assert_eq!(seconds("1970-01-01T00:01:40Z"), 100);
        assert_eq!(seconds("100.5"), 100);
        assert_eq!(seconds("10m"), 999_400);
        assert_eq!(
            time_of("soon", now).unwrap_err().to_string(),
            "\"soon\" is not a time; write it like 2026-01-31T12:00:00Z, 1769860800 or 10m (ago)"
        );
    }

    #[test]
    fn a_line_tells_what_when_and_to_whom() {
        let event = json!({
            "time": "2026-01-31T12:00:00Z", "type": "container", "action": "exit", "id": "abc",
            "attributes": { "name": "web", "exitCode": "0" },
        });
        assert_eq!(
            Form::Line.show(&event).unwrap(),
            "2026-01-31T12:00:00Z container exit abc (name=web, exitCode=0)\n"
        );
        let wanted = |name: &str| Wanted {
            name: Some(name.to_owned()),
            since: None,
            until: None,
            form: Form::Line,
        };
        assert!(wanted("web").admits(&event) && wanted("ab").admits(&event));
        assert!(!wanted("db").admits(&event));
    }
}
