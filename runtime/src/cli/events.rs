//! events: what a container uses, once or again and again, in the shape that runc's callers read.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use linux::cgroup::Cgroup;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use serde_json::{Value, json};
use ui::{Exit, Report};

use super::{Session, print};
use crate::Error;

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Once, and end
    #[arg(long)]
    stats: bool,
    /// Seconds between two reports: 5s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    interval: String,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) fn events(session: &Session, args: &EventsArgs) -> Report {
    let interval = parse_interval(&args.interval)?;
    // Held, so that the wait ends with the container.
    let init = session.runtime.hold_init(&args.id)?;
    loop {
        let Some(cgroup) = session.runtime.cgroup(&args.id)? else {
            return Err(not_running(&args.id).into());
        };
        let data = stats(&cgroup)?;
        let line = json!({ "type": "stats", "id": args.id, "data": data });
        print(&format!("{line}\n"))?;
        if args.stats {
            return Ok(Exit::DONE);
        }
        let span = Timespec::try_from(interval).ok();
        let ended = poll(&mut [PollFd::new(&init, PollFlags::IN)], span.as_ref());
        if ended.context("wait for the container")? > 0 {
            return Ok(Exit::DONE);
        }
    }
}

fn not_running(id: &str) -> Error {
    Error::NotRunning { id: id.to_owned(), status: crate::Status::Stopped }
}

fn stats(cgroup: &Cgroup) -> Result<Value> {
    let cpu = cgroup.cpu_usage()?;
    let memory = json!({
        "usage": {
            "usage": cgroup.memory_usage()?.unwrap_or(0),
            "max": cgroup.memory_peak()?.unwrap_or(0),
            "limit": cgroup.memory_limit()?.unwrap_or(u64::MAX),
        },
    });
    let pids = cgroup.procs()?.len();
    Ok(json!({
        "cpu": {
            "usage": { "total": cpu.total_us * 1000, "user": cpu.user_us * 1000, "kernel": cpu.system_us * 1000 },
        },
        "memory": memory,
        "pids": { "current": pids },
    }))
}

/// Seconds, with or without the `s` that engines written in Go put behind them, or `ms` or `m`.
fn parse_interval(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let number: u64 =
        digits.parse().ok().filter(|number| *number > 0).ok_or_else(|| wrong(text))?;
    match unit {
        "" | "s" => Ok(Duration::from_secs(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(|| wrong(text)),
        _ => Err(wrong(text)),
    }
}

fn wrong(text: &str) -> anyhow::Error {
    anyhow!("--interval {text:?}: use a number of seconds above 0, as 5s")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(parse_interval("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(parse_interval("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_interval("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(parse_interval("7").unwrap(), Duration::from_secs(7));
        for text in ["", "s", "0s", "-1s", "1h"] {
            parse_interval(text).unwrap_err();
        }
        expect![[r#"--interval "0s": use a number of seconds above 0, as 5s"#]]
            .assert_eq(&parse_interval("0s").unwrap_err().to_string());
    }
}
