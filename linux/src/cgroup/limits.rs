//! The small controllers: pids, huge pages, RDMA, network marks.

use super::kernfs::read_text;
use super::plan::{Plan, Setting, unsupported};
use super::resources::{Bound, HugePages, Network, Rdma};
use super::{Cgroup, Version};
use crate::error::{Errno, Error, Result};

/// Processes and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PidsUsage {
    /// In the cgroup and below.
    pub current: u64,
    /// The tightest bound of the cgroup and those above it.
    pub limit: Option<u64>,
}

impl Cgroup {
    pub(super) fn plan_pids(&self, limit: Option<Bound>, plan: &mut Plan) -> Result<()> {
        let Some(limit) = limit else { return Ok(()) };
        let place = self.place_for("pids.limit", "pids")?;
        plan.push(&place.dir, Setting::new("pids.limit", "pids.max", limit));
        Ok(())
    }

    /// How many there are and may be.
    pub fn pids(&self) -> Result<Option<PidsUsage>> {
        let Some(place) = self.place_with("pids") else { return Ok(None) };
        let mut usage = PidsUsage::default();
        let path = place.dir.join("pids.current");
        match read_text(&path) {
            Ok(text) => usage.current = text.parse().unwrap_or(0),
            // The top counts nothing.
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(Error::new(format!("read {}", path.display()), errno)),
        }
        for dir in place.up_the_tree() {
            let limit = read_text(&dir.join("pids.max")).ok().and_then(|text| text.parse().ok());
            usage.limit = [usage.limit, limit].into_iter().flatten().min();
        }
        Ok(Some(usage))
    }

    pub(super) fn plan_huge_pages(&self, limits: &[HugePages], plan: &mut Plan) -> Result<()> {
        const MEMBER: &str = "hugepageLimits";
        for HugePages { page_size, limit } in limits {
            if !is_page_size(page_size) {
                let call = format!("linux.resources.{MEMBER}: page size {page_size:?}");
                return Err(Error::new(call, Errno::INVAL).with_hint("write it as in 2MB or 1GB"));
            }
            let place = self.place_for(MEMBER, "hugetlb")?;
            let name = match place.hierarchy.version {
                Version::V1 => "limit_in_bytes",
                Version::V2 => "max",
            };
            let file = format!("hugetlb.{page_size}.{name}");
            plan.push(&place.dir, Setting::new(MEMBER, file, limit));
            // From Linux 5.7 on, pages that are reserved and not yet touched have a bound of their
            // own; without it a process dies on touching what it was promised.
            let reserved = format!("hugetlb.{page_size}.rsvd.{name}");
            if place.dir.join(&reserved).exists() {
                plan.push(&place.dir, Setting::new(MEMBER, reserved, limit));
            }
        }
        Ok(())
    }

    pub(super) fn plan_rdma(&self, limits: &[Rdma], plan: &mut Plan) -> Result<()> {
        const MEMBER: &str = "rdma";
        for Rdma { device, handles, objects } in limits {
            if device.is_empty() || device.contains(char::is_whitespace) {
                let call = format!("linux.resources.{MEMBER}: device {device:?}");
                return Err(Error::new(call, Errno::INVAL).with_hint("write it as in mlx5_0"));
            }
            let place = self.place_for(MEMBER, "rdma")?;
            let mut values = Vec::new();
            for (key, value) in [("hca_handle", handles), ("hca_object", objects)] {
                if let Some(value) = value {
                    values.push(format!("{key}={value}"));
                }
            }
            let setting = Setting::new(MEMBER, "rdma.max", values.join(" "));
            let setting = setting.of_object(device, "hca_handle=max hca_object=max");
            plan.push(&place.dir, setting);
        }
        Ok(())
    }

    pub(super) fn plan_network(&self, network: &Network, plan: &mut Plan) -> Result<()> {
        const HINT: &str = "it needs the v1 controller; on cgroup v2 mark packets with nftables";
        if let Some(id) = network.class_id {
            let Some(dir) = self.controller_dir("net_cls") else {
                return Err(unsupported("network.classID", id, HINT));
            };
            plan.push(dir, Setting::new("network.classID", "net_cls.classid", id));
        }
        for (link, priority) in &network.priorities {
            let Some(dir) = self.controller_dir("net_prio") else {
                return Err(unsupported("network.priorities", format!("{link} {priority}"), HINT));
            };
            let setting = Setting::new("network.priorities", "net_prio.ifpriomap", priority);
            plan.push(dir, setting.of_object(link, "0"));
        }
        Ok(())
    }
}

/// Goes into a file's name, so nothing but a number and a unit.
fn is_page_size(text: &str) -> bool {
    let digits = text.strip_suffix("KB").or(text.strip_suffix("MB")).or(text.strip_suffix("GB"));
    digits.is_some_and(|text| {
        (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_size_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("2MB", true),
            ("64KB", true),
            ("1GB", true),
            ("MB", false),
            ("2mb", false),
            ("../2MB", false),
            ("2M", false),
            ("1234567MB", false),
        ] {
            assert_eq!(is_page_size(text), expected, "{text}");
        }
    }
}
