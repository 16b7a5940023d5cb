//! `state.json`: what came of a container (file format). The shim alone writes it.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::config::PublishedPort;

/// The version of the file format.
pub const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of this format.
    pub version: u32,
    /// Where the container is in its life.
    pub status: Status,
    /// Host pid of init while there is one.
    pub pid: Option<i32>,
    /// Its start time in clock ticks since boot: tells it from a later process of that pid.
    pub start_time: Option<u64>,
    /// Which boot both are of; empty in files of before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub boot: String,
    /// When it last started, RFC 3339; empty before the first start.
    #[serde(default)]
    pub started_at: String,
    /// When it last ended, RFC 3339; empty before that.
    #[serde(default)]
    pub finished_at: String,
    /// What a shell would say: the exit code, or 128 and the signal.
    #[serde(default)]
    pub exit_code: i32,
    /// How init ended, as the kernel told it.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// What that means: `reboot`, `halt`.
    #[serde(default)]
    pub reason: Option<String>,
    /// Why the last start went wrong; empty when it did not.
    #[serde(default)]
    pub error: String,
    /// Restarts by policy, reboots of the guest not among them.
    #[serde(default)]
    pub restart_count: u32,
    /// Restarts because the guest rebooted.
    #[serde(default)]
    pub reboot_count: u32,
    /// The kernel killed something of it for memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// The user ended it: `unless-stopped` does not start it again.
    #[serde(default)]
    pub stopped_by_user: bool,
    /// The guest sent `READY=1` since it started.
    #[serde(default)]
    pub ready: bool,
    /// What its health checks found, when it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What it has of the bridge that it is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Lease>,
}

/// What a container has of a bridge while it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The bridge.
    pub bridge: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// How many of its bits name the network.
    pub prefix: u8,
    /// The bridge's own address.
    pub gateway: Ipv4Addr,
    /// The container's hardware address.
    pub mac: [u8; 6],
    /// What the host's end of the pair is called.
    pub host_link: String,
    /// What of the host leads to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PublishedPort>,
}

/// What health checks found since the container started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What they amount to.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last few results, the newest last.
    pub log: Vec<HealthResult>,
}

/// What health checks amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No success yet, and not enough failures.
    Starting,
    /// The last one succeeded, or too few failed since.
    Healthy,
    /// Too many failed in a row.
    Unhealthy,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began, RFC 3339.
    pub start: String,
    /// When it ended.
    pub end: String,
    /// 0 is healthy; -1: it did not end by itself.
    pub exit_code: i32,
    /// The beginning of what it said.
    pub output: String,
}

impl Health {
    /// Before the first check.
    #[must_use]
    pub fn starting() -> Self {
        Self { status: HealthStatus::Starting, failing_streak: 0, log: vec![] }
    }
}

impl HealthStatus {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How init ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "lowercase")]
pub enum Exit {
    /// It returned this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
    /// Nobody was there to see.
    Unknown,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    Created,
    /// On its way.
    Starting,
    /// Its init runs.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// It ended and is about to start again.
    Restarting,
    /// It ended.
    Stopped,
}

impl Status {
    /// Whether the container has, or is about to have, processes.
    #[must_use]
    pub fn is_live(self) -> bool {
        !matches!(self, Self::Created | Self::Stopped)
    }

    /// The word that users of this engine family know.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "inited",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Stopped => "exited",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl State {
    /// The state before the first start.
    #[must_use]
    pub fn created() -> Self {
        Self {
            version: VERSION,
            status: Status::Created,
            pid: None,
            start_time: None,
            boot: String::new(),
            started_at: String::new(),
            finished_at: String::new(),
            exit_code: 0,
            exit: None,
            reason: None,
            error: String::new(),
            restart_count: 0,
            reboot_count: 0,
            oom_killed: false,
            stopped_by_user: false,
            ready: false,
            health: None,
            network: None,
        }
    }

    /// The same after an end that nobody saw.
    #[must_use]
    pub(crate) fn ended_unseen(self) -> Self {
        /// The predecessor's word for that.
        const EXIT_CODE_UNKNOWN: i32 = 137;
        Self {
            status: Status::Stopped,
            pid: None,
            start_time: None,
            exit_code: EXIT_CODE_UNKNOWN,
            exit: Some(Exit::Unknown),
            ready: false,
            ..self
        }
    }

    /// Its pid and start time mean nothing after another boot: somebody else may have both.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        self.boot.is_empty() || self.boot == boot()
    }
}

/// This boot of the host; empty where the kernel does not tell.
#[must_use]
pub fn boot() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests;
