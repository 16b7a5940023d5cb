//! Where `tracing` goes: `--log`, `--log-level`, `--log-format`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex};

use anyhow::{Context, Result};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime as _;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What the user chose.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A file to append to; stderr without one.
    pub file: Option<PathBuf>,
    /// How much is said.
    pub level: Level,
    /// For people or for programs.
    pub format: Format,
}

/// How much is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    /// What was asked did not happen.
    Error,
    /// Abnormal, but it went through.
    #[default]
    Warn,
    /// Lasting changes.
    Info,
    /// Steps.
    Debug,
    /// System calls.
    Trace,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
    /// A JSON object a line with `level`, `msg` and `time`, as engines read from OCI runtimes.
    Engine,
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The predecessor's nine levels, next to the usual five.
        Ok(match text.to_ascii_lowercase().as_str() {
            "error" | "fatal" | "alert" | "crit" => Self::Error,
            "warn" | "warning" => Self::Warn,
            "notice" | "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => {
                return Err(format!(
                    "unknown level {text:?}; use error, warn, info, debug or trace"
                ));
            }
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("unknown format {text:?}; use text or json")),
        }
    }
}

/// Sends events where `options` say, once a process.
pub fn init(options: &Options) -> Result<()> {
    let level = match options.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let open = |path: &PathBuf| {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        file.with_context(|| format!("open {}", path.display()))
    };
    let file = options.file.as_ref().map(open).transpose()?;
    let format = options.format;
    let late = Late { level, real: LazyLock::new(Box::new(move || build(level, format, file))) };
    // A second call finds a subscriber in place and leaves it: tests share a process.
    let _ = tracing::subscriber::set_global_default(late);
    Ok(())
}

type Real = Box<dyn Subscriber + Send + Sync>;

fn build(level: LevelFilter, format: Format, file: Option<File>) -> Real {
    // Whoever reads stderr knows the time.
    let has_time = file.is_some();
    let writer = match file {
        None => BoxMakeWriter::new(std::io::stderr),
        Some(file) => BoxMakeWriter::new(Mutex::new(file)),
    };
    let base = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let base = base.with_ansi(false).with_writer(writer);
    match format {
        Format::Text if has_time => Box::new(base.finish()),
        Format::Text => Box::new(base.without_time().finish()),
        Format::Json => Box::new(base.json().finish()),
        Format::Engine => Box::new(base.event_format(EngineRecord).finish()),
    }
}

/// The subscriber, made when there is something to say, which mostly there is not: a registry of
/// spans begins with 30 KiB, in each command and for the life of each supervisor.
struct Late {
    level: LevelFilter,
    real: LazyLock<Real, Box<dyn FnOnce() -> Real + Send>>,
}

impl Subscriber for Late {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        self.real.event(event);
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.real.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.real.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.real.record_follows_from(span, follows);
    }

    fn enter(&self, span: &Id) {
        self.real.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.real.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.real.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.real.try_close(id)
    }
}

/// [`Format::Engine`]: the message, then the event's fields as `name=value` in the same text.
struct EngineRecord;

impl<S, N> FormatEvent<S, N> for EngineRecord
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        let level = match *event.metadata().level() {
            tracing::Level::WARN => "warning".to_owned(),
            level => level.to_string().to_ascii_lowercase(),
        };
        let mut time = String::new();
        fmt::time::SystemTime.format_time(&mut Writer::new(&mut time))?;
        let record = serde_json::json!({ "level": level, "msg": text, "time": time });
        writeln!(writer, "{record}")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn levels_of_the_predecessor_are_known() {
        assert_eq!("FATAL".parse(), Ok(Level::Error));
        assert_eq!("NOTICE".parse(), Ok(Level::Info));
        expect![[r#"unknown level "loud"; use error, warn, info, debug or trace"#]]
            .assert_eq(&"loud".parse::<Level>().unwrap_err());
    }
}
