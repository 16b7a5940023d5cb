//! Shares of disk traffic.
//!
//! A share needs somebody who keeps to it, disk by disk: the BFQ scheduler (`*.bfq.*`), or on v2 the
//! io.cost model (`io.weight`) where it is on. A cgroup has their files whether or not any disk has
//! them at work. Documentation/block/bfq-iosched.rst, cgroup-v2.rst "IO".

use super::plan::{Plan, Setting, unsupported};
use super::resources::Block;
use super::{Cgroup, Place, Version, kernfs};
use crate::block::BlockDevice;
use crate::device::DeviceNumber;
use crate::error::Result;

/// Who shares out a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shares {
    /// The BFQ scheduler.
    Bfq,
    /// The io.cost model of cgroup v2.
    Cost,
}

/// The files of a host for one purpose; the first that is there is used.
struct WeightFiles {
    member: &'static str,
    choices: &'static [(&'static str, Scale)],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// 10 to 1000, as asked.
    Plain,
    /// 1 to 10000.
    IoWeight,
}

const HINT: &str = "shares of a disk need the BFQ scheduler, or io.cost on cgroup v2";
const DEVICE: &str = "blockIO.weightDevice";

impl Cgroup {
    /// Who keeps to shares of the disk `device`, if anybody does.
    pub fn shares(&self, device: DeviceNumber) -> Result<Option<Shares>> {
        let Some(place) = self.io_place() else { return Ok(None) };
        let all = shares_of(place, device)?;
        Ok(all.into_iter().find(|shares| file_of(place, *shares).is_some()))
    }

    /// The share of the disk `device` that is in force, 10 to 1000; `None`: as every disk's.
    pub fn weight(&self, device: DeviceNumber) -> Result<Option<u16>> {
        let (Some(place), Some(shares)) = (self.io_place(), self.shares(device)?) else {
            return Ok(None);
        };
        let Some((file, scale)) = file_of(place, shares) else { return Ok(None) };
        let text = place.read_if_there(file)?;
        Ok(weight_in(&text, device).and_then(|weight| match scale {
            Scale::Plain => Some(weight),
            Scale::IoWeight => of_io_weight(weight),
        }))
    }

    fn io_place(&self) -> Option<&Place> {
        self.place_with("blkio").or_else(|| self.place_with("io"))
    }
}

/// All that may keep to a share of the disk, the one that counts first.
fn shares_of(place: &Place, device: DeviceNumber) -> Result<Vec<Shares>> {
    let mut all = Vec::new();
    if BlockDevice::of(device)?.scheduler()?.as_deref() == Some("bfq") {
        all.push(Shares::Bfq);
    }
    // The top alone has it, and not the top of a cgroup namespace.
    let qos = place.hierarchy.mount_point.join("io.cost.qos");
    if place.hierarchy.version == Version::V2
        && kernfs::read_text(&qos).is_ok_and(|text| is_on(&text, device))
    {
        all.push(Shares::Cost);
    }
    Ok(all)
}

/// `MAJ:MIN enable=1 ctrl=auto ...`.
fn is_on(qos: &str, device: DeviceNumber) -> bool {
    line_of(qos, device).is_some_and(|line| line.split(' ').any(|word| word == "enable=1"))
}

/// `MAJ:MIN 500`.
fn weight_in(text: &str, device: DeviceNumber) -> Option<u16> {
    line_of(text, device)?.parse().ok()
}

fn line_of(text: &str, device: DeviceNumber) -> Option<&str> {
    let device = device.to_string();
    text.lines().find_map(|line| line.strip_prefix(&device)?.strip_prefix(' ')).map(str::trim)
}

/// Where shares of one disk go.
fn file_of(place: &Place, shares: Shares) -> Option<(&'static str, Scale)> {
    let (file, scale) = match (place.hierarchy.version, shares) {
        (Version::V1, Shares::Bfq) => ("blkio.bfq.weight_device", Scale::Plain),
        (Version::V2, Shares::Bfq) => ("io.bfq.weight", Scale::Plain),
        (Version::V2, Shares::Cost) => ("io.weight", Scale::IoWeight),
        (Version::V1, Shares::Cost) => return None,
    };
    place.dir.join(file).exists().then_some((file, scale))
}

pub(super) fn plan(place: &Place, block: &Block, plan: &mut Plan) -> Result<()> {
    let v1 = place.hierarchy.version == Version::V1;
    let own = WeightFiles {
        member: "blockIO.weight",
        choices: match v1 {
            true => &[("blkio.weight", Scale::Plain), ("blkio.bfq.weight", Scale::Plain)],
            false => &[("io.bfq.weight", Scale::Plain), ("io.weight", Scale::IoWeight)],
        },
    };
    // CFQ, which had them, has gone with Linux 5.0.
    let leaf = |member, file| WeightFiles { member, choices: if v1 { file } else { &[] } };
    if let Some(weight) = block.weight {
        plan.push(&place.dir, own.setting(place, weight)?);
    }
    if let Some(weight) = block.leaf_weight {
        let leaf = leaf("blockIO.leafWeight", &[("blkio.leaf_weight", Scale::Plain)]);
        plan.push(&place.dir, leaf.setting(place, weight)?);
    }
    for one in &block.devices {
        if let Some(weight) = one.weight {
            plan_device(place, one.device, weight, plan)?;
        }
        if let Some(weight) = one.leaf_weight {
            let leaf = leaf(DEVICE, &[("blkio.leaf_weight_device", Scale::Plain)]);
            let setting = leaf.setting(place, weight)?;
            plan.push(&place.dir, setting.of_object(one.device, "default"));
        }
    }
    Ok(())
}

/// With whoever keeps to it; taken away it is from all.
fn plan_device(place: &Place, device: DeviceNumber, weight: u16, plan: &mut Plan) -> Result<()> {
    let files = shares_of(place, device)?.into_iter().filter_map(|shares| file_of(place, shares));
    let files: Vec<(&str, Scale)> = files.collect();
    if weight == 0 {
        for (file, _) in files {
            let setting = Setting::new(DEVICE, file, "default");
            plan.push(&place.dir, setting.of_object(device, "default"));
        }
        return Ok(());
    }
    let Some((file, scale)) = files.first() else {
        return Err(unsupported(DEVICE, weight, HINT));
    };
    let setting = Setting::new(DEVICE, *file, scale.lay_out(weight));
    plan.push(&place.dir, setting.of_object(device, "default"));
    Ok(())
}

impl WeightFiles {
    fn setting(&self, place: &Place, weight: u16) -> Result<Setting> {
        let there = |(file, _): &&(&str, Scale)| place.dir.join(file).exists();
        let Some((file, scale)) = self.choices.iter().find(there) else {
            return Err(unsupported(self.member, weight, HINT));
        };
        let weight = if weight == 0 { "default".to_owned() } else { scale.lay_out(weight) };
        Ok(Setting::new(self.member, *file, weight))
    }
}

impl Scale {
    fn lay_out(self, weight: u16) -> String {
        match self {
            Self::Plain => weight.to_string(),
            Self::IoWeight => io_weight(weight).to_string(),
        }
    }
}

/// 10 to 1000 laid out on 1 to 10000, as runc and crun do.
fn io_weight(weight: u16) -> u16 {
    let scaled = 1 + u32::from(weight.saturating_sub(10)) * 9999 / 990;
    u16::try_from(scaled).unwrap_or(10_000)
}

/// The way back, for what was laid out so.
fn of_io_weight(found: u16) -> Option<u16> {
    (10..=1000).find(|&weight| io_weight(weight) == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_laid_out_on_the_other_scale() {
        for (weight, expected) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(weight), expected, "{weight}");
        }
        for weight in 10..=1000 {
            assert_eq!(of_io_weight(io_weight(weight)), Some(weight));
        }
        assert_eq!(of_io_weight(2), None);
    }

    #[test]
    fn lines_of_one_disk_are_read() {
        let device = DeviceNumber { major: 8, minor: 1 };
        assert_eq!(weight_in("default 100\n8:16 200\n8:1 300\n", device), Some(300));
        assert_eq!(weight_in("100\n", device), None);
        assert!(is_on("8:1 enable=1 ctrl=auto rpct=0.00\n", device));
        assert!(!is_on("8:16 enable=1 ctrl=auto\n8:1 enable=0 ctrl=user\n", device));
    }
}
