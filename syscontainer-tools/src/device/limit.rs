//! How much of a disk a container may use: into the cgroup, and looked at afterwards.

use container::Running;
use linux::Undo;
use linux::block::BlockDevice;
use linux::cgroup::Resources;
use linux::cgroup::resources::{Block, DeviceWeight, Throttle, ThrottleKind};
use linux::device::DeviceNumber;

use super::{LimitKind, QosLimit, host};
use crate::error::{Error, Result};
use crate::record::{LimitEntry, Record};

impl LimitKind {
    /// Every kind, in the order of the report.
    pub const ALL: [Self; 5] =
        [Self::ReadIops, Self::WriteIops, Self::ReadBps, Self::WriteBps, Self::Weight];

    /// The limits of this kind that are recorded.
    #[must_use]
    pub fn of(self, record: &Record) -> &[LimitEntry] {
        match self {
            Self::ReadIops => &record.read_iops,
            Self::WriteIops => &record.write_iops,
            Self::ReadBps => &record.read_bps,
            Self::WriteBps => &record.write_bps,
            Self::Weight => &record.weights,
        }
    }

    /// The same, to be changed.
    pub fn of_mut(self, record: &mut Record) -> &mut Vec<LimitEntry> {
        match self {
            Self::ReadIops => &mut record.read_iops,
            Self::WriteIops => &mut record.write_iops,
            Self::ReadBps => &mut record.read_bps,
            Self::WriteBps => &mut record.write_bps,
            Self::Weight => &mut record.weights,
        }
    }

    /// As the cgroup calls it; none for a share.
    pub(crate) fn throttle(self) -> Option<ThrottleKind> {
        match self {
            Self::ReadIops => Some(ThrottleKind::ReadOperations),
            Self::WriteIops => Some(ThrottleKind::WriteOperations),
            Self::ReadBps => Some(ThrottleKind::ReadBytes),
            Self::WriteBps => Some(ThrottleKind::WriteBytes),
            Self::Weight => None,
        }
    }
}

/// Sets the limits that `to` has and `from` has not, and lifts those that `to` has no more.
pub(crate) fn set_all<'a>(
    live: &'a Running,
    from: &'a Record,
    to: &'a Record,
    undo: &mut Undo<'a>,
) -> Result<()> {
    for kind in LimitKind::ALL {
        for limit in kind.of(to) {
            let before = find(kind.of(from), limit);
            if before.is_some_and(|before| before.value == limit.value) {
                continue;
            }
            set(live, kind, number(limit), value(limit)?)?;
            let before = before.map_or(Ok(0), value)?;
            undo.push("limit", move || set(live, kind, number(limit), before));
        }
    }
    Ok(())
}

/// Lifts the limits that `to` has no more.
pub(crate) fn lift<'a>(
    live: &'a Running,
    from: &'a Record,
    to: &'a Record,
    undo: &mut Undo<'a>,
) -> Result<()> {
    for kind in LimitKind::ALL {
        for limit in kind.of(from).iter().filter(|limit| find(kind.of(to), limit).is_none()) {
            // A disk that is gone has no limits, and the kernel knows no such disk.
            if BlockDevice::of(number(limit)).is_err() {
                continue;
            }
            set(live, kind, number(limit), 0)?;
            let before = value(limit).unwrap_or(0);
            undo.push("limit", move || set(live, kind, number(limit), before));
        }
    }
    Ok(())
}

fn set(live: &Running, kind: LimitKind, device: DeviceNumber, value: u64) -> Result<()> {
    let block = match kind.throttle() {
        Some(kind) => {
            Block { throttles: vec![Throttle { device, kind, rate: value }], ..Block::default() }
        }
        None => {
            let weight = u16::try_from(value).ok();
            let weight = DeviceWeight { device, weight, leaf_weight: None };
            Block { devices: vec![weight], ..Block::default() }
        }
    };
    let resources = Resources { block, ..Resources::default() };
    live.cgroup()?.update(&resources).map_err(|error| {
        let refused = Error::from(error);
        match kind {
            LimitKind::Weight => Error::Unsupported(format!(
                "{refused}, please check whether current OS support blkio weight device \
                 configuration for bfq scheduler"
            )),
            _ => refused,
        }
    })
}

/// The disk whose limits `device` has: only whole disks have any.
///
/// # Errors
/// It is a partition, or sysfs does not know it. The text is the predecessor's.
pub(crate) fn check_whole_disk(device: DeviceNumber) -> Result<()> {
    match BlockDevice::of(device)?.partition {
        None => Ok(()),
        Some(_) => Err(Error::Usage("cannot set Qos of a child device".into())),
    }
}

/// Shares need somebody who keeps to them; that is told before anything is changed.
///
/// # Errors
/// A share is asked for of a disk that nobody shares out.
pub(crate) fn check_weights(live: &Running, limits: &[QosLimit]) -> Result<()> {
    let asked = |limit: &&QosLimit| limit.kind == LimitKind::Weight && limit.value != 0;
    for limit in limits.iter().filter(asked) {
        let disk = BlockDevice::of(host::node(&limit.device)?.number)?;
        if live.cgroup()?.shares(disk.number)?.is_some() {
            continue;
        }
        let scheduler = disk.scheduler()?.unwrap_or_else(|| "none".into());
        return Err(Error::Unsupported(format!(
            "device not support cfq:{}; shares of a disk need the BFQ scheduler, or io.cost on \
             cgroup v2, and the scheduler of {} is {scheduler}; try: echo bfq > \
             /sys/block/{1}/queue/scheduler",
            limit.device.display(),
            disk.name
        )));
    }
    Ok(())
}

fn find<'a>(limits: &'a [LimitEntry], wanted: &LimitEntry) -> Option<&'a LimitEntry> {
    limits.iter().find(|limit| number(limit) == number(wanted))
}

pub(crate) fn number(limit: &LimitEntry) -> DeviceNumber {
    DeviceNumber { major: limit.major, minor: limit.minor }
}

fn value(limit: &LimitEntry) -> Result<u64> {
    limit.value.parse().map_err(|_| {
        Error::Failed(format!(
            "the record limits {} to {:?}, which is no number; set it anew: isulad-tools \
             update-device",
            limit.path, limit.value
        ))
    })
}
