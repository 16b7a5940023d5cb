//! `/proc/stat`: the container's CPU lines; totals of the machine below them.
//!
//! Documentation/filesystems/proc.rst 1.7. `btime`, `ctxt`, `intr`, `softirq` and `processes` stay
//! the host's: process start times count from the host's boot, and a shifted `btime` would put
//! every process in the future.

use crate::text;

/// Microseconds of one CPU. Which of them a container can have is `cpuview`'s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns of proc_stat(5)")]
pub struct CpuTimes {
    pub user: u64,
    pub nice: u64,
    pub system: u64,
    pub idle: u64,
    pub steal: u64,
}

/// What the container's lines say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatSample {
    /// By visible CPU.
    pub cpus: Vec<CpuTimes>,
    /// The numbers of those CPUs.
    pub numbers: Vec<u32>,
    /// Threads running or ready to.
    pub running: u64,
    /// Threads in uninterruptible sleep.
    pub blocked: u64,
    /// Only the sum of `intr` and `softirq`, not the machine's interrupt lines.
    pub sums_only: bool,
}

/// One tick of `USER_HZ`, which is 100 on every architecture we run on, in microseconds.
const TICK_US: u64 = 10_000;

/// Writes the file. `host` gives the lines that are the machine's.
pub fn render(host: &[u8], stat: &StatSample, out: &mut Vec<u8>) {
    out.reserve(host.len());
    let ticks: Vec<[u64; 5]> = stat.cpus.iter().map(in_ticks).collect();
    // The sum of what is printed, not of microseconds: the lines must add up to the eye.
    let sum = ticks.iter().fold([0u64; 5], |mut sum, cpu| {
        for (total, part) in sum.iter_mut().zip(cpu) {
            *total = total.saturating_add(*part);
        }
        sum
    });
    out.extend_from_slice(b"cpu  ");
    put(&sum, out);
    for (cpu, number) in ticks.iter().zip(&stat.numbers) {
        out.extend_from_slice(b"cpu");
        text::push_number(out, u64::from(*number));
        out.push(b' ');
        put(cpu, out);
    }
    for line in host.split_inclusive(|&byte| byte == b'\n') {
        match text::words(line).next().unwrap_or_default() {
            word if word.starts_with(b"cpu") => {}
            b"procs_running" => put_line(b"procs_running ", stat.running, out),
            b"procs_blocked" => put_line(b"procs_blocked ", stat.blocked, out),
            word @ (b"intr" | b"softirq") if stat.sums_only => {
                out.extend_from_slice(word);
                out.push(b' ');
                out.extend_from_slice(text::words(line).nth(1).unwrap_or(b"0"));
                out.push(b'\n');
            }
            _ => out.extend_from_slice(line),
        }
    }
}

fn in_ticks(cpu: &CpuTimes) -> [u64; 5] {
    [cpu.user, cpu.nice, cpu.system, cpu.idle, cpu.steal].map(|us| us / TICK_US)
}

fn put(&[user, nice, system, idle, steal]: &[u64; 5], out: &mut Vec<u8>) {
    // iowait, irq and softirq are the machine's; guest time is in user already.
    let columns = [user, nice, system, idle, 0, 0, 0, steal, 0, 0];
    for (index, column) in columns.into_iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        text::push_number(out, column);
    }
    out.push(b'\n');
}

fn put_line(label: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(label);
    text::push_number(out, value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const HOST: &[u8] = b"cpu  100 0 50 900 1 0 2 3 0 0\ncpu0 50 0 25 450 1 0 1 1 0 0\n\
cpu1 50 0 25 450 0 0 1 2 0 0\nintr 500 1 2 3\nctxt 777\nbtime 1700000000\nprocesses 99\n\
procs_running 12\nprocs_blocked 3\nsoftirq 400 5 6\n";

    fn sample() -> StatSample {
        let cpu =
            CpuTimes { user: 19_999, nice: 0, system: 30_000, idle: 1_005_000, steal: 10_000 };
        StatSample {
            cpus: vec![cpu, cpu],
            numbers: vec![0, 1],
            running: 1,
            blocked: 0,
            sums_only: true,
        }
    }

    #[test]
    fn lines_add_up_and_the_machines_stay() {
        let mut out = Vec::new();
        render(HOST, &sample(), &mut out);
        expect![[r#"
            cpu  2 0 6 200 0 0 0 2 0 0
            cpu0 1 0 3 100 0 0 0 1 0 0
            cpu1 1 0 3 100 0 0 0 1 0 0
            intr 500
            ctxt 777
            btime 1700000000
            processes 99
            procs_running 1
            procs_blocked 0
            softirq 400
        "#]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn interrupt_lines_stay_on_request() {
        let mut out = Vec::new();
        render(HOST, &StatSample { sums_only: false, ..sample() }, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("intr 500 1 2 3\n") && text.contains("softirq 400 5 6\n"));
    }
}
