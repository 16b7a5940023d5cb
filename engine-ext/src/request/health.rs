//! Health checks: what was meant by the `--health-*` options.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use container::config::HealthCheck;

use super::size::integer;
use crate::cli::args::HealthArgs;

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

/// The check that was asked for, if one was.
pub fn parse(args: &HealthArgs) -> Result<Option<HealthCheck>> {
    let further = args.health_interval.is_some()
        || args.health_timeout.is_some()
        || args.health_start_period.is_some()
        || args.health_retries.is_some()
        || args.health_exit_on_unhealthy;
    if args.no_healthcheck {
        let conflict = further || args.health_cmd.is_some();
        ensure!(!conflict, "--no-healthcheck conflicts with --health-* options");
        return Ok(None);
    }
    let Some(command) = args.health_cmd.clone().filter(|command| !command.is_empty()) else {
        ensure!(!further, "--health-cmd required!");
        return Ok(None);
    };
    let retries = match args.health_retries.as_deref() {
        None => RETRIES,
        Some(text) => {
            let retries: i32 = integer("--health-retries", text)?;
            ensure!(retries >= 0, "--health-retries cannot be negative");
            if retries == 0 { RETRIES } else { retries.unsigned_abs() }
        }
    };
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Some(HealthCheck {
        command,
        interval_ms: ms(time("Interval", args.health_interval.as_deref(), INTERVAL)?),
        timeout_ms: ms(time("Timeout", args.health_timeout.as_deref(), TIMEOUT)?),
        start_period_ms: ms(time(
            "StartPeriod",
            args.health_start_period.as_deref(),
            Duration::ZERO,
        )?),
        retries,
        exit_on_unhealthy: args.health_exit_on_unhealthy,
    }))
}

/// 0 is the default.
fn time(what: &str, text: Option<&str>, default: Duration) -> Result<Duration> {
    let time = match text {
        None => return Ok(default),
        Some(text) => duration(text)?,
    };
    match time {
        Duration::ZERO => Ok(default),
        time if time < Duration::from_secs(1) => {
            bail!("{what} in Healthcheck cannot be less than one second")
        }
        time => Ok(time),
    }
}

/// `1h30m`, `10s`, `1500ms`.
pub fn duration(text: &str) -> Result<Duration> {
    let invalid = || anyhow::anyhow!("{text:?} is not a time; write it like 30s, 1m30s or 1500ms");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let ms = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            _ => None,
        };
        sum = ms
            .and_then(|ms| sum.checked_add(Duration::from_millis(ms)))
            .filter(|sum| sum.as_secs() < u64::from(u32::MAX))
            .ok_or_else(invalid)?;
        rest = tail;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut HealthArgs)) -> String {
        let mut args = HealthArgs { health_cmd: Some("true".to_owned()), ..HealthArgs::default() };
        change(&mut args);
        match parse(&args) {
            Ok(None) => "none".to_owned(),
            Ok(Some(check)) => format!(
                "{} {} {} {}",
                check.interval_ms, check.timeout_ms, check.start_period_ms, check.retries
            ),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn defaults_and_limits() {
        assert_eq!(check(|_| ()), "30000 30000 0 3");
        assert_eq!(check(|it| it.health_interval = Some("0".into())), "30000 30000 0 3");
        assert_eq!(check(|it| it.health_interval = Some("1m1s".into())), "61000 30000 0 3");
        assert_eq!(check(|it| it.health_retries = Some("7".into())), "30000 30000 0 7");
        assert_eq!(check(|it| it.health_cmd = None), "none");
        assert_eq!(
            check(|it| it.health_interval = Some("999ms".into())),
            "Interval in Healthcheck cannot be less than one second"
        );
        assert_eq!(
            check(|it| it.health_timeout = Some("1".into())),
            "\"1\" is not a time; write it like 30s, 1m30s or 1500ms"
        );
        assert_eq!(
            check(|it| it.health_retries = Some("-1".into())),
            "--health-retries cannot be negative"
        );
        assert_eq!(
            check(|it| {
                it.health_cmd = None;
                it.health_retries = Some("1".into());
            }),
            "--health-cmd required!"
        );
        assert_eq!(
            check(|it| it.no_healthcheck = true),
            "--no-healthcheck conflicts with --health-* options"
        );
    }

    #[test]
    fn times() {
        assert_eq!(duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(duration("1500ms").unwrap(), Duration::from_millis(1500));
        for wrong in ["", "s", "5", "5d", "-5s", "9999999999h", "1.5s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
