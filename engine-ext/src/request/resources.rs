//! Limits: what each number may be, and which do not go together.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use container::config::{DeviceValue, Hugetlb, Resources, Ulimit};

use super::Findings;
use super::size::{bytes, integer, nano_cpus, signed_bytes};
use crate::cli::args::ResourceArgs;

const MEMORY_MIN: i64 = 4 << 20;

/// The limits that were asked for.
pub fn parse(
    args: &ResourceArgs,
    ulimits: &[String],
    rules: &[String],
    found: &mut Findings,
) -> Resources {
    let mut resources = Resources {
        oom_kill_disable: args.oom_kill_disable,
        cpuset_cpus: found.maybe(args.cpuset_cpus.as_deref(), |text| cpu_list("cpuset.cpus", text)),
        cpuset_mems: found.maybe(args.cpuset_mems.as_deref(), |text| cpu_list("cpuset.mems", text)),
        ulimits: found.each(ulimits, ulimit),
        device_cgroup_rules: found.each(rules, device_rule),
        ..Resources::default()
    };
    memory(args, &mut resources, found);
    found.note(check_memory(&resources));
    cpu(args, &mut resources, found);
    found.note(check_cpu(&resources));
    block_io(args, &mut resources, found);
    resources.pids_limit = found.maybe(args.pids_limit.as_deref(), pids_limit);
    resources.files_limit = found.maybe(args.files_limit.as_deref(), |text| {
        let limit: i64 = integer("--files-limit", text)?;
        Ok(if limit <= 0 { -1 } else { limit })
    });
    found.note(files_limit_mode(args, &mut resources));
    resources.hugetlb = found.each(&args.hugetlb_limit, hugetlb);
    resources.oom_score_adj = found.maybe(args.oom_score_adj.as_deref(), |text| {
        let score: i32 = integer("--oom-score-adj", text)?;
        ensure!(
            (-1000..=1000).contains(&score),
            "Invalid value: {score}, range for oom score adj is [-1000, 1000]"
        );
        Ok(score)
    });
    resources
}

fn files_limit_mode(args: &ResourceArgs, resources: &mut Resources) -> Result<()> {
    match args.files_limit_mode.as_deref() {
        None | Some("controller") => return Ok(()),
        Some("rlimit") => {}
        Some(mode) => bail!("--files-limit-mode {mode:?}: use controller or rlimit"),
    }
    let Some(limit) = resources.files_limit else {
        bail!("--files-limit-mode rlimit: of what is for --files-limit to say; add it");
    };
    ensure!(
        !resources.ulimits.iter().any(|ulimit| ulimit.name == "nofile"),
        "--files-limit-mode rlimit and --ulimit nofile both set the same limit; drop one"
    );
    resources.files_limit_by_process = true;
    if let Ok(limit) = u64::try_from(limit) {
        resources.ulimits.push(Ulimit { name: "nofile".to_owned(), soft: limit, hard: limit });
    }
    Ok(())
}

fn memory(args: &ResourceArgs, resources: &mut Resources, found: &mut Findings) {
    // 0 means "no limit", which is what saying nothing means.
    let size = |text: &str| signed_bytes(text).map(|size| (size != 0).then_some(size));
    resources.memory = found.maybe(args.memory.as_deref(), size).flatten();
    resources.memory_reservation = found.maybe(args.memory_reservation.as_deref(), size).flatten();
    resources.kernel_memory = found.maybe(args.kernel_memory.as_deref(), size).flatten();
    resources.memory_swap = found
        .maybe(
            args.memory_swap.as_deref(),
            |text| if text == "-1" { Ok(Some(-1)) } else { size(text) },
        )
        .flatten();
    resources.memory_swappiness = found
        .maybe(args.memory_swappiness.as_deref(), |text| {
            let value: i64 = integer("--memory-swappiness", text)?;
            match value {
                -1 => Ok(None),
                0..=100 => Ok(Some(value.unsigned_abs())),
                _ => bail!("Invalid value: {value}, valid memory swappiness range is 0-100"),
            }
        })
        .flatten();
}

/// The limits that `update` was asked to change; how they go with the others is for [`changed`].
pub fn parse_change(args: &ResourceArgs, found: &mut Findings) -> Resources {
    let mut change = Resources {
        cpuset_cpus: found.maybe(args.cpuset_cpus.as_deref(), |text| cpu_list("cpuset.cpus", text)),
        cpuset_mems: found.maybe(args.cpuset_mems.as_deref(), |text| cpu_list("cpuset.mems", text)),
        ..Resources::default()
    };
    memory(args, &mut change, found);
    cpu(args, &mut change, found);
    block_io(args, &mut change, found);
    change.pids_limit = found.maybe(args.pids_limit.as_deref(), pids_limit);
    change
}

/// `before` with everything that `change` names, if that goes together.
pub fn changed(before: &Resources, change: &Resources) -> Result<Resources> {
    let swap = change.memory_swap.or(before.memory_swap).filter(|&swap| swap > 0);
    if let (Some(memory), Some(swap), None) = (change.memory, swap, change.memory_swap) {
        ensure!(
            memory <= swap,
            "Memory limit should be smaller than already set memoryswap limit, update the \
             memoryswap at the same time"
        );
    }
    let mut after = before.clone();
    let Resources {
        cpu_shares,
        cpu_period,
        cpu_quota,
        nano_cpus,
        cpu_rt_runtime,
        cpu_rt_period,
        cpuset_cpus,
        cpuset_mems,
        memory,
        memory_reservation,
        memory_swap,
        kernel_memory,
        pids_limit,
        blkio_weight,
        ..
    } = change.clone();
    fn set<T>(place: &mut Option<T>, value: Option<T>) {
        if value.is_some() {
            *place = value;
        }
    }
    set(&mut after.cpu_shares, cpu_shares);
    set(&mut after.cpu_period, cpu_period);
    set(&mut after.cpu_quota, cpu_quota);
    set(&mut after.nano_cpus, nano_cpus);
    set(&mut after.cpu_rt_runtime, cpu_rt_runtime);
    set(&mut after.cpu_rt_period, cpu_rt_period);
    set(&mut after.cpuset_cpus, cpuset_cpus);
    set(&mut after.cpuset_mems, cpuset_mems);
    set(&mut after.memory, memory);
    set(&mut after.memory_reservation, memory_reservation);
    set(&mut after.memory_swap, memory_swap);
    set(&mut after.kernel_memory, kernel_memory);
    set(&mut after.pids_limit, pids_limit);
    set(&mut after.blkio_weight, blkio_weight);
    check_memory(&after)?;
    check_cpu(&after)?;
    Ok(after)
}

fn pids_limit(text: &str) -> Result<i64> {
    let limit: i64 = integer("--pids-limit", text)?;
    Ok(if limit <= 0 { -1 } else { limit })
}

/// What holds between the memory limits.
fn check_memory(resources: &Resources) -> Result<()> {
    let (memory, swap) = (resources.memory, resources.memory_swap);
    ensure!(memory.is_none_or(|m| m >= MEMORY_MIN), "Minimum memory limit allowed is 4MB");
    if let Some(reservation) = resources.memory_reservation {
        ensure!(reservation >= MEMORY_MIN, "Minimum memory reservation allowed is 4MB");
        ensure!(
            memory.is_none_or(|memory| reservation <= memory),
            "Minimum memory limit should be larger than memory reservation limit"
        );
    }
    ensure!(
        resources.kernel_memory.is_none_or(|kernel| kernel >= MEMORY_MIN),
        "Minimum kernel memory limit allowed is 4MB"
    );
    match (memory, swap) {
        (None, Some(swap)) if swap > 0 => {
            bail!("You should always set the Memory limit when using Memoryswap limit")
        }
        (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
            bail!("Minimum memoryswap limit should be larger than memory limit")
        }
        _ => Ok(()),
    }
}

fn cpu(args: &ResourceArgs, resources: &mut Resources, found: &mut Findings) {
    let number = |option: &'static str| move |text: &str| integer(option, text);
    resources.cpu_shares = found
        .maybe(args.cpu_shares.as_deref(), |text| {
            let shares: i64 = integer("--cpu-shares", text)?;
            ensure!(shares >= 0, "--cpu-shares {shares} is negative; use 2 to 262144");
            Ok((shares > 0).then(|| shares.unsigned_abs()))
        })
        .flatten();
    let period: Option<i64> = found.maybe(args.cpu_period.as_deref(), number("--cpu-period"));
    let quota: Option<i64> = found.maybe(args.cpu_quota.as_deref(), number("--cpu-quota"));
    resources.nano_cpus = found.maybe(args.cpus.as_deref(), nano_cpus);
    resources.cpu_rt_period =
        found.maybe(args.cpu_rt_period.as_deref(), |text| integer("--cpu-rt-period", text));
    resources.cpu_rt_runtime =
        found.maybe(args.cpu_rt_runtime.as_deref(), |text| integer("--cpu-rt-runtime", text));
    resources.cpu_period = period.filter(|&period| period != 0).map(i64::unsigned_abs);
    resources.cpu_quota = quota.filter(|&quota| quota != 0);
    if period.is_some_and(|period| period < 0) {
        found.note(Err(anyhow::anyhow!("CPU cfs period can not be less than 1ms (i.e. 1000)")));
        resources.cpu_period = None;
    }
}

/// What holds between the CPU limits.
fn check_cpu(resources: &Resources) -> Result<()> {
    if let Some(period) = resources.cpu_period {
        ensure!(period >= 1000, "CPU cfs period can not be less than 1ms (i.e. 1000)");
        ensure!(period <= 1_000_000, "CPU cfs period can not be more than 1s (i.e. 1000000)");
    }
    if let Some(quota) = resources.cpu_quota {
        ensure!(!(1..1000).contains(&quota), "CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if resources.nano_cpus.is_some() {
        let conflict = "Conflicting options: Nano CPUs and CPU";
        ensure!(resources.cpu_period.is_none(), "{conflict} Period cannot both be set.");
        ensure!(resources.cpu_quota.is_none(), "{conflict} Quota cannot both be set.");
    }
    if let (Some(runtime), Some(period)) = (resources.cpu_rt_runtime, resources.cpu_rt_period) {
        ensure!(
            u64::try_from(runtime).is_ok_and(|runtime| runtime <= period),
            "cpu real-time runtime cannot be higher than cpu real-time period"
        );
    }
    Ok(())
}

fn block_io(args: &ResourceArgs, resources: &mut Resources, found: &mut Findings) {
    resources.blkio_weight = found.maybe(args.blkio_weight.as_deref(), blkio_weight).flatten();
    resources.blkio_weight_device = found.each(&args.blkio_weight_device, |text| {
        device_value(text, |value| Ok(blkio_weight(value)?.map_or(0, u64::from)))
    });
    let size = |text: &str| device_value(text, bytes);
    let count = |text: &str| device_value(text, |value| integer("operations a second", value));
    resources.device_read_bps = found.each(&args.device_read_bps, size);
    resources.device_write_bps = found.each(&args.device_write_bps, size);
    resources.device_read_iops = found.each(&args.device_read_iops, count);
    resources.device_write_iops = found.each(&args.device_write_iops, count);
}

fn blkio_weight(text: &str) -> Result<Option<u16>> {
    let weight: u16 = integer("--blkio-weight", text)?;
    match weight {
        0 => Ok(None),
        10..=1000 => Ok(Some(weight)),
        _ => bail!("Range of blkio weight is from 10 to 1000."),
    }
}

/// `PATH:VALUE`.
fn device_value(text: &str, value: impl Fn(&str) -> Result<u64>) -> Result<DeviceValue> {
    let Some((path, number)) = text.rsplit_once(':') else {
        bail!("{text:?} is not DEVICE:VALUE; write it like /dev/sda:1mb");
    };
    ensure!(path.starts_with("/dev/"), "{path:?} is not a path below /dev");
    let value = value(number).with_context(|| format!("device {path}"))?;
    Ok(DeviceValue { path: PathBuf::from(path), value })
}

/// `[PAGESIZE:]LIMIT`; without a page size the host's default, empty until the host is asked.
fn hugetlb(text: &str) -> Result<Hugetlb> {
    let invalid = || format!("Invalid hugetlb limit:{text}");
    let parts: Vec<&str> = text.split(':').collect();
    let (page_size, limit) = match parts[..] {
        [limit] => (String::new(), limit),
        [size, limit] => (page_size(bytes(size).with_context(invalid)?), limit),
        _ => bail!(invalid()),
    };
    Ok(Hugetlb { page_size, limit: bytes(limit).with_context(invalid)? })
}

/// The way the kernel names it (hugetlb_cgroup.c, mem_fmt): whole GB, MB or KB.
pub fn page_size(bytes: u64) -> String {
    if bytes >= 1 << 30 {
        format!("{}GB", bytes >> 30)
    } else if bytes >= 1 << 20 {
        format!("{}MB", bytes >> 20)
    } else {
        format!("{}KB", bytes >> 10)
    }
}

/// `0-3,5`.
pub fn cpu_list(file: &str, text: &str) -> Result<String> {
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u32>().ok();
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {}
            _ => bail!("Checking {file} got invalid format: {text}."),
        }
    }
    Ok(text.to_owned())
}

const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `TYPE=SOFT[:HARD]`; -1 is no limit.
fn ulimit(text: &str) -> Result<Ulimit> {
    let invalid = || anyhow::anyhow!("Invalid ulimit argument: \"{text}\"; write TYPE=SOFT[:HARD]");
    let (name, limits) = text.split_once('=').ok_or_else(invalid)?;
    ensure!(ULIMITS.contains(&name), "Invalid ulimit type: \"{name}\"; use {}", ULIMITS.join(", "));
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let limit = |text: &str| match text {
        "-1" if name == "nofile" => bail!("ulimit nofile takes no -1; give it a number"),
        "-1" => Ok(u64::MAX),
        number => number.parse().map_err(|_| invalid()),
    };
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    ensure!(
        soft <= hard,
        "Ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
    );
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// `TYPE MAJOR:MINOR ACCESS`.
fn device_rule(text: &str) -> Result<String> {
    let words: Vec<&str> = text.split(' ').collect();
    let valid = match words[..] {
        [kind, number, access] => {
            let part = |text: &str| text == "*" || text.parse::<u32>().is_ok();
            matches!(kind, "a" | "b" | "c")
                && number.split_once(':').is_some_and(|(major, minor)| part(major) && part(minor))
                && !access.is_empty()
                && access.chars().all(|letter| "rwm".contains(letter))
        }
        _ => false,
    };
    ensure!(valid, "Invalid device cgroup rule {text}; write it like 'c 10:229 rwm'");
    Ok(text.to_owned())
}
