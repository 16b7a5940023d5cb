//! update: a document of resources, or a few of them by option. What is not named stays.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};
use ui::{Exit, Report};

use super::Session;

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// Read linux.resources from this file; - is stdin
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Bytes of memory; -1 for no limit
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Bytes of memory below which nothing is reclaimed first
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    memory_reservation: Option<i64>,
    /// Bytes of memory and swap; -1 for no limit
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Microseconds of a CPU period
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// Microseconds of CPU time in a period; -1 for no limit
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Share of CPU time against others, 1024 by default
    #[arg(long, value_name = "SHARES", alias = "cpu-shares")]
    cpu_share: Option<u64>,
    /// Microseconds of a real-time period
    #[arg(long, value_name = "US")]
    cpu_rt_period: Option<u64>,
    /// Microseconds of real-time CPU time in a period
    #[arg(long, value_name = "US")]
    cpu_rt_runtime: Option<i64>,
    /// CPUs it may use: 0-3,8
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Processes and threads; -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Share of block I/O against others, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) fn update(session: &Session, args: &UpdateArgs) -> Report {
    let document = match &args.resources {
        Some(path) => {
            ensure!(args.by_option().is_empty(), "--resources says it all; drop the other options");
            read(path)?
        }
        None => Value::Object(args.by_option()),
    };
    ensure!(document != json!({}), "nothing to change; name a limit or a --resources file");
    let resources: LinuxResources =
        serde_json::from_value(document).context("read the resources")?;
    session.runtime.update(&args.id, &resources)?;
    Ok(Exit::DONE)
}

fn read(path: &PathBuf) -> Result<Value> {
    let mut text = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut text).context("read stdin")?;
    } else {
        text = linux::file::read(path)?;
    }
    serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
}

impl UpdateArgs {
    /// The document that the options stand for.
    fn by_option(&self) -> Map<String, Value> {
        let entries = [
            ("memory", "limit", self.memory.map(Value::from)),
            ("memory", "reservation", self.memory_reservation.map(Value::from)),
            ("memory", "swap", self.memory_swap.map(Value::from)),
            ("cpu", "period", self.cpu_period.map(Value::from)),
            ("cpu", "quota", self.cpu_quota.map(Value::from)),
            ("cpu", "shares", self.cpu_share.map(Value::from)),
            ("cpu", "realtimePeriod", self.cpu_rt_period.map(Value::from)),
            ("cpu", "realtimeRuntime", self.cpu_rt_runtime.map(Value::from)),
            ("cpu", "cpus", self.cpuset_cpus.clone().map(Value::from)),
            ("cpu", "mems", self.cpuset_mems.clone().map(Value::from)),
            ("pids", "limit", self.pids_limit.map(Value::from)),
            ("blockIO", "weight", self.blkio_weight.map(Value::from)),
        ];
        let mut document = Map::new();
        for (group, name, value) in entries {
            let Some(value) = value else { continue };
            let group = document.entry(group).or_insert_with(|| json!({}));
            group[name] = value;
        }
        document
    }
}
