//! `/proc/uptime`: how long the container's init has lived, and idle time over its CPUs.

use crate::text;

/// Both in microseconds. Idle is the sum that `stat` shows, so the two agree.
pub fn render(age_us: u64, idle_us: u64, out: &mut Vec<u8>) {
    text::push_hundredths(out, age_us / 10_000);
    out.push(b' ');
    text::push_hundredths(out, idle_us / 10_000);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_places_each() {
        let mut out = Vec::new();
        render(12_345_678, 20_070_000, &mut out);
        assert_eq!(out, b"12.34 20.07\n");
    }
}
