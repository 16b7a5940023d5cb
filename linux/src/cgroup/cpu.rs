//! CPU time: weight, quota, burst and realtime; how much may be used and was.

use super::kernfs::read_text;
use super::plan::{Plan, Setting, unsupported};
use super::resources::{Bound, Cpu};
use super::{Cgroup, Place, Version};
use crate::error::{Context, Errno, Error, Result};

/// Bandwidth: so much CPU time in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuLimit {
    /// CPU time, of all CPUs together.
    pub quota_us: u64,
    /// In so much time; never 0.
    pub period_us: u64,
}

/// Used since the cgroup was made; each number only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuUsage {
    /// All CPU time.
    pub total_us: u64,
    /// In user mode.
    pub user_us: u64,
    /// In the kernel.
    pub system_us: u64,
    /// Periods in which something ran, where a quota is set.
    pub periods: u64,
    /// Periods in which the quota ran out.
    pub throttled_periods: u64,
    /// Time spent waiting for the next period.
    pub throttled_us: u64,
}

impl Cgroup {
    pub(super) fn plan_cpu(&self, cpu: &Cpu, plan: &mut Plan) -> Result<()> {
        let member = match cpu {
            Cpu { shares: Some(_), .. } => "cpu.shares",
            Cpu { quota_us: Some(_), .. } => "cpu.quota",
            Cpu { period_us: Some(_), .. } => "cpu.period",
            Cpu { burst_us: Some(_), .. } => "cpu.burst",
            Cpu { idle: Some(_), .. } => "cpu.idle",
            Cpu { realtime_runtime_us: Some(_), .. } => "cpu.realtimeRuntime",
            Cpu { realtime_period_us: Some(_), .. } => "cpu.realtimePeriod",
            _ => return Ok(()),
        };
        let place = self.place_for(member, "cpu")?;
        plan_weight(place, cpu, plan);
        match place.hierarchy.version {
            Version::V1 => plan_v1(place, cpu, plan),
            Version::V2 => plan_v2(place, cpu, plan)?,
        }
        Ok(())
    }

    /// The tightest bandwidth limit of the cgroup and those above it, as far as they can be seen.
    pub fn cpu_limit(&self) -> Result<Option<CpuLimit>> {
        let Some(place) = self.place_with("cpu") else { return Ok(None) };
        let mut tightest: Option<CpuLimit> = None;
        for dir in place.up_the_tree() {
            let text = match place.hierarchy.version {
                Version::V1 => read_text(&dir.join("cpu.cfs_quota_us")).and_then(|quota| {
                    Ok(format!("{quota} {}", read_text(&dir.join("cpu.cfs_period_us"))?))
                }),
                Version::V2 => read_text(&dir.join("cpu.max")),
            };
            let limit = match text {
                Ok(text) => parse_limit(&text),
                // The top has none, and a cgroup may vanish while we look.
                Err(Errno::NOENT | Errno::NODEV) => None,
                Err(errno) => {
                    return Err(Error::new(format!("read CPU limit of {}", dir.display()), errno));
                }
            };
            let tighter =
                |limit: &CpuLimit| tightest.is_none_or(|tightest| limit.ratio() < tightest.ratio());
            tightest = limit.filter(tighter).or(tightest);
        }
        Ok(tightest)
    }

    /// What the cgroup and those below it have used.
    pub fn cpu_usage(&self) -> Result<CpuUsage> {
        let mut usage = CpuUsage::default();
        // `cpu.stat` of the v2 tree counts time even where no controller is enabled.
        let accounting = self.place_with("cpuacct").or_else(|| self.unified());
        if let Some(place) = accounting {
            match place.hierarchy.version {
                Version::V2 => usage.add_stat_v2(&stat(place, "cpu.stat")?),
                Version::V1 => {
                    usage.total_us = number(&stat(place, "cpuacct.usage")?) / 1000;
                    // In ticks of 1/100 s; the split is coarser than the sum.
                    usage.user_us = keyed(&stat(place, "cpuacct.stat")?, "user") * 10_000;
                    usage.system_us = keyed(&stat(place, "cpuacct.stat")?, "system") * 10_000;
                }
            }
        }
        if let Some(place) = self.place_with("cpu").filter(|p| p.hierarchy.version == Version::V1) {
            let text = stat(place, "cpu.stat")?;
            usage.periods = keyed(&text, "nr_periods");
            usage.throttled_periods = keyed(&text, "nr_throttled");
            usage.throttled_us = keyed(&text, "throttled_time") / 1000;
        }
        Ok(usage)
    }
}

impl CpuLimit {
    /// For comparing: quota over period, in millionths.
    fn ratio(self) -> u128 {
        u128::from(self.quota_us) * 1_000_000 / u128::from(self.period_us)
    }
}

impl CpuUsage {
    fn add_stat_v2(&mut self, text: &str) {
        self.total_us = keyed(text, "usage_usec");
        self.user_us = keyed(text, "user_usec");
        self.system_us = keyed(text, "system_usec");
        self.periods = keyed(text, "nr_periods");
        self.throttled_periods = keyed(text, "nr_throttled");
        self.throttled_us = keyed(text, "throttled_usec");
    }
}

/// `QUOTA PERIOD`, with -1 or `max` for none.
fn parse_limit(text: &str) -> Option<CpuLimit> {
    let (quota, period) = text.split_once(' ')?;
    let limit = CpuLimit { quota_us: quota.parse().ok()?, period_us: period.parse().ok()? };
    Some(limit).filter(|limit| limit.period_us > 0)
}

fn stat(place: &Place, file: &str) -> Result<String> {
    let path = place.dir.join(file);
    read_text(&path).during(|| format!("read {}", path.display()))
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// The number behind `key` in lines of `KEY NUMBER`; 0 without one.
pub(super) fn keyed(text: &str, key: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

/// Weight and idle exclude each other in the kernel: an idle cgroup takes no weight
/// (sched_group_set_shares()).
fn plan_weight(place: &Place, cpu: &Cpu, plan: &mut Plan) {
    let idle = |value: bool| Setting::new("cpu.idle", "cpu.idle", u8::from(value));
    if let Some(shares) = cpu.shares {
        let is_idle = read_text(&place.dir.join("cpu.idle")).is_ok_and(|text| text == "1");
        if is_idle && cpu.idle.is_some() {
            plan.push(&place.dir, idle(false));
        }
        let setting = match place.hierarchy.version {
            Version::V1 => Setting::new("cpu.shares", "cpu.shares", shares),
            Version::V2 => Setting::new("cpu.shares", "cpu.weight", weight_of_shares(shares)),
        };
        plan.push(&place.dir, setting);
    }
    match cpu.idle {
        // Linux before 5.15 has no such file, and nothing there is idle.
        Some(false) if !place.dir.join("cpu.idle").exists() => {}
        Some(value) => plan.push(&place.dir, idle(value)),
        None => {}
    }
}

fn plan_v1(place: &Place, cpu: &Cpu, plan: &mut Plan) {
    let realtime = [
        cpu.realtime_period_us.map(|us| Setting::new("cpu.realtimePeriod", "cpu.rt_period_us", us)),
        cpu.realtime_runtime_us
            .map(|us| Setting::new("cpu.realtimeRuntime", "cpu.rt_runtime_us", us)),
    ];
    plan.group(&place.dir, realtime.into_iter().flatten());
    let bandwidth = [
        cpu.period_us.map(|us| Setting::new("cpu.period", "cpu.cfs_period_us", us)),
        cpu.quota_us.map(|us| Setting::new("cpu.quota", "cpu.cfs_quota_us", us.v1())),
        cpu.burst_us.map(|us| Setting::new("cpu.burst", "cpu.cfs_burst_us", us)),
    ];
    plan.group(&place.dir, bandwidth.into_iter().flatten());
}

fn plan_v2(place: &Place, cpu: &Cpu, plan: &mut Plan) -> Result<()> {
    const NONE: &str = "cgroup v2 has no realtime limits; leave it out";
    if let Some(us) = cpu.realtime_runtime_us {
        return Err(unsupported("cpu.realtimeRuntime", us, NONE));
    }
    if let Some(us) = cpu.realtime_period_us {
        return Err(unsupported("cpu.realtimePeriod", us, NONE));
    }
    let mut settings = Vec::new();
    match (cpu.quota_us, cpu.period_us) {
        (None, None) => {}
        (Some(quota), None) => settings.push(Setting::new("cpu.quota", "cpu.max", quota)),
        (quota, Some(period)) => {
            let member = if quota.is_some() { "cpu.quota" } else { "cpu.period" };
            let quota = match quota {
                Some(quota) => quota,
                None => current_quota(place)?,
            };
            settings.push(Setting::new(member, "cpu.max", format!("{quota} {period}")));
        }
    }
    if let Some(us) = cpu.burst_us {
        settings.push(Setting::new("cpu.burst", "cpu.max.burst", us));
    }
    plan.group(&place.dir, settings);
    Ok(())
}

fn current_quota(place: &Place) -> Result<Bound> {
    let text = stat(place, "cpu.max")?;
    Ok(parse_limit(&text).map_or(Bound::Max, |limit| Bound::At(limit.quota_us)))
}

/// `cpu.weight` for `cpu.shares`: 1 for 2, 10000 for 262144, and, unlike a straight line between
/// them, 100 for 1024, so that the usual value of the one is the usual value of the other. The
/// curve is the one runc and crun use.
fn weight_of_shares(shares: u64) -> u64 {
    let clamped = u32::try_from(shares.clamp(2, 262_144)).unwrap_or(262_144);
    let log = f64::from(clamped).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // A hair less, so that exact powers of ten do not round up.
    let weight = (10f64.powf(exponent) - 1e-6).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10000"
    )]
    let weight = weight as u64;
    weight.clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weight_on_the_curve() {
        for (shares, weight) in [
            (0, 1),
            (2, 1),
            (10, 4),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }

    #[test]
    fn a_limit_is_two_numbers() {
        let limit = |quota_us, period_us| Some(CpuLimit { quota_us, period_us });
        assert_eq!(parse_limit("50000 100000"), limit(50_000, 100_000));
        for text in ["max 100000", "-1 100000", "", "1 0"] {
            assert_eq!(parse_limit(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_matched_whole() {
        let text = "user_usec 5\nuser 7\n";
        assert_eq!(keyed(text, "user"), 7);
        assert_eq!(keyed(text, "system"), 0);
    }
}
