//! How much CPU a cgroup may use and has used.

use super::Version;
use crate::{cpuset::CpuSet, text};

/// One CPU in millionths.
const MICRO: u64 = 1_000_000;

/// What a container may use at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuBudget {
    /// The host's CPUs the container sees, ascending; at least one.
    pub cpus: Vec<u32>,
    /// Their exact worth in millionths of a CPU: 1.5 CPUs of quota are 1 500 000 on 2 CPUs.
    pub micro_cpus: u64,
}

impl CpuBudget {
    /// Visible CPUs from the effective mask and the tightest quota (millionths of a CPU).
    ///
    /// A quota of 1.5 shows two CPUs: a program that starts one thread a CPU can then use all of
    /// it. Never fewer than one.
    pub fn new(mask: &CpuSet, quota: Option<u64>) -> CpuBudget {
        let mask_worth = (mask.len().max(1) as u64).saturating_mul(MICRO);
        let micro_cpus = quota.unwrap_or(u64::MAX).min(mask_worth).max(1);
        let count = usize::try_from(micro_cpus.div_ceil(MICRO)).unwrap_or(usize::MAX);
        let mut cpus: Vec<u32> = mask.iter().take(count).collect();
        if cpus.is_empty() {
            cpus.push(0);
        }
        CpuBudget { cpus, micro_cpus }
    }

    /// How many CPUs are visible.
    pub fn count(&self) -> usize {
        self.cpus.len()
    }
}

/// `cpu.max`: quota and period in one file; the answer in millionths of a CPU.
pub fn parse_cpu_max(file: &[u8]) -> Option<u64> {
    let mut parts = text::words(file);
    let quota = text::number(parts.next()?)?;
    let period = parts.next().and_then(text::number).unwrap_or(100_000);
    ratio(quota, period)
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us`; a quota of -1 is none.
pub fn parse_cfs(quota: &[u8], period: &[u8]) -> Option<u64> {
    ratio(text::number(quota)?, text::number(period)?)
}

fn ratio(quota: u64, period: u64) -> Option<u64> {
    (period > 0 && quota > 0).then(|| quota.saturating_mul(MICRO) / period)
}

/// What a cgroup has used since it exists, in microseconds; each number only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// In programs, niced ones included.
    pub user: u64,
    /// Of `user`, by niced programs; known on v2 since Linux 6.12.
    pub nice: u64,
    /// In the kernel.
    pub system: u64,
    /// Waiting because the quota was used up.
    pub throttled: u64,
}

impl CpuUsage {
    /// v2 `cpu.stat`.
    pub fn parse_stat(file: &[u8]) -> CpuUsage {
        let mut usage = CpuUsage::default();
        for (key, value) in text::pairs(file) {
            match key {
                b"user_usec" => usage.user = value,
                b"system_usec" => usage.system = value,
                b"nice_usec" => usage.nice = value,
                b"throttled_usec" => usage.throttled = value,
                _ => {}
            }
        }
        usage
    }

    /// v1 `cpuacct.stat`, in ticks of a hundredth of a second (USER_HZ).
    pub fn parse_acct(file: &[u8]) -> CpuUsage {
        const TICK_US: u64 = 10_000;
        let mut usage = CpuUsage::default();
        for (key, value) in text::pairs(file) {
            match key {
                b"user" => usage.user = value.saturating_mul(TICK_US),
                b"system" => usage.system = value.saturating_mul(TICK_US),
                _ => {}
            }
        }
        usage
    }

    /// v1 `cpu.stat`, of which only the throttled time (ns) is wanted.
    pub fn parse_throttled(file: &[u8], version: Version) -> u64 {
        let (wanted, unit): (&[u8], u64) = match version {
            Version::V1 => (b"throttled_time", 1000),
            Version::V2 => (b"throttled_usec", 1),
        };
        text::pairs(file).find(|(key, _)| *key == wanted).map_or(0, |(_, value)| value / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(mask: &str, quota: Option<u64>) -> (usize, u64) {
        let budget = CpuBudget::new(&CpuSet::parse(mask.as_bytes()).unwrap(), quota);
        (budget.count(), budget.micro_cpus)
    }

    #[test]
    fn visible_cpus_round_the_quota_up_within_the_mask() {
        assert_eq!(budget("0-3", None), (4, 4_000_000));
        assert_eq!(budget("0-3", parse_cpu_max(b"150000 100000\n")), (2, 1_500_000));
        assert_eq!(budget("0-3", parse_cpu_max(b"50000 100000\n")), (1, 500_000));
        assert_eq!(budget("0,2-3", parse_cpu_max(b"max 100000\n")), (3, 3_000_000));
        assert_eq!(budget("0-1", parse_cfs(b"800000\n", b"100000\n")), (2, 2_000_000));
        assert_eq!(budget("", None), (1, 1_000_000));
        assert_eq!(parse_cfs(b"-1\n", b"100000\n"), None);
    }

    #[test]
    fn v1_usage_is_in_ticks() {
        let usage = CpuUsage::parse_acct(b"user 301\nsystem 2\n");
        assert_eq!((usage.user, usage.system), (3_010_000, 20_000));
    }

    #[test]
    fn cpu_stat_of_both_versions() {
        let usage = CpuUsage::parse_stat(
            b"usage_usec 9\nuser_usec 5\nsystem_usec 4\nnice_usec 1\nnr_periods 0\nthrottled_usec 8\n",
        );
        assert_eq!((usage.user, usage.system, usage.nice, usage.throttled), (5, 4, 1, 8));
        assert_eq!(
            CpuUsage::parse_throttled(b"nr_periods 1\nthrottled_time 5000\n", Version::V1),
            5
        );
    }
}
