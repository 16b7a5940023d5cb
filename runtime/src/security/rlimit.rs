//! Resource limits (getrlimit(2)).
//!
//! A hard limit above the current one needs CAP_SYS_RESOURCE in the first user namespace, which
//! no process inside another one can have. So raising is done early, from the host's side, and
//! the exact values are set last by the process itself: a tight limit must not bite while its
//! container is still being built.

use linux::process::Pid;
use linux::{Context as _, Errno};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType};
use rustix::process::{self, Resource, Rlimit};

use crate::{Error, Result};

/// One limit to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    name: String,
    resource: Resource,
    soft: Option<u64>,
    hard: Option<u64>,
}

/// Reads `process.rlimits`.
pub(crate) fn from_spec(spec: &[PosixRlimit]) -> Result<Vec<Limit>> {
    let mut limits: Vec<Limit> = Vec::with_capacity(spec.len());
    for one in spec {
        let limit = Limit {
            name: one.typ().to_string(),
            resource: resource(one.typ()),
            soft: value(one.soft()),
            hard: value(one.hard()),
        };
        let refuse = |reason| Err(Error::config("process.rlimits", reason));
        if limits.iter().any(|other| other.resource == limit.resource) {
            return refuse(format!("{} is there twice; keep one of them", limit.name));
        }
        if above(limit.soft, limit.hard) {
            return refuse(format!(
                "{}: the soft limit {} is above the hard limit {}; lower it",
                limit.name,
                show(limit.soft),
                show(limit.hard)
            ));
        }
        limits.push(limit);
    }
    Ok(limits)
}

impl Limit {
    /// Raises the hard limit of `pid`, or of the caller, to what is asked for; never lowers it.
    pub(super) fn raise(&self, pid: Option<Pid>) -> linux::Result<()> {
        // A child starts with the limits of its parent, which is the caller.
        let current = process::getrlimit(self.resource);
        if !above(self.hard, current.maximum) {
            return Ok(());
        }
        let raised = Rlimit { current: current.current, maximum: self.hard };
        let pid = pid.and_then(|pid| process::Pid::from_raw(pid.get()));
        let result = process::prlimit(pid, self.resource, raised).map(drop).during(|| {
            format!("raise {} from {} to {}", self.name, show(current.maximum), show(self.hard))
        });
        result.map_err(|error| match error.errno() {
            Errno::PERM if self.resource == Resource::Nofile => error
                .with_hint("it needs CAP_SYS_RESOURCE on the host and must stay below fs.nr_open"),
            Errno::PERM => error.with_hint("it needs CAP_SYS_RESOURCE on the host"),
            _ => error,
        })
    }

    /// Sets both values for the caller.
    pub(super) fn set(&self) -> linux::Result<()> {
        let limit = Rlimit { current: self.soft, maximum: self.hard };
        process::setrlimit(self.resource, limit)
            .during(|| format!("set {} to {}:{}", self.name, show(self.soft), show(self.hard)))
    }
}

/// Of no limit, JSON has the largest number.
fn value(number: u64) -> Option<u64> {
    (number != u64::MAX).then_some(number)
}

fn above(one: Option<u64>, other: Option<u64>) -> bool {
    one.unwrap_or(u64::MAX) > other.unwrap_or(u64::MAX)
}

fn show(value: Option<u64>) -> String {
    value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string())
}

fn resource(name: PosixRlimitType) -> Resource {
    match name {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

#[cfg(test)]
mod tests;
