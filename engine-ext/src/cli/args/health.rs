//! Health checks. Known by name, not run yet.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct HealthArgs {
    #[arg(long, hide = true)]
    pub health_cmd: Option<String>,
    #[arg(long, hide = true)]
    pub health_interval: Option<String>,
    #[arg(long, hide = true)]
    pub health_timeout: Option<String>,
    #[arg(long, hide = true)]
    pub health_start_period: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub health_retries: Option<String>,
    #[arg(long, hide = true)]
    pub health_exit_on_unhealthy: bool,
    /// Run no health checks
    #[arg(long)]
    pub no_healthcheck: bool,
}
