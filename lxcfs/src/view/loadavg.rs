//! `/proc/loadavg` from the averages that `load` keeps.

use crate::text;

/// What the five fields say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadSample {
    /// The averages over 1, 5 and 15 minutes, in the kernel's fixed point (11 bits).
    pub averages: [u64; 3],
    /// Threads running or ready to.
    pub running: u64,
    /// Threads in uninterruptible sleep.
    pub blocked: u64,
    /// All threads.
    pub threads: u64,
    /// The largest pid, as the container counts.
    pub last_pid: u64,
}

/// The kernel's fixed point: `FIXED_1` of include/linux/sched/loadavg.h.
pub const FIXED_1: u64 = 1 << 11;

/// Writes the line.
pub fn render(load: &LoadSample, out: &mut Vec<u8>) {
    for average in load.averages {
        // Half a hundredth up front, as fs/proc/loadavg.c does, so that 0.995 prints as 1.00.
        let rounded = average.saturating_add(FIXED_1 / 200);
        text::push_hundredths(out, rounded.saturating_mul(100) / FIXED_1);
        out.push(b' ');
    }
    text::push_number(out, load.running);
    out.push(b'/');
    text::push_number(out, load.threads);
    out.push(b' ');
    text::push_number(out, load.last_pid);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fields() {
        let mut out = Vec::new();
        let load = LoadSample {
            averages: [FIXED_1, FIXED_1 / 2, 20],
            running: 2,
            blocked: 0,
            threads: 31,
            last_pid: 407,
        };
        render(&load, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "1.00 0.50 0.01 2/31 407\n");
    }
}
