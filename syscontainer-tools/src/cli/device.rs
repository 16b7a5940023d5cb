//! `add-device`, `remove-device`, `list-device`, `update-device`.

use clap::Args;
use serde_json::json;

use super::{Context, OnFailure};
use crate::device::{self, LimitKind, QosLimit, plan};
use crate::error::{Error, Result};
use crate::record::{LimitEntry, RecordFile};
use crate::replay;
use crate::session::Session;

/// Give a container the use of devices of the host
///
/// A device is a node inside and the permission to open it, for every service that runs there
/// already. A file opened once stays open, whatever is removed later.
#[derive(Debug, Args)]
pub(super) struct AddDeviceArgs {
    #[command(flatten)]
    limits: Limits,
    /// Share of a disk: DEVICE:10..1000, or 0 for the usual
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    blkio_weight_device: Vec<String>,
    /// Add the partitions of a disk as well
    #[arg(long)]
    follow_partition: bool,
    /// Replace a file that is at the container path
    #[arg(long)]
    force: bool,
    /// What a start does without it: fail, or warn and go on
    #[arg(long, value_name = "POLICY", value_enum, default_value = "fail")]
    on_failure: OnFailure,
    /// Record it for the next start, and leave the container as it is
    #[arg(long)]
    update_config_only: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// HOST[:CONTAINER][:PERMISSIONS], permissions of the letters r, w, m; all by default
    #[arg(value_name = "DEVICE", required = true)]
    devices: Vec<String>,
}

/// Take devices out of a container that add-device has put there
#[derive(Debug, Args)]
pub(super) struct RemoveDeviceArgs {
    /// Remove the partitions of a disk as well
    #[arg(long)]
    follow_partition: bool,
    /// Change the record, and leave the container as it is
    #[arg(long)]
    update_config_only: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// HOST[:CONTAINER]; either side may be empty
    #[arg(value_name = "DEVICE", required = true)]
    devices: Vec<String>,
}

/// List the devices that were added to a container
#[derive(Debug, Args)]
pub(super) struct ListDeviceArgs {
    /// Over several lines
    #[arg(short, long)]
    pretty: bool,
    /// Partitions of listed disks, too
    #[arg(long)]
    sub_partition: bool,
    /// With their limits
    #[arg(long)]
    qos: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Change how much of its disks a container may use
#[derive(Debug, Args)]
pub(super) struct UpdateDeviceArgs {
    #[command(flatten)]
    limits: Limits,
    /// Share of a disk: DEVICE:10..1000, or 0 for the usual
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    blkio_weight_device: Vec<String>,
    /// Record it for the next start, and leave the container as it is
    #[arg(long)]
    update_config_only: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Rates: a number with an optional unit k, m, g, t or p of 1024; 0 lifts the limit.
#[derive(Debug, Args)]
struct Limits {
    /// Bytes a second that are read, as DEVICE:10m; 0: no limit
    #[arg(long, value_name = "DEVICE:RATE")]
    device_read_bps: Vec<String>,
    /// Bytes a second that are written
    #[arg(long, value_name = "DEVICE:RATE")]
    device_write_bps: Vec<String>,
    /// Reads a second
    #[arg(long, value_name = "DEVICE:RATE")]
    device_read_iops: Vec<String>,
    /// Writes a second
    #[arg(long, value_name = "DEVICE:RATE")]
    device_write_iops: Vec<String>,
}

impl Limits {
    /// What was meant, in the order of the report.
    fn parse(&self, weights: &[String]) -> Result<Vec<QosLimit>> {
        let usage = |error: device::QosError| Error::Usage(error.to_string());
        let mut limits = Vec::new();
        for weight in weights {
            limits.push(device::parse_weight(weight).map_err(usage)?);
        }
        for (kind, texts) in [
            (LimitKind::ReadBps, &self.device_read_bps),
            (LimitKind::WriteBps, &self.device_write_bps),
            (LimitKind::ReadIops, &self.device_read_iops),
            (LimitKind::WriteIops, &self.device_write_iops),
        ] {
            for text in texts {
                limits.push(device::parse_limit(kind, text).map_err(usage)?);
            }
        }
        limits.sort_by_key(|limit| limit.kind);
        Ok(limits)
    }
}

pub(super) fn add(context: &mut Context, args: &AddDeviceArgs) -> Result<()> {
    let limits = args.limits.parse(&args.blkio_weight_device)?;
    let devices = args
        .devices
        .iter()
        .map(|text| device::parse_addition(text).map_err(|error| Error::Usage(error.to_string())))
        .collect::<Result<Vec<_>>>()?;
    let target = context.target(&args.container)?;
    let mut session = context.session_of_files(&target, args.update_config_only)?;
    args.on_failure.of(&mut session);
    check_limits_beforehand(&session, &devices, args.follow_partition, &limits)?;
    for argument in &devices {
        let added = plan::add(session.record(), argument, args.follow_partition)
            .and_then(|(next, new)| apply(&mut session, &next, args.force).map(|()| new));
        match added {
            Ok(new) => {
                for device in new {
                    let (host, inside) = (&device.path_on_host, &device.path_in_container);
                    let line =
                        format!("Add device ({host}) to container({},{inside}) done.", target.name);
                    context.output.done(
                        &line,
                        json!({ "action": "add", "kind": "device", "host": host,
                            "container": inside }),
                    );
                }
            }
            Err(error) => context.output.failed(named(error, "Failed to add device")),
        }
    }
    set_limits(context, &mut session, &limits).map_err(|error| named(error, "Failed to add device"))
}

/// With a node in place that took a file's, the file goes when the node is recorded.
fn apply(session: &mut Session, next: &crate::record::Record, force: bool) -> Result<()> {
    if !force {
        return session.change(next);
    }
    let before = session.record().clone();
    session.change_with(next, |live, links, from, to, undo| {
        replay::lead_forcing(live, links, from, to, true, undo)
    })?;
    if let Some(live) = session.live() {
        let is_new = |device: &&crate::record::DeviceEntry| !before.devices.contains(device);
        for device in next.devices.iter().filter(is_new) {
            device::forget_aside(live, std::path::Path::new(&device.path_in_container));
        }
    }
    Ok(())
}

/// Limits that can never be set are refused before a device is added.
fn check_limits_beforehand(
    session: &Session,
    devices: &[device::DeviceArgument],
    follow_partitions: bool,
    limits: &[QosLimit],
) -> Result<()> {
    if limits.is_empty() {
        return Ok(());
    }
    let mut record = session.record().clone();
    for argument in devices {
        // What is wrong with a device is told when its turn comes.
        if let Ok((next, _)) = plan::add(&record, argument, follow_partitions) {
            record = next;
        }
    }
    plan::limits(&record, limits).map_err(|error| named(error, "Failed to add device"))?;
    match session.live() {
        Some(live) => device::check_weights(live, limits),
        None => Ok(()),
    }
}

fn set_limits(context: &mut Context, session: &mut Session, limits: &[QosLimit]) -> Result<()> {
    for limit in limits {
        let next = plan::limits(session.record(), std::slice::from_ref(limit))?;
        session.change(&next)?;
        let (kind, path, value) = (limit.kind.name(), limit.device.display(), limit.value);
        context.output.done(
            &format!("Update {kind} for device ({path},{value}) done."),
            json!({ "action": "update", "kind": kind, "device": path.to_string(), "value": value }),
        );
        if matches!(limit.kind, LimitKind::ReadBps | LimitKind::WriteBps)
            && (1..1024).contains(&value)
        {
            ui::report::note(&format!(
                "note: {value} bytes a second is so little that {path} will look dead"
            ));
        }
    }
    Ok(())
}

pub(super) fn remove(context: &mut Context, args: &RemoveDeviceArgs) -> Result<()> {
    let devices = args
        .devices
        .iter()
        .map(|text| device::parse_removal(text).map_err(|error| Error::Usage(error.to_string())))
        .collect::<Result<Vec<_>>>()?;
    let target = context.target(&args.container)?;
    let mut session = context.session_of_files(&target, args.update_config_only)?;
    for argument in &devices {
        let removed = plan::remove(session.record(), argument, args.follow_partition)
            .and_then(|removal| session.change(&removal.next).map(|()| removal));
        let removal = match removed {
            Ok(removal) => removal,
            Err(error) => {
                context.output.failed(named(error, "Failed to remove device"));
                continue;
            }
        };
        for device in &removal.devices {
            let (host, inside) = (&device.path_on_host, &device.path_in_container);
            context.output.done(
                &format!("Remove device ({host}) from container({},{inside}) done.", target.name),
                json!({ "action": "remove", "kind": "device", "host": host, "container": inside }),
            );
            let is_its =
                |limit: &LimitEntry| (limit.major, limit.minor) == (device.major, device.minor);
            for (kind, _) in removal.limits.iter().filter(|(_, limit)| is_its(limit)) {
                let kind = kind.name();
                context.output.done(
                    &format!("Remove {kind} for device ({host}) done."),
                    json!({ "action": "remove", "kind": kind, "device": host }),
                );
            }
        }
    }
    Ok(())
}

pub(super) fn list(context: &mut Context, args: &ListDeviceArgs) -> Result<()> {
    let target = context.target(&args.container)?;
    let record = RecordFile::peek(&target.dir)?;
    let devices = plan::listed(&record, args.sub_partition);
    if !args.qos {
        return context.output.list(&devices, args.pretty);
    }
    let with_limits: Vec<_> = devices
        .iter()
        .map(|device| {
            let mut value = serde_json::to_value(device).unwrap_or_default();
            for kind in LimitKind::ALL {
                let is_its = |limit: &&LimitEntry| {
                    (limit.major, limit.minor) == (device.major, device.minor)
                };
                if let Some(limit) = kind.of(&record).iter().find(is_its) {
                    value[kind.name()] = json!(limit.value);
                }
            }
            value
        })
        .collect();
    context.output.list(&with_limits, args.pretty)
}

pub(super) fn update(context: &mut Context, args: &UpdateDeviceArgs) -> Result<()> {
    let limits = args.limits.parse(&args.blkio_weight_device)?;
    if limits.is_empty() {
        return Err(Error::Usage(
            "update device should specify at least one device QOS configuration".into(),
        ));
    }
    let target = context.target(&args.container)?;
    let mut session = context.session_of_files(&target, args.update_config_only)?;
    let prefix = "Failed to update device";
    // All of them are looked at before the first is set.
    plan::limits(session.record(), &limits).map_err(|error| named(error, prefix))?;
    if let Some(live) = session.live() {
        device::check_weights(live, &limits)?;
    }
    set_limits(context, &mut session, &limits).map_err(|error| named(error, prefix))
}

/// In the predecessor's words: a parse error has its own beginning.
fn named(error: Error, prefix: &str) -> Error {
    error.wrap(|text| match text.starts_with("Failed to parse") {
        true => text,
        false => format!("{prefix}: {text}"),
    })
}
