mod follow;
mod record;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write, stderr, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use container::layout::bundle;
use container::{Config, Container};
use ui::{Exit, Report};

use self::record::Record;
use super::Session;

/// Show what a container has said
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Show the last N lines only; negative is all
    #[arg(long, value_name = "N", default_value = "-1")]
    tail: i64,
    /// Show when it was said
    #[arg(short, long)]
    timestamps: bool,
    /// Name, id or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Where records go: each to the stream it came from.
struct Output {
    timestamps: bool,
}

pub(crate) fn logs(session: &Session, args: &LogsArgs) -> Report {
    let container = session.engine.store.find(&args.container)?;
    let config = container.config()?;
    if config.log.disabled {
        bail!("disable console log: container {} keeps none", container.id);
    }
    let path = path_of(&container, &config);
    let output = Output { timestamps: args.timestamps };
    // Opened before anything is read: what is said meanwhile is found by the follower.
    let current = open(&path)?;
    let mut older = older(&path, config.log.max_file)?;
    older.extend(current);
    let rest = match usize::try_from(args.tail) {
        Ok(lines) => tail(older, lines, &output)?,
        Err(_) => all(older, &output)?,
    };
    if args.follow {
        follow::follow(&container, &path, rest, &output)?;
    }
    Ok(Exit::DONE)
}

fn path_of(container: &Container, config: &Config) -> PathBuf {
    config.log.path.clone().unwrap_or_else(|| container.path(bundle::CONSOLE_LOG))
}

/// `None` when nothing was ever said.
fn open(path: &Path) -> Result<Option<BufReader<File>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("open {}", path.display())),
    }
}

/// The rotated files, the oldest first.
fn older(path: &Path, max_file: u32) -> Result<Vec<BufReader<File>>> {
    let mut files = vec![];
    for number in (1..max_file).rev() {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        files.extend(open(Path::new(&name))?);
    }
    Ok(files)
}

/// The file that is still written to, read to its end.
type Rest = Option<BufReader<File>>;

fn all(files: Vec<BufReader<File>>, output: &Output) -> Result<Rest> {
    let mut last = None;
    for mut file in files {
        while let Some(record) = next(&mut file)? {
            output.write(&record)?;
        }
        last = Some(file);
    }
    Ok(last)
}

/// A line may be several records; those of the last `count` lines are kept.
fn tail(files: Vec<BufReader<File>>, count: usize, output: &Output) -> Result<Rest> {
    let mut last = None;
    let mut kept: VecDeque<Record> = VecDeque::new();
    let mut ends = 0;
    for mut file in files {
        while let Some(record) = next(&mut file)? {
            ends += usize::from(record.ends_line());
            kept.push_back(record);
            let open_end = usize::from(kept.back().is_some_and(|record| !record.ends_line()));
            while ends + open_end > count {
                match kept.pop_front() {
                    Some(record) => ends -= usize::from(record.ends_line()),
                    None => break,
                }
                if kept.is_empty() {
                    break;
                }
            }
        }
        last = Some(file);
    }
    kept.iter().try_for_each(|record| output.write(record))?;
    Ok(last)
}

/// The next whole record; a line that is still being written is left for later.
fn next(file: &mut BufReader<File>) -> Result<Option<Record>> {
    loop {
        let mut line = vec![];
        let length = file.read_until(b'\n', &mut line).context("read the log")?;
        if length == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            let back = i64::try_from(length).context("a line is shorter than a file")?;
            file.seek_relative(-back).context("read the log")?;
            return Ok(None);
        }
        // A line that a full disk has cut is lost, not the rest of the log.
        if let Some(record) = Record::parse(&line) {
            return Ok(Some(record));
        }
    }
}

impl Output {
    fn write(&self, record: &Record) -> Result<()> {
        let mut text = Vec::with_capacity(record.text.len() + 40);
        if self.timestamps {
            text.extend_from_slice(record.time.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(record.text.as_bytes());
        let written = if record.is_stderr {
            stderr().lock().write_all(&text)
        } else {
            stdout().lock().write_all(&text).and_then(|()| stdout().lock().flush())
        };
        written.context("write the log")
    }
}
