//! What is counted, and how Prometheus reads it (text format 0.0.4).

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::fallback::Fallbacks;

/// Upper bounds of the latency histogram, microseconds.
const BOUNDS_US: [u64; 12] = [2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 50_000, 1_000_000];

/// Counters of one worker.
#[derive(Debug, Default)]
pub struct Metrics {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    total_us: AtomicU64,
    opens: AtomicU64,
    errors: AtomicU64,
    /// Host values, by cause.
    pub fallbacks: Fallbacks,
}

/// What is counted elsewhere.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "the names are the metrics")]
pub struct Gauges {
    pub containers: usize,
    pub attached: usize,
    pub open_files: usize,
    pub kept_descriptors: usize,
    pub records: usize,
    pub worker_restarts: u64,
    pub passthrough: bool,
}

impl Metrics {
    /// Counts one read that took `elapsed`.
    pub fn read(&self, elapsed: Duration) {
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Counts one open file.
    pub fn open(&self) {
        self.opens.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one request that was answered with an error the caller did not ask for.
    pub fn error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The text Prometheus scrapes.
    pub fn text(&self, gauges: &Gauges) -> String {
        let mut text = String::new();
        let mut put = |name: &str, kind: &str, help: &str, lines: &[(String, u64)]| {
            let _ = writeln!(text, "# HELP lxcfs_{name} {help}\n# TYPE lxcfs_{name} {kind}");
            for (labels, value) in lines {
                let _ = writeln!(text, "lxcfs_{labels} {value}");
            }
        };
        let mut sum = 0;
        let mut lines: Vec<(String, u64)> = Vec::new();
        for (bucket, count) in self.buckets.iter().enumerate() {
            sum += count.load(Ordering::Relaxed);
            let bound = BOUNDS_US.get(bucket).map_or_else(
                || "+Inf".to_owned(),
                |us| format!("{}.{:06}", us / 1_000_000, us % 1_000_000),
            );
            lines.push((format!("read_seconds_bucket{{le=\"{bound}\"}}"), sum));
        }
        lines.push(("read_seconds_count".into(), sum));
        put("read_seconds", "histogram", "Time from a read request to its answer.", &lines);
        let us = self.total_us.load(Ordering::Relaxed);
        let _ = writeln!(text, "lxcfs_read_seconds_sum {}.{:06}", us / 1_000_000, us % 1_000_000);

        let mut put = |name: &str, kind: &str, help: &str, lines: &[(String, u64)]| {
            let _ = writeln!(text, "# HELP lxcfs_{name} {help}\n# TYPE lxcfs_{name} {kind}");
            for (labels, value) in lines {
                let _ = writeln!(text, "lxcfs_{name}{labels} {value}");
            }
        };
        let causes: Vec<_> = self
            .fallbacks
            .counts()
            .map(|(cause, count)| (format!("{{cause=\"{cause}\"}}"), count))
            .collect();
        put("fallbacks_total", "counter", "Files that showed host values, by cause.", &causes);
        let one = |value: u64| [(String::new(), value)];
        put("opens_total", "counter", "Files opened.", &one(self.opens.load(Ordering::Relaxed)));
        put(
            "errors_total",
            "counter",
            "Requests that failed.",
            &one(self.errors.load(Ordering::Relaxed)),
        );
        put("worker_restarts_total", "counter", "Workers replaced.", &one(gauges.worker_restarts));
        put("containers", "gauge", "Containers known.", &one(gauges.containers as u64));
        put("attached", "gauge", "Containers with a subtree.", &one(gauges.attached as u64));
        put("open_files", "gauge", "Files open.", &one(gauges.open_files as u64));
        let kept = gauges.kept_descriptors as u64;
        put("kept_descriptors", "gauge", "Cgroup files kept open.", &one(kept));
        put("records", "gauge", "CPU records kept for a successor.", &one(gauges.records as u64));
        let passthrough = u64::from(gauges.passthrough);
        put("passthrough", "gauge", "1 while all files show host values.", &one(passthrough));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_is_cumulative() {
        let metrics = Metrics::default();
        for us in [1, 7, 7, 3_000_000] {
            metrics.read(Duration::from_micros(us));
        }
        let text = metrics.text(&Gauges { worker_restarts: 3, ..Gauges::default() });
        for line in [
            "lxcfs_read_seconds_bucket{le=\"0.000002\"} 1",
            "lxcfs_read_seconds_bucket{le=\"0.000010\"} 3",
            "lxcfs_read_seconds_bucket{le=\"+Inf\"} 4",
            "lxcfs_read_seconds_count 4",
            "lxcfs_read_seconds_sum 3.000015",
            "lxcfs_worker_restarts_total 3",
            "lxcfs_fallbacks_total{cause=\"late\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
