use std::fmt::Write as _;
use std::fs;

use anyhow::Result;
use clap::Args;
use container::Status;
use linux::cgroup::{Kind, Layout};
use ui::{Exit, Report};

use super::{Session, print};

/// Show what this host runs and is
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {}

pub(crate) fn info(session: &Session, _: &InfoArgs) -> Report {
    let (mut running, mut paused, mut stopped) = (0, 0, 0);
    let containers = session.engine.store.list()?;
    for container in &containers {
        match container.state()?.status {
            Status::Paused => paused += 1,
            Status::Running | Status::Starting | Status::Restarting => running += 1,
            Status::Created | Status::Stopped => stopped += 1,
        }
    }
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let lines = [
        ("Containers", containers.len().to_string()),
        (" Running", running.to_string()),
        (" Paused", paused.to_string()),
        (" Stopped", stopped.to_string()),
        ("Images", "0".to_owned()),
        ("Server Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Logging Driver", "json-file".to_owned()),
        ("Cgroup Driver", "cgroupfs".to_owned()),
        ("Cgroup Layout", layout()?.to_owned()),
        ("Hugetlb Pagesize", huge_page()),
        ("Kernel Version", text(name.release())),
        ("Operating System", operating_system()),
        ("OSType", text(name.sysname())),
        ("Architecture", text(name.machine())),
        ("CPUs", cpus.to_string()),
        ("Total Memory", format!("{} GB", memory_kib() >> 20)),
        ("Name", text(name.nodename())),
        ("iSulad Root Dir", session.engine.store.layout().root().display().to_string()),
        ("State Dir", session.engine.store.layout().state().display().to_string()),
    ];
    let mut output = String::new();
    for (key, value) in lines {
        writeln!(output, "{key}: {value}")?;
    }
    print(&output)?;
    Ok(Exit::DONE)
}

fn layout() -> Result<&'static str> {
    Ok(match Layout::detect()?.kind() {
        Kind::Legacy => "legacy (v1)",
        Kind::Hybrid => "hybrid (v1 and v2)",
        Kind::Unified => "unified (v2)",
    })
}

fn huge_page() -> String {
    meminfo("Hugepagesize:").map_or_else(
        || "none".to_owned(),
        |kibibytes| crate::request::resources::page_size(kibibytes << 10),
    )
}

fn memory_kib() -> u64 {
    meminfo("MemTotal:").unwrap_or(0)
}

fn meminfo(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn operating_system() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}
