//! What the host has to say about a link that is asked for, before anything is changed.

use std::path::Path;

use linux::netlink::{Link, RouteFamily, Socket};

use super::bridge::Bridge;
use super::parse::{Kind, LinkName, NicRequest};
use crate::error::{Error, Result};
use crate::record::RecordFile;

/// How strict to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strictness {
    /// The container gets it now: what is missing is an error, and not for its next start.
    pub now: bool,
    /// What the host uses itself may be given away.
    pub force: bool,
}

/// Whether the host can give what `request` asks for. `dir`: the container's record is in it.
///
/// # Errors
/// It cannot, or had better not.
pub fn check(request: &NicRequest, dir: &Path, strictness: Strictness) -> Result<()> {
    let host = Socket::open()?;
    let named = match &request.names.host {
        Some(name) => host.link_by_name(name.as_str())?.map(|link| (name, link)),
        None => None,
    };
    match request.kind {
        Kind::Veth => {
            if let Some((name, _)) = named {
                return Err(Error::Conflict(format!(
                    "Host has nic with name {name}, please choose another one"
                )));
            }
            match &request.bridge {
                Some(bridge) => lenient(strictness, bridge_exists(&host, bridge)),
                None => Ok(()),
            }
        }
        kind => {
            let name = request.names.host.as_ref().map_or("", LinkName::as_str);
            if kind == Kind::Eth && !strictness.force {
                not_claimed(name, dir)?;
            }
            match named {
                Some((_, link)) if kind == Kind::Eth => {
                    can_be_given(&host, &link, name, strictness.force)
                }
                Some(_) => Ok(()),
                None => lenient(
                    strictness,
                    Err(Error::Conflict(format!("HostNic({name}) not found, please check"))),
                ),
            }
        }
    }
}

/// Whether the bridge is one.
///
/// # Errors
/// It is none, or not there.
pub fn bridge_exists(host: &Socket, bridge: &LinkName) -> Result<()> {
    Bridge::find(host, bridge).map(drop)
}

/// What may be there by the time of the next start is worth a word.
fn lenient(strictness: Strictness, checked: Result<()>) -> Result<()> {
    match checked {
        Err(error) if !strictness.now => {
            ui::report::note(&format!("note: at this moment {error}"));
            Ok(())
        }
        checked => checked,
    }
}

fn can_be_given(host: &Socket, link: &Link, name: &str, force: bool) -> Result<()> {
    let refuse = |reason: &str| Err(Error::Conflict(format!("HostNic({name}) {reason}")));
    if link.loopback {
        return refuse("is the loopback link, which every network has of its own");
    }
    if link.kind == "bridge" || link.kind == "openvswitch" {
        return refuse("is a bridge; name one of its ports, or use --type veth");
    }
    if link.bound_to_namespace {
        return refuse("cannot leave the host's network");
    }
    if force {
        return Ok(());
    }
    if link.master.is_some() {
        return refuse("is a port of a bridge or bond; take it out first, or use --force");
    }
    for family in [RouteFamily::V4, RouteFamily::V6] {
        let carries = |route: &linux::netlink::Route| {
            route.destination.is_none() && route.link == Some(link.index)
        };
        if host.routes(family)?.iter().any(carries) {
            return refuse("carries the host's default route; the host may be cut off: --force");
        }
    }
    Ok(())
}

/// Whether no other record has the link. Records lie beside each other.
fn not_claimed(name: &str, dir: &Path) -> Result<()> {
    let Some(all) = dir.parent() else { return Ok(()) };
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        let other = entry.path();
        if other == dir {
            continue;
        }
        // One that cannot be read is its own container's trouble.
        let Ok(record) = RecordFile::peek(&other) else { continue };
        let has_it = |nic: &crate::record::NicEntry| nic.kind == "eth" && nic.host_nic_name == name;
        if record.nics.iter().any(has_it) {
            let whose = other.file_name().unwrap_or_default().to_string_lossy();
            return Err(Error::Conflict(format!(
                "HostNic({name}) is recorded for container {whose}; remove it there first"
            )));
        }
    }
    Ok(())
}
