//! Shares and upper bounds of disk traffic.
//!
//! Shares need a scheduler that knows them: BFQ for `*.bfq.*`, the io.cost model for `io.weight`,
//! CFQ (gone since Linux 5.0) for the rest. Documentation/block/bfq-iosched.rst, cgroup-v2.rst "IO".

use super::plan::{Plan, Setting, unsupported};
use super::resources::{Block, Throttle, ThrottleKind};
use super::{Cgroup, Place, Version};
use crate::error::{Errno, Error, Result};

impl Cgroup {
    pub(super) fn plan_block(&self, block: &Block, plan: &mut Plan) -> Result<()> {
        for (member, weight) in weights(block) {
            // 0 takes the share of one disk away.
            let resets = weight == 0 && member == "blockIO.weightDevice";
            if !resets && !(10..=1000).contains(&weight) {
                let call = format!("linux.resources.{member}: set to {weight}");
                return Err(Error::new(call, Errno::RANGE).with_hint("use 10 to 1000"));
            }
        }
        let member = match block {
            Block { weight: Some(_), .. } => "blockIO.weight",
            Block { leaf_weight: Some(_), .. } => "blockIO.leafWeight",
            Block { devices, .. } if !devices.is_empty() => "blockIO.weightDevice",
            Block { throttles, .. } => match throttles.first() {
                Some(throttle) => throttle.kind.member(),
                None => return Ok(()),
            },
        };
        let place = match self.place_with("blkio") {
            Some(place) => place,
            None => self.place_for(member, "io")?,
        };
        plan_weights(place, block, plan)?;
        for throttle in &block.throttles {
            plan.push(&place.dir, throttle_setting(place.hierarchy.version, throttle));
        }
        Ok(())
    }
}

impl Cgroup {
    /// The upper bounds that are in force, as the kernel tells them.
    pub fn throttles(&self) -> Result<Vec<Throttle>> {
        let Some(place) = self.place_with("blkio").or_else(|| self.place_with("io")) else {
            return Ok(Vec::new());
        };
        if place.hierarchy.version == Version::V2 {
            return Ok(parse_v2(&place.read_if_there("io.max")?));
        }
        let mut throttles = Vec::new();
        for kind in ThrottleKind::ALL {
            throttles.extend(parse_v1(kind, &place.read_if_there(kind.v1())?));
        }
        Ok(throttles)
    }
}

/// `MAJ:MIN rate`.
fn parse_v1(kind: ThrottleKind, text: &str) -> Vec<Throttle> {
    let line = |line: &str| {
        let (device, rate) = line.split_once(' ')?;
        Some(Throttle { device: device.parse().ok()?, kind, rate: rate.trim().parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

/// `MAJ:MIN rbps=1024 wbps=max ...`.
fn parse_v2(text: &str) -> Vec<Throttle> {
    let mut throttles = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let kind = ThrottleKind::ALL.into_iter().find(|kind| kind.v2() == key);
            if let (Some(kind), Ok(rate)) = (kind, value.parse()) {
                throttles.push(Throttle { device, kind, rate });
            }
        }
    }
    throttles
}

impl ThrottleKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::ReadBytes, Self::WriteBytes, Self::ReadOperations, Self::WriteOperations];

    fn member(self) -> &'static str {
        match self {
            Self::ReadBytes => "blockIO.throttleReadBpsDevice",
            Self::WriteBytes => "blockIO.throttleWriteBpsDevice",
            Self::ReadOperations => "blockIO.throttleReadIOPSDevice",
            Self::WriteOperations => "blockIO.throttleWriteIOPSDevice",
        }
    }

    fn v1(self) -> &'static str {
        match self {
            Self::ReadBytes => "blkio.throttle.read_bps_device",
            Self::WriteBytes => "blkio.throttle.write_bps_device",
            Self::ReadOperations => "blkio.throttle.read_iops_device",
            Self::WriteOperations => "blkio.throttle.write_iops_device",
        }
    }

    fn v2(self) -> &'static str {
        match self {
            Self::ReadBytes => "rbps",
            Self::WriteBytes => "wbps",
            Self::ReadOperations => "riops",
            Self::WriteOperations => "wiops",
        }
    }
}

fn weights(block: &Block) -> impl Iterator<Item = (&'static str, u16)> {
    let own = [("blockIO.weight", block.weight), ("blockIO.leafWeight", block.leaf_weight)];
    let devices = block.devices.iter().flat_map(|device| {
        [("blockIO.weightDevice", device.weight), ("blockIO.weightDevice", device.leaf_weight)]
    });
    own.into_iter().chain(devices).filter_map(|(member, weight)| Some((member, weight?)))
}

fn throttle_setting(version: Version, throttle: &Throttle) -> Setting {
    let Throttle { device, kind, rate } = *throttle;
    match version {
        Version::V1 => Setting::new(kind.member(), kind.v1(), rate).of_object(device, "0"),
        Version::V2 => {
            let rate = if rate == 0 { "max".to_owned() } else { rate.to_string() };
            let reset = format!("{}=max", kind.v2());
            Setting::new(kind.member(), "io.max", format!("{}={rate}", kind.v2()))
                .of_object(device, reset)
        }
    }
}

/// The files of a host for one purpose; the first that is there is used.
struct WeightFiles {
    member: &'static str,
    choices: &'static [(&'static str, Scale)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// 10 to 1000, as asked.
    Plain,
    /// 1 to 10000.
    IoWeight,
}

fn plan_weights(place: &Place, block: &Block, plan: &mut Plan) -> Result<()> {
    let v1 = place.hierarchy.version == Version::V1;
    const V2: &[(&str, Scale)] = &[("io.bfq.weight", Scale::Plain), ("io.weight", Scale::IoWeight)];
    let own = WeightFiles {
        member: "blockIO.weight",
        choices: match v1 {
            true => &[("blkio.weight", Scale::Plain), ("blkio.bfq.weight", Scale::Plain)],
            false => V2,
        },
    };
    let device = WeightFiles {
        member: "blockIO.weightDevice",
        choices: match v1 {
            true => {
                &[("blkio.weight_device", Scale::Plain), ("blkio.bfq.weight_device", Scale::Plain)]
            }
            false => V2,
        },
    };
    let leaf = WeightFiles {
        member: "blockIO.leafWeight",
        choices: if v1 { &[("blkio.leaf_weight", Scale::Plain)] } else { &[] },
    };
    let leaf_device = WeightFiles {
        member: "blockIO.weightDevice",
        choices: if v1 { &[("blkio.leaf_weight_device", Scale::Plain)] } else { &[] },
    };
    if let Some(weight) = block.weight {
        plan.push(&place.dir, own.setting(place, weight)?);
    }
    if let Some(weight) = block.leaf_weight {
        plan.push(&place.dir, leaf.setting(place, weight)?);
    }
    for one in &block.devices {
        if let Some(weight) = one.weight {
            let setting = device.setting(place, weight)?;
            plan.push(&place.dir, setting.of_object(one.device, "default"));
        }
        if let Some(weight) = one.leaf_weight {
            let setting = leaf_device.setting(place, weight)?;
            plan.push(&place.dir, setting.of_object(one.device, "default"));
        }
    }
    Ok(())
}

impl WeightFiles {
    fn setting(&self, place: &Place, weight: u16) -> Result<Setting> {
        let there = |(file, _): &&(&str, Scale)| place.dir.join(file).exists();
        let Some((file, scale)) = self.choices.iter().find(there) else {
            return Err(unsupported(
                self.member,
                weight,
                "shares of a disk need the BFQ scheduler, or io.cost on cgroup v2",
            ));
        };
        let weight = match scale {
            _ if weight == 0 => "default".to_owned(),
            Scale::Plain => weight.to_string(),
            Scale::IoWeight => io_weight(weight).to_string(),
        };
        Ok(Setting::new(self.member, *file, weight))
    }
}

/// 10 to 1000 laid out on 1 to 10000, as runc and crun do.
fn io_weight(weight: u16) -> u16 {
    let scaled = 1 + u32::from(weight.saturating_sub(10)) * 9999 / 990;
    u16::try_from(scaled).unwrap_or(10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_laid_out_on_the_other_scale() {
        for (weight, expected) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(weight), expected, "{weight}");
        }
    }

    #[test]
    fn bounds_are_read_back() {
        let device = crate::device::DeviceNumber { major: 8, minor: 16 };
        let throttle = |kind, rate| Throttle { device, kind, rate };
        assert_eq!(
            parse_v1(ThrottleKind::ReadBytes, "8:16 1024\nnonsense\n"),
            [throttle(ThrottleKind::ReadBytes, 1024)]
        );
        assert_eq!(
            parse_v2("8:16 rbps=max wbps=2048 riops=7 wiops=max\n"),
            [throttle(ThrottleKind::WriteBytes, 2048), throttle(ThrottleKind::ReadOperations, 7)]
        );
    }
}
