//! Tells the guest's udev that a device has come or gone, where there is one that listens.
//!
//! The event is what the kernel would send, told in the container's network namespace alone. Its
//! device directory is the host's, which the guest's /sys shows as well; the node's name is the
//! container's.

use std::path::{Path, PathBuf};

use container::Running;
use linux::uevent::Uevent;

use crate::record::{DeviceEntry, Record};

/// Where udevd listens for commands: there while it runs.
const UDEV: &str = "run/udev/control";

/// Tells what `to` has and `from` has not, and the other way round. That nobody can be told is no
/// failure: the device is there.
pub(crate) fn tell(live: &Running, from: &Record, to: &Record) {
    if from.devices == to.devices || !live.root.exists(UDEV).unwrap_or(false) {
        return;
    }
    let Ok(Some(network)) = live.network() else { return };
    let told = [("remove", &from.devices, &to.devices), ("add", &to.devices, &from.devices)];
    for (action, these, those) in told {
        for device in these.iter().filter(|device| !those.contains(device)) {
            let Some(event) = event(action, device) else { continue };
            if let Err(error) = event.send_in(network) {
                tracing::debug!(container = %live.id, %error, "could not tell the guest's udev");
            }
        }
    }
}

fn event(action: &str, device: &DeviceEntry) -> Option<Uevent> {
    let kind = if device.kind == "b" { "block" } else { "char" };
    let link = format!("/sys/dev/{kind}/{}:{}", device.major, device.minor);
    let dir = std::fs::canonicalize(link).ok()?;
    let subsystem = std::fs::canonicalize(dir.join("subsystem")).ok()?;
    let mut variables = vec![
        ("SUBSYSTEM".to_owned(), subsystem.file_name()?.to_str()?.to_owned()),
        ("MAJOR".to_owned(), device.major.to_string()),
        ("MINOR".to_owned(), device.minor.to_string()),
        ("DEVNAME".to_owned(), node_name(&device.path_in_container)?),
    ];
    if device.kind == "b" {
        let is_part = dir.join("partition").exists();
        let kind = if is_part { "partition" } else { "disk" };
        variables.push(("DEVTYPE".to_owned(), kind.to_owned()));
    }
    let path = PathBuf::from("/").join(dir.strip_prefix("/sys").ok()?);
    Some(Uevent { action: action.to_owned(), path: path.to_str()?.to_owned(), variables })
}

/// As the kernel has it: relative to /dev. Nodes elsewhere are not udev's.
fn node_name(path: &str) -> Option<String> {
    Some(Path::new(path).strip_prefix("/dev").ok()?.to_str()?.to_owned())
}
