//! CPU time as a container may tell it: what it used, and what it could have used and did not.
//!
//! A cgroup says how long it was busy, never how long it was idle. Idle is what is left of its
//! capacity, the integral over time of the CPUs it was entitled to, so it needs a memory: one
//! `Record` a container, advanced at each reading. No line that stays visible ever goes back, and
//! the CPU lines always add up to the total. A record outlives the worker (see `state`).

use crate::{
    sample::{CpuBudget, CpuUsage},
    view::stat::CpuTimes,
};

/// Everything the next reading needs of the last one. Microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// When it was taken, on the clock that counts from boot.
    pub at: u64,
    /// The cgroup's counters then.
    pub usage: CpuUsage,
    /// What was told, by visible CPU.
    pub cpus: Vec<CpuTimes>,
}

/// One look at a cgroup.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// Microseconds since boot.
    pub now: u64,
    /// Microseconds since the container started.
    pub age: u64,
    /// What it may use at this moment.
    pub budget: &'a CpuBudget,
    /// What it has used.
    pub usage: &'a CpuUsage,
}

impl Record {
    /// The first reading: the budget of today is taken for the budget ever since the start.
    pub fn first(reading: &Reading<'_>) -> Record {
        let mut record = Record { at: reading.now, usage: reading.usage.clone(), cpus: Vec::new() };
        record.resize(reading.budget.count());
        record.spend(reading.age, reading.budget, reading.usage);
        record
    }

    /// Adds what happened since the last reading. A reading that is older changes nothing.
    pub fn advance(&mut self, reading: &Reading<'_>) {
        self.resize(reading.budget.count());
        if reading.now <= self.at {
            return;
        }
        let (was, is) = (&self.usage, reading.usage);
        let used = CpuUsage {
            user: is.user.saturating_sub(was.user),
            nice: is.nice.saturating_sub(was.nice),
            system: is.system.saturating_sub(was.system),
            throttled: is.throttled.saturating_sub(was.throttled),
        };
        let elapsed = reading.now - self.at;
        self.at = reading.now;
        self.usage = is.clone();
        self.spend(elapsed, reading.budget, &used);
    }

    /// Idle time over all visible CPUs.
    pub fn idle(&self) -> u64 {
        self.cpus.iter().fold(0, |sum, cpu| sum.saturating_add(cpu.idle))
    }

    /// A CPU that goes leaves its time to those that stay, so that the total keeps it; one that
    /// comes starts at nothing, as one plugged in does.
    fn resize(&mut self, count: usize) {
        let gone: Vec<CpuTimes> = self.cpus.drain(count.min(self.cpus.len())..).collect();
        self.cpus.resize(count, CpuTimes::default());
        for cpu in gone {
            self.spread(&cpu);
        }
    }

    fn spend(&mut self, elapsed: u64, budget: &CpuBudget, used: &CpuUsage) {
        let capacity = scale(elapsed, budget.micro_cpus);
        let busy = used.user.saturating_add(used.system);
        // Beyond what it was entitled to, a visible CPU only has room for time it was held back.
        let room = elapsed.saturating_mul(budget.count() as u64).saturating_sub(busy.max(capacity));
        let nice = used.nice.min(used.user);
        self.spread(&CpuTimes {
            user: used.user - nice,
            nice,
            system: used.system,
            idle: capacity.saturating_sub(busy),
            steal: used.throttled.min(room),
        });
    }

    /// Shares `times` out evenly; not a microsecond is lost.
    fn spread(&mut self, times: &CpuTimes) {
        let count = self.cpus.len() as u64;
        for (index, cpu) in (0u64..).zip(&mut self.cpus) {
            let share = |total: u64| total.saturating_add(index) / count;
            cpu.user = cpu.user.saturating_add(share(times.user));
            cpu.nice = cpu.nice.saturating_add(share(times.nice));
            cpu.system = cpu.system.saturating_add(share(times.system));
            cpu.idle = cpu.idle.saturating_add(share(times.idle));
            cpu.steal = cpu.steal.saturating_add(share(times.steal));
        }
    }
}

fn scale(elapsed: u64, micro_cpus: u64) -> u64 {
    u64::try_from(u128::from(elapsed) * u128::from(micro_cpus) / 1_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpuset::CpuSet;

    fn budget(cpus: usize, quota: Option<u64>) -> CpuBudget {
        CpuBudget::new(&CpuSet::first(cpus), quota)
    }

    fn usage(user: u64, system: u64) -> CpuUsage {
        CpuUsage { user, system, ..CpuUsage::default() }
    }

    fn sum(record: &Record) -> (u64, u64) {
        let busy = record.cpus.iter().map(|cpu| cpu.user + cpu.nice + cpu.system).sum();
        (busy, record.idle())
    }

    #[test]
    fn the_first_reading_knows_the_whole_life() {
        let budget = budget(2, None);
        let record = Record::first(&Reading {
            now: 50_000_000,
            age: 10_000_000,
            budget: &budget,
            usage: &usage(3_000_000, 1_000_000),
        });
        assert_eq!(sum(&record), (4_000_000, 16_000_000));
    }

    #[test]
    fn one_and_a_half_cpus_with_one_spinner_are_two_thirds_busy() {
        let budget = budget(2, Some(1_500_000));
        let start = usage(0, 0);
        let mut record = Record::first(&Reading { now: 0, age: 0, budget: &budget, usage: &start });
        let now = usage(1_000_000, 0);
        record.advance(&Reading { now: 1_000_000, age: 0, budget: &budget, usage: &now });
        assert_eq!(sum(&record), (1_000_000, 500_000));
    }

    #[test]
    fn throttled_time_shows_as_steal_and_fits() {
        let budget = budget(1, Some(500_000));
        let start = usage(0, 0);
        let mut record = Record::first(&Reading { now: 0, age: 0, budget: &budget, usage: &start });
        let now = CpuUsage { throttled: 9_000_000, ..usage(500_000, 0) };
        record.advance(&Reading { now: 1_000_000, age: 0, budget: &budget, usage: &now });
        assert_eq!(record.cpus[0].steal, 500_000);
        assert_eq!(sum(&record), (500_000, 0));
    }

    #[test]
    fn an_older_reading_changes_nothing() {
        let budget = budget(1, None);
        let used = usage(10, 0);
        let mut record =
            Record::first(&Reading { now: 100, age: 100, budget: &budget, usage: &used });
        let before = record.clone();
        record.advance(&Reading { now: 90, age: 90, budget: &budget, usage: &usage(5, 0) });
        assert_eq!(record, before);
    }

    proptest! {
        #[test]
        fn nothing_goes_back_whatever_the_limits_do(
            steps in proptest::collection::vec(
                (1usize..9, proptest::option::of(1u64..9_000_000), 0u64..3_000_000,
                 0u64..3_000_000, 0u64..1_000_000, 0u64..2_000_000), 1..60),
        ) {
            let start = budget(1, None);
            let mut used = usage(0, 0);
            let mut now = 0;
            let mut record =
                Record::first(&Reading { now, age: 0, budget: &start, usage: &used });
            for (cpus, quota, elapsed, user, system, throttled) in steps {
                let before = record.clone();
                now += elapsed;
                used.user += user;
                used.system += system;
                used.throttled += throttled;
                let budget = budget(cpus, quota);
                record.advance(&Reading { now, age: now, budget: &budget, usage: &used });
                for (old, new) in before.cpus.iter().zip(&record.cpus) {
                    prop_assert!(new.user >= old.user && new.system >= old.system);
                    prop_assert!(new.idle >= old.idle && new.steal >= old.steal);
                }
                let (old, new) = (sum(&before), sum(&record));
                prop_assert!(new.0 >= old.0 && new.1 >= old.1);
            }
        }
    }
}
