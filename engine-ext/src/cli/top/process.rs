//! One process as ps(1) shows it, from `/proc/PID` (proc_pid_stat(5)).

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context, Result};
use linux::process::Pid;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::cli::listing::Column;

/// Everything there is to show.
pub(super) const COLUMNS: &[Column] = &[
    ("UID", "UID"),
    ("PID", "PID"),
    ("PPID", "PPID"),
    ("C", "C"),
    ("STIME", "STIME"),
    ("TTY", "TTY"),
    ("TIME", "TIME"),
    ("CMD", "CMD"),
    ("COMMAND", "COMMAND"),
    ("S", "S"),
    ("RSS", "RSS"),
    ("VSZ", "VSZ"),
    ("NLWP", "NLWP"),
];

/// What `ps -o` calls them.
const NAMES: &[(&str, &str)] = &[
    ("uid", "UID"),
    ("user", "UID"),
    ("pid", "PID"),
    ("ppid", "PPID"),
    ("c", "C"),
    ("pcpu", "C"),
    ("stime", "STIME"),
    ("tty", "TTY"),
    ("time", "TIME"),
    ("cmd", "CMD"),
    ("args", "CMD"),
    ("command", "CMD"),
    ("comm", "COMMAND"),
    ("s", "S"),
    ("stat", "S"),
    ("rss", "RSS"),
    ("vsz", "VSZ"),
    ("nlwp", "NLWP"),
];

/// When the host booted, and how long ago.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    boot: i64,
    uptime: u64,
}

/// A process, its times in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    uid: u32,
    stat: Stat,
    arguments: String,
}

/// The fields of `/proc/PID/stat` that are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    comm: String,
    state: String,
    ppid: i32,
    terminal: u32,
    cpu: u64,
    threads: u64,
    started: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// The field that `ps -o NAME` shows.
pub(super) fn field(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
}

/// All names, for a message.
pub(super) fn names() -> String {
    NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl Clock {
    pub(super) fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        let uptime = fs::read_to_string("/proc/uptime").context("read /proc/uptime")?;
        let uptime = uptime.split('.').next().and_then(|seconds| seconds.parse().ok());
        Ok(Self {
            boot: boot.context("find btime in /proc/stat")?,
            uptime: uptime.context("read the number in /proc/uptime")?,
        })
    }
}

impl Process {
    /// `None` once it has ended.
    pub(super) fn read(pid: Pid) -> Option<Self> {
        let directory = format!("/proc/{pid}");
        let uid = fs::metadata(&directory).ok()?.uid();
        let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
        let words = fs::read(format!("{directory}/cmdline")).ok()?;
        let stat = Stat::parse(&stat, rustix::param::clock_ticks_per_second())?;
        let words = String::from_utf8_lossy(&words);
        let arguments = match words.trim_end_matches('\0') {
            "" => format!("[{}]", stat.comm),
            words => words.replace('\0', " "),
        };
        Some(Self { pid: pid.get(), uid, stat, arguments })
    }

    pub(super) fn cell(
        &self,
        field: &str,
        clock: &Clock,
        now: OffsetDateTime,
        users: &HashMap<u32, String>,
    ) -> String {
        let stat = &self.stat;
        match field {
            "UID" => users.get(&self.uid).cloned().unwrap_or_else(|| self.uid.to_string()),
            "PID" => self.pid.to_string(),
            "PPID" => stat.ppid.to_string(),
            "C" => {
                let lived = clock.uptime.saturating_sub(stat.started).max(1);
                (stat.cpu * 100 / lived).min(99).to_string()
            }
            "STIME" => started(clock.boot, stat.started, now),
            "TTY" => terminal(stat.terminal),
            "TIME" => {
                let (minutes, seconds) = (stat.cpu / 60, stat.cpu % 60);
                format!("{:02}:{:02}:{seconds:02}", minutes / 60, minutes % 60)
            }
            "CMD" => self.arguments.clone(),
            "COMMAND" => stat.comm.clone(),
            "S" => stat.state.clone(),
            "RSS" => ((stat.resident_pages * rustix::param::page_size() as u64) >> 10).to_string(),
            "VSZ" => (stat.virtual_bytes >> 10).to_string(),
            "NLWP" => stat.threads.to_string(),
            _ => String::new(),
        }
    }
}

impl Stat {
    fn parse(text: &str, ticks: u64) -> Option<Self> {
        // The name is in parentheses and may hold anything, parentheses too.
        let (before, after) = text.rsplit_once(')')?;
        let comm = before.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        // The first of them is the third of the manual page.
        let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
        let seconds = |n: usize| Some(number(n)? / ticks);
        Some(Self {
            comm,
            state: (*fields.first()?).to_owned(),
            ppid: fields.get(1)?.parse().ok()?,
            terminal: fields.get(4)?.parse::<i32>().ok()?.cast_unsigned(),
            cpu: (number(14)? + number(15)?) / ticks,
            threads: number(20)?,
            started: seconds(22)?,
            virtual_bytes: number(23)?,
            resident_pages: number(24)?,
        })
    }
}

/// The hour of one that started within a day, else the date.
fn started(boot: i64, after: u64, now: OffsetDateTime) -> String {
    let time = i64::try_from(after).ok().and_then(|after| boot.checked_add(after));
    let Some(time) = time.and_then(|time| OffsetDateTime::from_unix_timestamp(time).ok()) else {
        return "?".to_owned();
    };
    let text = if (now - time).whole_hours() < 24 {
        time.format(format_description!("[hour]:[minute]"))
    } else {
        time.format(format_description!("[month repr:short][day]"))
    };
    text.unwrap_or_else(|_| "?".to_owned())
}

/// tty_nr: the minor number in bits 31 to 20 and 7 to 0, the major in 15 to 8.
fn terminal(number: u32) -> String {
    let (major, minor) = (number >> 8 & 0xff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SH: &str = "22166 (a) (sh) S 22163 22166 22166 34817 22166 4194304 1 0 0 0 250 150 0 0 \
                      20 0 3 0 5000 4096000 100 18446744073709551615";

    #[test]
    fn a_line_of_stat_is_read_whatever_the_name() {
        let stat = Stat::parse(SH, 100).unwrap();
        let expected = Stat {
            comm: "a) (sh".to_owned(),
            state: "S".to_owned(),
            ppid: 22163,
            terminal: 34817,
            cpu: 4,
            threads: 3,
            started: 50,
            virtual_bytes: 4_096_000,
            resident_pages: 100,
        };
        assert_eq!(stat, expected);
        assert_eq!(Stat::parse("1 (x", 100), None);
    }

    #[test]
    fn cells_are_those_of_ps() {
        let stat = Stat::parse(SH, 100).unwrap();
        let process = Process { pid: 22166, uid: 0, stat, arguments: "sh -c x".to_owned() };
        let clock = Clock { boot: 1_700_000_000, uptime: 150 };
        let users = HashMap::from([(0, "root".to_owned())]);
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_150).unwrap();
        let row = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
            .map(|field| process.cell(field, &clock, now, &users))
            .join(" ");
        assert_eq!(row, "root 22166 22163 4 22:14 pts/1 00:00:04 sh -c x");
        let later = now + time::Duration::days(3);
        assert_eq!(process.cell("STIME", &clock, later, &users), "Nov14");
    }

    #[test]
    fn terminals_have_names() {
        assert_eq!(terminal(0), "?");
        assert_eq!(terminal(0x0401), "tty1");
        assert_eq!(terminal(0x0440), "ttyS0");
        assert_eq!(terminal(0x8802), "pts/2");
    }
}
