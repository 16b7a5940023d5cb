//! What is recorded beside what there is.

use container::Running;
use linux::cgroup::Cgroup;
use linux::cgroup::resources::Throttle;

use crate::device::{self, LimitKind};
use crate::error::Result;
use crate::nic::{self, Links};
use crate::record::{LimitEntry, Record};
use crate::{path, route};

/// One recorded element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `device`, `path`, `nic`, `route`, or the name of a limit.
    pub kind: &'static str,
    /// How it is called.
    pub name: String,
    /// What is wrong with it; `None`: it is as recorded.
    pub drift: Option<String>,
}

/// Looks at each recorded element in the container.
///
/// # Errors
/// The kernel does not let us look.
pub fn compare(live: &Running, links: &Links, record: &Record) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for device in &record.devices {
        let name = format!("{}:{}", device.path_on_host, device.path_in_container);
        let drift = device::drift(live, device)?;
        findings.push(Finding { kind: "device", name, drift });
    }
    let cgroup = live.cgroup()?;
    let throttles = cgroup.throttles()?;
    for kind in LimitKind::ALL {
        for limit in kind.of(record) {
            let drift = limit_drift(cgroup, kind, limit, &throttles);
            findings.push(Finding { kind: kind.name(), name: limit.path.clone(), drift });
        }
    }
    for bind in &record.binds {
        let drift = path::drift(live, bind, record.source_of(bind))?;
        findings.push(Finding { kind: "path", name: bind.0.clone(), drift });
    }
    for nic in &record.nics {
        let name = format!("{}:{}", nic.host_nic_name, nic.ctr_nic_name);
        let drift = nic::drift(live, links, nic)?;
        findings.push(Finding { kind: "nic", name, drift });
    }
    for entry in &record.routes {
        let drift = route::drift(live, entry)?;
        findings.push(Finding { kind: "route", name: route::plan::shown(entry), drift });
    }
    Ok(findings)
}

fn limit_drift(
    cgroup: &Cgroup,
    kind: LimitKind,
    limit: &LimitEntry,
    throttles: &[Throttle],
) -> Option<String> {
    let device = device::limited(limit);
    let found = match kind.throttle() {
        Some(wanted) => {
            let is_its = |one: &&Throttle| one.device == device && one.kind == wanted;
            throttles.iter().find(is_its).map_or(0, |throttle| throttle.rate)
        }
        // A disk that is gone has no share, and its device is told of.
        None => cgroup.weight(device).ok().flatten().map_or(0, u64::from),
    };
    let shown = |rate: &str| if rate == "0" { "none".to_owned() } else { rate.to_owned() };
    let found = found.to_string();
    (found != limit.value).then(|| format!("is {}, not {}", shown(&found), shown(&limit.value)))
}
