//! Bringing a cgroup's settings in line with [`Resources`].
//!
//! A setting is written or the call fails naming the member and the controller; none is passed
//! over.

use super::kernfs::read_text;
use super::plan::{Plan, Setting};
use super::resources::Resources;
use super::{Cgroup, Place, Version, create};
use crate::error::{Errno, Error, Result};

impl Cgroup {
    /// Writes every setting that `resources` has, for a cgroup that is thrown away if that fails.
    pub fn apply(&self, resources: &Resources) -> Result<()> {
        self.plan(resources)?.write()?;
        self.apply_devices(resources)
    }

    /// Writes every setting that `resources` has, or leaves all as they were.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        let plan = self.plan(resources)?;
        let before = plan.current();
        plan.write().and_then(|()| self.apply_devices(resources)).map_err(|error| {
            let stuck = before.write_back();
            match stuck.is_empty() {
                true => error,
                false => error.within(format!("{} cannot be set back", stuck.join(", "))),
            }
        })
    }

    fn plan(&self, resources: &Resources) -> Result<Plan> {
        let mut plan = Plan::default();
        self.plan_memory(&resources.memory, &mut plan)?;
        self.plan_cpu(&resources.cpu, &mut plan)?;
        self.plan_cpuset(&resources.cpuset, &mut plan)?;
        self.plan_pids(resources.pids, &mut plan)?;
        self.plan_block(&resources.block, &mut plan)?;
        self.plan_huge_pages(&resources.huge_pages, &mut plan)?;
        self.plan_rdma(&resources.rdma, &mut plan)?;
        self.plan_network(&resources.network, &mut plan)?;
        // Last, as these files are the same that members above may have set.
        self.plan_unified(&resources.unified, &mut plan)?;
        Ok(plan)
    }

    fn apply_devices(&self, resources: &Resources) -> Result<()> {
        let Some(rules) = &resources.devices else { return Ok(()) };
        let set = self.devices().set(rules);
        set.map(drop).map_err(|error| error.within("linux.resources.devices"))
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

    fn plan_unified(&self, files: &[(String, String)], plan: &mut Plan) -> Result<()> {
        for (file, value) in files {
            let member = format!("unified[{file:?}]");
            let refuse = |errno, hint| {
                Err(Error::new(format!("linux.resources.{member}"), errno).with_hint(hint))
            };
            let Some((controller, _)) = file.split_once('.').filter(|_| !file.contains('/')) else {
                return refuse(Errno::INVAL, "name a file of the v2 cgroup, as in memory.high");
            };
            let Some(place) = self.unified() else {
                return refuse(Errno::OPNOTSUPP, "no v2 tree is mounted on this host");
            };
            let bound = file.starts_with("cgroup.max.") || file == "cgroup.pressure";
            if controller == "cgroup" && !bound {
                return refuse(
                    Errno::OPNOTSUPP,
                    "processes and controllers of the cgroup are the runtime's to set",
                );
            }
            let available = place.hierarchy.controllers.iter().find(|name| *name == controller);
            if let Some(controller) = available {
                create::enable(&place.hierarchy.mount_point, &place.dir, controller)
                    .map_err(|error| error.within(format!("linux.resources.{member}")))?;
            }
            // A file of several lines takes one in a write, and each is of one object.
            for line in value.lines() {
                let setting = match line.split_once(' ') {
                    Some((object, value)) if object.contains(':') => {
                        let reset = match file.as_str() {
                            "io.max" => "rbps=max wbps=max riops=max wiops=max",
                            _ => "default",
                        };
                        Setting::new(member.clone(), file, value).of_object(object, reset)
                    }
                    _ => Setting::new(member.clone(), file, line),
                };
                plan.push(&place.dir, setting);
            }
        }
        Ok(())
    }
}
