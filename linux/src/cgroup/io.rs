//! Upper bounds of disk traffic. Shares are in `shares`.

use super::plan::{Plan, Setting};
use super::resources::{Block, Throttle, ThrottleKind};
use super::{Cgroup, Version, shares};
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
        shares::plan(place, block, plan)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
