//! `/proc/pressure/*`: the cgroup's own file, which has the host file's format.
//!
//! Documentation/accounting/psi.rst. `cpu.pressure` of a kernel before 5.13 has no `full` line.

/// Whether `text` is a pressure file at all; a controller that is off reads as an error or empty.
pub fn is_valid(text: &[u8]) -> bool {
    text.starts_with(b"some avg10=") || text.starts_with(b"full avg10=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pressure_is_pressure() {
        assert!(is_valid(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"));
        assert!(!is_valid(b""));
    }
}
