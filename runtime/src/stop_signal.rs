//! Which signal a given init takes as "shut down".
//!
//! SIGTERM is not it: to systemd it means "execute yourself again" (systemd(1)), sysvinit ignores
//! it, and to busybox init it means "reboot". The kernel drops what an init neither catches nor
//! blocks (pid_namespaces(7)).

use linux::process::{Pid, Signal};

/// What /proc says about an init.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Init {
    /// Name of the executed file, links resolved: `systemd`, `busybox`, `sh`.
    pub program: String,
    /// Name it runs under (`comm`): `init` for busybox as /sbin/init.
    pub comm: String,
    /// Signals it blocks or catches; bit n-1 is signal n.
    pub handled: u64,
    /// It has a pid namespace of its own, so the kernel protects it.
    pub is_pid_1: bool,
}

impl Init {
    /// Reads it; what cannot be read is empty, and SIGTERM is the answer.
    pub fn of(pid: Pid) -> Self {
        let proc = format!("/proc/{pid}");
        let program = std::fs::read_link(format!("{proc}/exe"))
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_default();
        let comm = std::fs::read_to_string(format!("{proc}/comm")).unwrap_or_default();
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        Self {
            program,
            comm: comm.trim_end().to_owned(),
            handled: handled(&status),
            is_pid_1: is_pid_1(&status),
        }
    }

    /// The signal takes effect: the kernel does not drop it.
    pub fn handles(&self, signal: Signal) -> bool {
        if !self.is_pid_1 || signal == Signal::KILL || signal == Signal::STOP {
            return true;
        }
        let number = u32::try_from(signal.get()).unwrap_or(0);
        (1..=64).contains(&number) && self.handled >> (number - 1) & 1 == 1
    }

    /// The signal that shuts this init down.
    pub fn stop_signal(&self) -> Signal {
        let runs_as_init = self.comm == "init";
        match self.program.as_str() {
            "systemd" => halt_target(),
            // SIGUSR1 halts, SIGUSR2 powers off (busybox init.c, its own table).
            "busybox" | "busybox-static" if runs_as_init => Signal::USR2,
            // Whatever it is called, only systemd listens here.
            _ if self.is_pid_1 && self.handles(halt_target()) => halt_target(),
            // sysvinit: /etc/inittab's powerfail entry, the signal LXC uses.
            "init" if runs_as_init => Signal::PWR,
            _ => Signal::TERM,
        }
    }
}

/// systemd(1): SIGRTMIN+3 starts halt.target. The kernel's first real-time signal is 32, glibc
/// keeps two for itself, so SIGRTMIN is 34.
fn halt_target() -> Signal {
    Signal::real_time(3).expect("there are thirty real-time signals")
}

/// The union of `SigBlk` and `SigCgt` of /proc/PID/status. A blocked signal stays pending: systemd
/// reads its signals from a signalfd.
fn handled(status: &str) -> u64 {
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| matches!(*key, "SigBlk" | "SigCgt"))
        .filter_map(|(_, mask)| u64::from_str_radix(mask.trim(), 16).ok())
        .fold(0, |all, mask| all | mask)
}

/// Whether the innermost of its pids is 1 (proc_pid_status(5), `NSpid`).
fn is_pid_1(status: &str) -> bool {
    let mut lines = status.lines().filter_map(|line| line.strip_prefix("NSpid:"));
    lines.next().and_then(|pids| pids.split_whitespace().last()) == Some("1")
}

#[cfg(test)]
mod tests;
