//! `linux.resources` in typed values. Pure.
//!
//! A 0 where no bound can be 0 means that nothing was asked for: engines written in Go send it so.
//! -1 lifts a bound.

use linux::cgroup::resources::{
    Block, Cpu, Cpuset, DeviceWeight, HugePages, Memory, Network, Rdma, Throttle, ThrottleKind,
};
use linux::cgroup::{Bound, Resources};
use linux::device::DeviceNumber;
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxResources,
    LinuxThrottleDevice, Spec,
};

use super::{devices, refuse};
use crate::Result;

/// What a new container may use; without a word about devices, those that every container may.
pub(super) fn of_new_container(spec: &Spec) -> Result<Resources> {
    let given = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let mut all = given.map(resources).transpose()?.unwrap_or_default();
    if all.devices.is_none() {
        all.devices = Some(devices::rules(&[])?);
    }
    Ok(all)
}

/// What `given` asks for; what it leaves out stays as it is.
pub(crate) fn resources(given: &LinuxResources) -> Result<Resources> {
    let mut all = Resources::default();
    if let Some(cpu) = given.cpu() {
        (all.cpu, all.cpuset) = (cpu_time(cpu)?, cpuset(cpu));
    }
    if let Some(given) = given.memory() {
        all.memory = memory(given)?;
    }
    if let Some(pids) = given.pids() {
        all.pids = match pids.limit() {
            0 => None,
            limit => Some(u64::try_from(limit).map_or(Bound::Max, Bound::At)),
        };
    }
    if let Some(given) = given.block_io() {
        all.block = block(given)?;
    }
    all.huge_pages = huge_pages(given.hugepage_limits().as_deref().unwrap_or_default())?;
    if let Some(given) = given.network() {
        all.network = network(given);
    }
    for (device, limits) in given.rdma().iter().flatten() {
        if limits.hca_handles().is_none() && limits.hca_objects().is_none() {
            return Err(refuse(
                format!("linux.resources.rdma[{device:?}]"),
                "has neither hcaHandles nor hcaObjects; give one",
            ));
        }
        all.rdma.push(Rdma {
            device: device.clone(),
            handles: limits.hca_handles(),
            objects: limits.hca_objects(),
        });
    }
    let unified = given.unified().iter().flatten();
    all.unified = unified.map(|(file, value)| (file.clone(), value.clone())).collect();
    // Maps without an order; the same input must do the same.
    all.rdma.sort_by(|a, b| a.device.cmp(&b.device));
    all.unified.sort();
    all.devices = given.devices().as_deref().map(devices::rules).transpose()?;
    Ok(all)
}

fn cpu_time(given: &LinuxCpu) -> Result<Cpu> {
    let idle = match given.idle() {
        None => None,
        Some(0) => Some(false),
        Some(1) => Some(true),
        Some(value) => {
            return Err(refuse("linux.resources.cpu.idle", format!("is {value}; use 0 or 1")));
        }
    };
    Ok(Cpu {
        shares: given.shares().filter(|&shares| shares != 0),
        quota_us: bound("cpu.quota", given.quota())?,
        period_us: given.period().filter(|&us| us != 0),
        burst_us: given.burst(),
        idle,
        realtime_runtime_us: given.realtime_runtime().filter(|&us| us != 0),
        realtime_period_us: given.realtime_period().filter(|&us| us != 0),
    })
}

fn cpuset(given: &LinuxCpu) -> Cpuset {
    let list = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Cpuset { cpus: list(given.cpus()), mems: list(given.mems()) }
}

fn memory(given: &LinuxMemory) -> Result<Memory> {
    if given.use_hierarchy() == Some(false) {
        return Err(refuse(
            "linux.resources.memory.useHierarchy",
            "is false, which kernels from 5.11 on do not support; leave it out",
        ));
    }
    Ok(Memory {
        limit: bound("memory.limit", given.limit())?,
        reservation: bound("memory.reservation", given.reservation())?,
        swap: bound("memory.swap", given.swap())?,
        kernel: bound("memory.kernel", given.kernel())?,
        kernel_tcp: bound("memory.kernelTCP", given.kernel_tcp())?,
        // -1 as engines write it into an unsigned number: not asked for.
        swappiness: given.swappiness().filter(|&value| value != u64::MAX),
        disable_oom_killer: given.disable_oom_killer(),
        check_before_update: given.check_before_update().unwrap_or(false),
    })
}

/// 0: nothing asked for; -1: no bound.
fn bound(member: &str, given: Option<i64>) -> Result<Option<Bound>> {
    match given {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(Bound::Max)),
        Some(value) => match u64::try_from(value) {
            Ok(value) => Ok(Some(Bound::At(value))),
            Err(_) => Err(refuse(
                format!("linux.resources.{member}"),
                format!("is {value}; use a positive number, or -1 for no limit"),
            )),
        },
    }
}

fn block(given: &LinuxBlockIo) -> Result<Block> {
    let weight = |weight: Option<u16>| weight.filter(|&weight| weight != 0);
    let mut block = Block {
        weight: weight(given.weight()),
        leaf_weight: weight(given.leaf_weight()),
        ..Block::default()
    };
    for (index, entry) in given.weight_device().iter().flatten().enumerate() {
        if entry.weight().is_none() && entry.leaf_weight().is_none() {
            return Err(refuse(
                format!("linux.resources.blockIO.weightDevice[{index}]"),
                "has neither weight nor leafWeight; give one",
            ));
        }
        block.devices.push(DeviceWeight {
            device: device("blockIO.weightDevice", entry.major(), entry.minor())?,
            weight: weight(entry.weight()),
            leaf_weight: weight(entry.leaf_weight()),
        });
    }
    let mut throttle =
        |member: &str, kind, list: &Option<Vec<LinuxThrottleDevice>>| -> Result<()> {
            for entry in list.iter().flatten() {
                let device = device(member, entry.major(), entry.minor())?;
                block.throttles.push(Throttle { device, kind, rate: entry.rate() });
            }
            Ok(())
        };
    let read_bps = given.throttle_read_bps_device();
    throttle("blockIO.throttleReadBpsDevice", ThrottleKind::ReadBytes, read_bps)?;
    let write_bps = given.throttle_write_bps_device();
    throttle("blockIO.throttleWriteBpsDevice", ThrottleKind::WriteBytes, write_bps)?;
    let read_iops = given.throttle_read_iops_device();
    throttle("blockIO.throttleReadIOPSDevice", ThrottleKind::ReadOperations, read_iops)?;
    let write_iops = given.throttle_write_iops_device();
    throttle("blockIO.throttleWriteIOPSDevice", ThrottleKind::WriteOperations, write_iops)?;
    Ok(block)
}

fn device(member: &str, major: i64, minor: i64) -> Result<DeviceNumber> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(DeviceNumber { major, minor }),
        _ => Err(refuse(
            format!("linux.resources.{member}"),
            format!("names device {major}:{minor}; use numbers from 0 on"),
        )),
    }
}

fn huge_pages(given: &[LinuxHugepageLimit]) -> Result<Vec<HugePages>> {
    let one = |limit: &LinuxHugepageLimit| {
        let bytes = u64::try_from(limit.limit()).map_err(|_| {
            refuse(
                "linux.resources.hugepageLimits",
                format!("limits {} pages to {}; use 0 or more", limit.page_size(), limit.limit()),
            )
        })?;
        Ok(HugePages { page_size: limit.page_size().clone(), limit: bytes })
    };
    given.iter().map(one).collect()
}

fn network(given: &LinuxNetwork) -> Network {
    let priorities = given.priorities().iter().flatten();
    Network {
        class_id: given.class_id().filter(|&id| id != 0),
        priorities: priorities.map(|one| (one.name().clone(), one.priority())).collect(),
    }
}
