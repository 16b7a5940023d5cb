//! What a container uses at one moment, and what that is in words.

use std::time::Instant;

use anyhow::Result;
use container::running::Standing;
use container::{Container, Running};
use linux::cgroup::Cgroup;
use serde_json::{Value, json};

/// Numbers read together; all 0 for a container that does not run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    at: Instant,
    cpu_us: u64,
    memory: u64,
    memory_limit: u64,
    read: u64,
    written: u64,
    tasks: u64,
}

impl Sample {
    pub(super) fn take(container: &Container) -> Result<Self> {
        match Running::of(container)? {
            Standing::Running(running) => Self::of(running.cgroup()?),
            Standing::Stopped | Standing::Starting => Ok(Self::nothing()),
        }
    }

    fn nothing() -> Self {
        let at = Instant::now();
        Self { at, cpu_us: 0, memory: 0, memory_limit: 0, read: 0, written: 0, tasks: 0 }
    }

    fn of(cgroup: &Cgroup) -> Result<Self> {
        let host = linux::file::read_to_string("/proc/meminfo")?;
        let total = host.lines().find_map(|line| {
            let kibibytes = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?;
            Some(kibibytes.parse::<u64>().ok()? << 10)
        });
        let total = total.unwrap_or(0);
        let cache = cgroup.memory_stat()?.map_or(0, |stat| stat.inactive_file);
        let disks = cgroup.block_usage()?;
        let sum = |number: fn(&linux::cgroup::BlockUsage) -> u64| disks.values().map(number).sum();
        Ok(Self {
            at: Instant::now(),
            cpu_us: cgroup.cpu_usage()?.total_us,
            memory: cgroup.memory_usage()?.unwrap_or(0).saturating_sub(cache),
            memory_limit: cgroup.memory_limit()?.unwrap_or(total).min(total),
            read: sum(|disk| disk.read_bytes),
            written: sum(|disk| disk.write_bytes),
            tasks: cgroup.pids()?.map_or(0, |pids| pids.current),
        })
    }
}

/// The row of a container: numbers for programs, words for people.
pub(super) fn row(
    id: &str,
    name: &str,
    now: &Sample,
    before: Option<&Sample>,
    original: bool,
) -> Value {
    let size = |bytes: u64| if original { bytes.to_string() } else { human(bytes) };
    let cpu = before.map_or(0.0, |before| {
        let passed = now.at.saturating_duration_since(before.at).as_micros();
        percent(now.cpu_us.saturating_sub(before.cpu_us), u64::try_from(passed).unwrap_or(0))
    });
    let memory = percent(now.memory, now.memory_limit);
    json!({
        "Container": id.get(..12).unwrap_or(id),
        "ID": id,
        "Name": name,
        "CPUPerc": format!("{cpu:.2}%"),
        "MemUsage": format!("{} / {}", size(now.memory), size(now.memory_limit)),
        "MemPerc": format!("{memory:.2}%"),
        "BlockIO": format!("{} / {}", size(now.read), size(now.written)),
        "PIDs": now.tasks,
        "CPUPercent": round(cpu),
        "MemoryUsage": now.memory,
        "MemoryLimit": now.memory_limit,
        "MemoryPercent": round(memory),
        "BlockRead": now.read,
        "BlockWrite": now.written,
    })
}

#[expect(clippy::cast_precision_loss, reason = "two decimals of a percentage")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// To three digits, in powers of 1024.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes}B");
    }
    let hundredths = (u128::from(bytes) * 100) >> (10 * unit);
    match hundredths {
        0..1000 => format!("{}.{:02}{}", hundredths / 100, hundredths % 100, UNITS[unit]),
        1000..10_000 => format!("{}.{}{}", hundredths / 100, hundredths % 100 / 10, UNITS[unit]),
        _ => format!("{}{}", hundredths / 100, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00KiB"),
            (64 << 20, "64.0MiB"),
            (3_940_000, "3.75MiB"),
            (200 << 30, "200GiB"),
            (u64::MAX, "16777215TiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn cpu_is_of_the_time_that_passed() {
        let before = Sample { cpu_us: 1_000_000, ..Sample::nothing() };
        let after = Sample {
            at: before.at + Duration::from_secs(1),
            cpu_us: 2_500_000,
            memory: 32 << 20,
            memory_limit: 64 << 20,
            tasks: 3,
            ..before
        };
        let row = row(&"a".repeat(64), "web", &after, Some(&before), false);
        assert_eq!(row["CPUPerc"], "150.00%");
        assert_eq!(row["MemUsage"], "32.0MiB / 64.0MiB");
        assert_eq!(row["MemPerc"], "50.00%");
        assert_eq!(row["Container"], "a".repeat(12));
        assert_eq!(row["CPUPercent"], 150.0);
    }
}
