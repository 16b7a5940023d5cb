//! Paths below /proc and /sys that are hidden or cannot be written.

use container::Config;

const READ_ONLY: &[&str] = &[
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/sysrq-region-size",
];

/// The second half exists on openEuler's kernels only; what is absent is skipped.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/proc/cpuirqstat",
    "/proc/fdenable",
    "/proc/fdstat",
    "/proc/fdthreshold",
    "/proc/files_panic_enable",
    "/proc/iomem_ext",
    "/proc/kbox",
    "/proc/livepatch",
    "/proc/lru_info",
    "/proc/memstat",
    "/proc/net_namespace",
    "/proc/oom_extend",
    "/proc/pagealloc_bt",
    "/proc/pagealloc_statistics",
    "/proc/pin_memory",
    "/proc/sig_catch",
    "/proc/signo",
    "/proc/slaballoc_bt",
    "/proc/slaballoc_statistics",
    "/proc/sysmonitor",
];

/// Hidden.
pub(super) fn masked(config: &Config) -> Vec<String> {
    if config.privileged { vec![] } else { owned(MASKED) }
}

/// Not writable. `mounts` lists the holes in them.
pub(super) fn read_only(config: &Config) -> Vec<String> {
    if config.privileged { vec![] } else { owned(READ_ONLY) }
}

fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}
