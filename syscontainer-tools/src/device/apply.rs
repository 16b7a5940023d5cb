//! Makes devices usable in a container, and unusable again.
//!
//! Rule first, node second: a node must not be seen before it can be opened. The way back is the
//! mirror. What was there before is not ours to take back.

use std::path::Path;
use std::rc::Rc;

use container::Running;
use linux::Undo;
use linux::cgroup::DeviceRules;
use linux::device::{DeviceKind, DeviceNode, DeviceNumber};
use linux::error::Change;

use super::{host, node, rules};
use crate::error::{Error, Result};
use crate::record::{DeviceEntry, Record};

/// What the container may use on the way from one record to another.
#[derive(Debug)]
pub(crate) struct Rules {
    before: DeviceRules,
    after: DeviceRules,
}

impl Rules {
    pub(crate) fn of(live: &Running, from: &Record, to: &Record) -> Result<Rc<Self>> {
        let spec = live.spec()?;
        Ok(Rc::new(Self { before: rules::of(spec, from), after: rules::of(spec, to) }))
    }
}

/// Makes `device` usable in the container. Doing it twice is doing it once.
pub(crate) fn apply<'a>(
    live: &'a Running,
    device: &'a DeviceEntry,
    rules: &Rc<Rules>,
    force: bool,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let rule = rules::of_entry(device).ok_or_else(|| not_understood(device))?;
    let node = host::node(Path::new(&device.path_on_host))?;
    if node.number != number(device) {
        return Err(Error::Failed(format!(
            "{} was device {} and is {}; try again",
            device.path_on_host,
            number(device),
            node.number
        )));
    }
    let (spec, devices) = (live.spec()?, live.cgroup()?.devices());
    // A v2 program cannot be read, and has to be written anew whole.
    if spec.linux.resources.devices.is_none()
        && devices.is_program()?
        && *spec == container::Spec::default()
    {
        return Err(Error::Unsupported(
            "its other device rules are not known; name its bundle with --bundle".into(),
        ));
    }
    if devices.grant(&rule, &rules.after)? == Change::Made {
        let rules = Rc::clone(rules);
        undo.push("device rule", move || devices.withdraw(&rule, &rules.before));
    }
    node::make(live, Path::new(&device.path_in_container), node, force, undo)
}

/// Takes `device` out of the container, but for what it may use by other grants.
pub(crate) fn revert<'a>(
    live: &'a Running,
    device: &'a DeviceEntry,
    rules: &Rc<Rules>,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let Some(rule) = rules::of_entry(device) else { return Ok(()) };
    let node = DeviceNode {
        kind: if device.kind == "b" { DeviceKind::Block } else { DeviceKind::Char },
        number: number(device),
        mode: 0o600,
        uid: 0,
        gid: 0,
    };
    node::remove(live, Path::new(&device.path_in_container), node, undo)?;
    let devices = live.cgroup()?.devices();
    if devices.withdraw(&rule, &rules.after)? == Change::Made {
        let rules = Rc::clone(rules);
        undo.push("device rule", move || devices.grant(&rule, &rules.before));
    }
    Ok(())
}

/// What is wrong with `device` in the container, if anything.
pub(crate) fn drift(live: &Running, device: &DeviceEntry) -> Result<Option<String>> {
    let Some(rule) = rules::of_entry(device) else {
        return Ok(Some("is no device that can be".into()));
    };
    if live.cgroup()?.devices().lets_through(&rule)? == Some(false) {
        return Ok(Some("may not be opened".into()));
    }
    let kind = if device.kind == "b" { DeviceKind::Block } else { DeviceKind::Char };
    Ok(node::drift(live, Path::new(&device.path_in_container), kind, number(device)))
}

pub(crate) fn number(device: &DeviceEntry) -> DeviceNumber {
    DeviceNumber { major: device.major, minor: device.minor }
}

fn not_understood(device: &DeviceEntry) -> Error {
    Error::Failed(format!(
        "the record has a device of type {:?} with permissions {:?}, which is none; drop it: \
         isulad-tools remove-device CONTAINER {}:{}",
        device.kind, device.cgroup_permissions, device.path_on_host, device.path_in_container
    ))
}
