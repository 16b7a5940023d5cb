//! The decaying averages of `loadavg`, as the kernel keeps them (kernel/sched/loadavg.c).

use crate::view::loadavg::FIXED_1;

/// Seconds between two samples.
pub const PERIOD_S: u64 = 5;

/// `1/exp(5s/1min)` and so on, in fixed point.
const DECAY: [u64; 3] = [1884, 2014, 2037];

/// Beyond this many missed samples, the fifteen-minute average too has forgotten what was before.
const FORGOTTEN: u64 = 1500;

/// The three averages of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Averages(pub [u64; 3]);

impl Averages {
    /// What a container starts with: not zero, as if it had been like this for ever.
    pub fn starting_at(active: u64) -> Averages {
        Averages([active.saturating_mul(FIXED_1); 3])
    }

    /// Counts `active` threads for `periods` samples.
    pub fn advance(&mut self, active: u64, periods: u64) {
        let active = active.saturating_mul(FIXED_1);
        for _ in 0..periods.min(FORGOTTEN) {
            for (load, decay) in self.0.iter_mut().zip(DECAY) {
                let round_up = if active >= *load { FIXED_1 - 1 } else { 0 };
                *load = load
                    .saturating_mul(decay)
                    .saturating_add(active.saturating_mul(FIXED_1 - decay))
                    .saturating_add(round_up)
                    / FIXED_1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_spinners_for_five_minutes_are_nearly_four() {
        let mut averages = Averages::default();
        averages.advance(4, 60);
        let hundredths = averages.0.map(|load| load * 100 / FIXED_1);
        assert!(hundredths[0] >= 397, "{hundredths:?}");
        assert!((245..260).contains(&hundredths[1]), "{hundredths:?}");
    }

    #[test]
    fn an_idle_container_falls_to_nothing() {
        let mut averages = Averages::starting_at(3);
        averages.advance(0, u64::MAX);
        assert_eq!(averages, Averages::default());
    }
}
