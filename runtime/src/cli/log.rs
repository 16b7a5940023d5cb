//! `--log FILE --log-format json`: the records that engines read. One object a line with `level`,
//! `msg` and `time`; the last one of level `error` is what their users are shown.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Global, LogFormat};

/// The file of errors.
#[derive(Debug)]
pub(super) struct Records {
    file: Option<PathBuf>,
    json: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    level: &'a str,
    msg: &'a str,
    time: &'a str,
}

impl Records {
    pub(super) fn new(global: &Global) -> Self {
        Self { file: global.log.clone(), json: global.log_format == LogFormat::Json }
    }

    /// Adds an error. Failing to is not told: the error itself is, on stderr.
    pub(super) fn error(&self, error: &anyhow::Error) {
        let Some(path) = &self.file else { return };
        let msg = ui::report::chain(error);
        let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let line = if self.json {
            serde_json::to_string(&Record { level: "error", msg: &msg, time: &time })
                .unwrap_or_default()
        } else {
            format!("time={time:?} level=error msg={msg:?}")
        };
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let _ = file.and_then(|mut file| file.write_all((line + "\n").as_bytes()));
    }
}

/// Where events go. With a file for engines warnings go there too, in its own shape; without one to
/// stderr, where a warning among the answer would be read as part of it: errors alone.
pub(super) fn init(global: &Global) -> Result<()> {
    let level = if global.debug { "debug" } else { &global.log_level };
    let level: ui::log::Level =
        level.parse().map_err(|error: String| anyhow!("--log-level: {error}"))?;
    let quiet = global.log.is_none() && level == ui::log::Level::Warn;
    ui::log::init(&ui::log::Options {
        file: global.log.clone(),
        level: if quiet { ui::log::Level::Error } else { level },
        format: match global.log_format {
            LogFormat::Json => ui::log::Format::Engine,
            LogFormat::Text => ui::log::Format::Text,
        },
    })
}
