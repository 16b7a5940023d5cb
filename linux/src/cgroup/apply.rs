//! Bringing a cgroup's settings in line with [`Resources`].
//!
//! A setting is written or the call fails naming the member and the controller; none is passed
//! over. Two settings that bind each other (memory below memory and swap, burst below quota) are
//! written in the order that the kernel accepts, which depends on where they come from.

use std::path::Path;

use super::kernfs::{self, read_text};
use super::resources::Resources;
use super::{Cgroup, Place, Version, create};
use crate::error::{Errno, Error, Result};

/// A file to write, for a member of `linux.resources`.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) member: &'static str,
    pub(super) file: String,
    pub(super) value: String,
}

impl Setting {
    pub(super) fn new(member: &'static str, file: impl Into<String>, value: impl ToString) -> Self {
        Self { member, file: file.into(), value: value.to_string() }
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(&self.file);
        kernfs::write(&path, &self.value).map_err(|errno| {
            let call = format!(
                "linux.resources.{}: write {:?} to {}",
                self.member,
                self.value,
                path.display()
            );
            let error = Error::new(call, errno);
            match hint(self.member, errno) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })
    }
}

/// What helps against the refusals that people meet.
fn hint(member: &str, errno: Errno) -> Option<&'static str> {
    Some(match (member, errno) {
        (_, Errno::NOENT) => "this kernel has no such control",
        (_, Errno::PERM | Errno::ACCESS) if !member.starts_with("cpu.") => {
            "run it on the host, as root"
        }
        ("memory.limit" | "memory.swap", Errno::BUSY) => {
            "more is in use and cannot be reclaimed; choose a higher limit"
        }
        ("memory.limit" | "memory.swap", Errno::INVAL) => {
            "memory.swap counts memory and swap together and must not be below memory.limit"
        }
        ("cpu.quota" | "cpu.period" | "cpu.burst", Errno::INVAL) => {
            "quota at least 1000, period 1000 to 1000000, burst at most quota, \
             none above what the parent cgroup has"
        }
        ("cpu.realtimeRuntime" | "cpu.realtimePeriod", Errno::INVAL) => {
            "the parent cgroup has no realtime to give; raise its cpu.rt_runtime_us first"
        }
        ("cpu.shares", Errno::INVAL) => "shares have no effect while cpu.idle is 1",
        ("cpu.cpus" | "cpu.mems", _) => {
            "name online CPUs or memory nodes that the parent cgroup has, as in 0-3,8"
        }
        (_, Errno::NODEV | Errno::NXIO) if member.starts_with("blockIO.") => {
            "name a whole disk by major:minor"
        }
        ("network.priorities", Errno::NODEV) => "name a link of the host",
        _ => return None,
    })
}

impl Cgroup {
    /// Writes every setting that `resources` has.
    pub fn apply(&self, resources: &Resources) -> Result<()> {
        self.apply_memory(&resources.memory)?;
        self.apply_cpu(&resources.cpu)?;
        self.apply_cpuset(&resources.cpuset)?;
        self.apply_pids(resources.pids)?;
        self.apply_block(&resources.block)?;
        self.apply_huge_pages(&resources.huge_pages)?;
        self.apply_rdma(&resources.rdma)?;
        self.apply_network(&resources.network)?;
        // Last, as these files are the same that members above may have set.
        self.apply_unified(&resources.unified)?;
        match &resources.devices {
            Some(rules) => {
                self.devices().set(rules).map(drop).map_err(|e| e.within("linux.resources.devices"))
            }
            None => Ok(()),
        }
    }

    /// Where `controller` is set for this cgroup; enables it on the way there in the v2 tree.
    pub(super) fn place_for(&self, member: &str, controller: &'static str) -> Result<&Place> {
        let within = |error: Error| error.within(format!("linux.resources.{member}"));
        let Some(place) = self.place_with(controller) else {
            let call = format!("find cgroup controller {controller}");
            return Err(within(
                Error::new(call, Errno::OPNOTSUPP)
                    .with_hint("this host has it neither mounted as v1 nor enabled in the v2 tree"),
            ));
        };
        if place.hierarchy.version == Version::V2 {
            let file = place.dir.join("cgroup.controllers");
            let enabled = read_text(&file).unwrap_or_default();
            if !enabled.split_whitespace().any(|name| name == controller) {
                create::enable(&place.hierarchy.mount_point, &place.dir, controller)
                    .map_err(within)?;
            }
        }
        Ok(place)
    }

    fn apply_unified(&self, files: &[(String, String)]) -> Result<()> {
        for (file, value) in files {
            let member = format!("linux.resources.unified[{file:?}]");
            let Some((controller, _)) = file.split_once('.').filter(|_| !file.contains('/')) else {
                return Err(Error::new(member, Errno::INVAL)
                    .with_hint("name a file of the v2 cgroup, as in memory.high"));
            };
            let Some(place) = self.unified() else {
                return Err(Error::new(member, Errno::OPNOTSUPP)
                    .with_hint("no v2 tree is mounted on this host"));
            };
            let bound = file.starts_with("cgroup.max.") || file == "cgroup.pressure";
            if controller == "cgroup" && !bound {
                return Err(Error::new(member, Errno::OPNOTSUPP).with_hint(
                    "processes and controllers of the cgroup are the runtime's to set",
                ));
            }
            let available = place.hierarchy.controllers.iter().find(|name| *name == controller);
            if let Some(controller) = available {
                create::enable(&place.hierarchy.mount_point, &place.dir, controller)
                    .map_err(|error| error.within(&member))?;
            }
            // A file of several lines takes one in a write.
            for line in value.lines() {
                kernfs::set(&place.dir.join(file), line).map_err(|error| {
                    let error = error.within(&member);
                    match error.errno() {
                        Errno::NOENT => error
                            .with_hint("the v2 tree of this host has no such controller or file"),
                        _ => error,
                    }
                })?;
            }
        }
        Ok(())
    }
}

/// Writes settings that bind each other: one that is refused as invalid is tried again after the
/// others.
pub(super) fn write_in_any_order(dir: &Path, mut settings: Vec<Setting>) -> Result<()> {
    loop {
        let before = settings.len();
        let mut first_error = None;
        let mut refused = Vec::new();
        for setting in settings {
            match setting.write(dir) {
                Ok(()) => {}
                Err(error) if error.is(Errno::INVAL) => {
                    first_error.get_or_insert(error);
                    refused.push(setting);
                }
                Err(error) => return Err(error),
            }
        }
        match first_error {
            None => return Ok(()),
            Some(error) if refused.len() == before => return Err(error),
            Some(_) => settings = refused,
        }
    }
}

/// A member that this version of the interface cannot honour.
pub(super) fn unsupported(
    member: &str,
    value: impl std::fmt::Display,
    hint: &'static str,
) -> Error {
    Error::new(format!("linux.resources.{member}: set to {value}"), Errno::OPNOTSUPP)
        .with_hint(hint)
}
