//! Health checks.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct HealthArgs {
    /// Check health with this command, run by /bin/sh -c inside
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Wait this long between checks [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub health_interval: Option<String>,
    /// Let a check take this long [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub health_timeout: Option<String>,
    /// Wait this long before the first check [default: 0s]
    #[arg(long, value_name = "TIME")]
    pub health_start_period: Option<String>,
    /// Be unhealthy after this many failures [default: 3]
    #[arg(long, value_name = "N")]
    pub health_retries: Option<String>,
    /// Kill the container once it is unhealthy
    #[arg(long)]
    pub health_exit_on_unhealthy: bool,
    /// Run no health checks
    #[arg(long)]
    pub no_healthcheck: bool,
}
