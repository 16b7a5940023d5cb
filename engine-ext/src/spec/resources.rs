//! Limits, in the words of the OCI specification.

use std::path::Path;

use anyhow::{Context, Result};
use container::Config;
use container::config::{DeviceValue, Resources};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxHugepageLimit, LinuxHugepageLimitBuilder,
    LinuxMemory, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
    LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDevice, LinuxWeightDeviceBuilder,
};

use super::devices;
use crate::host::Host;

const PERIOD_US: u64 = 100_000;

pub(super) fn build(config: &Config, host: &Host) -> Result<LinuxResources> {
    let mut resources = limits(&config.resources, host)?;
    resources.set_devices(Some(devices::rules(config, host)?));
    Ok(resources)
}

/// All of it but the devices: `update` sends this.
pub fn limits(asked: &Resources, host: &Host) -> Result<LinuxResources> {
    let mut resources = LinuxResourcesBuilder::default()
        .memory(memory(asked)?)
        .cpu(cpu(asked))
        .block_io(block_io(asked, host)?)
        .hugepage_limits(hugepages(asked, host)?)
        .build()?;
    resources.set_devices(None);
    if let Some(limit) = asked.pids_limit {
        resources.set_pids(Some(LinuxPidsBuilder::default().limit(limit).build()?));
    }
    Ok(resources)
}

fn memory(asked: &Resources) -> Result<LinuxMemory> {
    let mut memory = LinuxMemoryBuilder::default().build()?;
    memory
        .set_limit(asked.memory)
        .set_reservation(asked.memory_reservation)
        .set_swap(asked.memory_swap)
        .set_kernel(asked.kernel_memory)
        .set_swappiness(asked.memory_swappiness)
        .set_disable_oom_killer(asked.oom_kill_disable.then_some(true));
    Ok(memory)
}

fn cpu(asked: &Resources) -> LinuxCpu {
    let mut cpu = LinuxCpu::default();
    let (mut quota, mut period) = (asked.cpu_quota, asked.cpu_period);
    if let Some(nanos) = asked.nano_cpus {
        period = Some(PERIOD_US);
        quota = i64::try_from(nanos / (1_000_000_000 / PERIOD_US)).ok();
    }
    cpu.set_shares(asked.cpu_shares)
        .set_quota(quota)
        .set_period(period)
        .set_realtime_runtime(asked.cpu_rt_runtime)
        .set_realtime_period(asked.cpu_rt_period)
        .set_cpus(asked.cpuset_cpus.clone())
        .set_mems(asked.cpuset_mems.clone());
    cpu
}

fn block_io(asked: &Resources, host: &Host) -> Result<LinuxBlockIo> {
    let throttles = |values: &[DeviceValue]| -> Result<Option<Vec<LinuxThrottleDevice>>> {
        let list = values.iter().map(|value| throttle(value, host)).collect::<Result<Vec<_>>>()?;
        Ok((!list.is_empty()).then_some(list))
    };
    let weights = asked.blkio_weight_device.iter().map(|value| weight(value, host));
    let weights = weights.collect::<Result<Vec<_>>>()?;
    let mut block_io = LinuxBlockIoBuilder::default().build()?;
    block_io
        .set_weight(asked.blkio_weight)
        .set_weight_device((!weights.is_empty()).then_some(weights))
        .set_throttle_read_bps_device(throttles(&asked.device_read_bps)?)
        .set_throttle_write_bps_device(throttles(&asked.device_write_bps)?)
        .set_throttle_read_iops_device(throttles(&asked.device_read_iops)?)
        .set_throttle_write_iops_device(throttles(&asked.device_write_iops)?);
    Ok(block_io)
}

fn throttle(value: &DeviceValue, host: &Host) -> Result<LinuxThrottleDevice> {
    let (major, minor) = number(&value.path, host)?;
    let device = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(value.value);
    Ok(device.build()?)
}

fn weight(value: &DeviceValue, host: &Host) -> Result<LinuxWeightDevice> {
    let (major, minor) = number(&value.path, host)?;
    let weight = u16::try_from(value.value).context("a weight is at most 1000")?;
    Ok(LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(weight).build()?)
}

fn number(path: &Path, host: &Host) -> Result<(i64, i64)> {
    let number = host.block_devices.get(path);
    let &(major, minor) =
        number.with_context(|| format!("{} was not looked up", path.display()))?;
    Ok((i64::from(major), i64::from(minor)))
}

fn hugepages(asked: &Resources, host: &Host) -> Result<Vec<LinuxHugepageLimit>> {
    asked
        .hugetlb
        .iter()
        .map(|limit| {
            let size = if limit.page_size.is_empty() { &host.huge_page } else { &limit.page_size };
            let limit = i64::try_from(limit.limit).context("a limit fits the kernel's numbers")?;
            Ok(LinuxHugepageLimitBuilder::default().page_size(size).limit(limit).build()?)
        })
        .collect()
}
