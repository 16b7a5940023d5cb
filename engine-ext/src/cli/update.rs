use clap::Args;
use ui::Report;

use super::Session;
use super::args::ResourceArgs;
use crate::lifecycle;
use crate::request::build_change;

/// Change limits and restart policy of containers
///
/// What is not named stays. A running container has the new limits at once, and each keeps them
/// over a restart.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Weigh CPU time against other containers
    #[arg(long, value_name = "N")]
    cpu_shares: Option<String>,
    /// Set the period of --cpu-quota in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<String>,
    /// Limit CPU time in each period, in microseconds
    #[arg(long, value_name = "US")]
    cpu_quota: Option<String>,
    /// Limit CPU time, for example 1.5
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// Set the real-time period in microseconds
    #[arg(long, value_name = "US")]
    cpu_rt_period: Option<String>,
    /// Limit real-time CPU time in each period
    #[arg(long, value_name = "US")]
    cpu_rt_runtime: Option<String>,
    /// Run on these CPUs only, for example 0-3,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Use memory of these nodes only
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Limit memory, for example 512m; at least 4m
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// Limit memory and swap together; -1 is no limit
    #[arg(long, value_name = "SIZE")]
    memory_swap: Option<String>,
    /// Reclaim above this when the host is short
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Limit kernel memory; of a stopped container only
    #[arg(long, value_name = "SIZE")]
    kernel_memory: Option<String>,
    /// Limit the number of tasks; 0 or less is no limit
    #[arg(long, value_name = "N")]
    pids_limit: Option<String>,
    /// Weigh block I/O, 10 to 1000
    #[arg(long, value_name = "N")]
    blkio_weight: Option<String>,
    /// Start again: no, always, on-failure[:N], ...
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl UpdateArgs {
    fn limits(&self) -> ResourceArgs {
        ResourceArgs {
            cpu_shares: self.cpu_shares.clone(),
            cpu_period: self.cpu_period.clone(),
            cpu_quota: self.cpu_quota.clone(),
            cpus: self.cpus.clone(),
            cpu_rt_period: self.cpu_rt_period.clone(),
            cpu_rt_runtime: self.cpu_rt_runtime.clone(),
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            memory: self.memory.clone(),
            memory_swap: self.memory_swap.clone(),
            memory_reservation: self.memory_reservation.clone(),
            kernel_memory: self.kernel_memory.clone(),
            pids_limit: self.pids_limit.clone(),
            blkio_weight: self.blkio_weight.clone(),
            ..ResourceArgs::default()
        }
    }
}

pub(crate) fn update(session: &Session, args: &UpdateArgs) -> Report {
    let change = build_change(&args.limits(), args.restart.as_deref())?;
    session
        .each(&args.containers, |container| lifecycle::update(&session.engine, container, &change))
}
