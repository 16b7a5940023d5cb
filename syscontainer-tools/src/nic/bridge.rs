//! Ports of bridges: the kernel's, by netlink, and Open vSwitch's, by its own program where it is.

use std::process::{Command, Output, Stdio};

use linux::netlink::{Link, LinkChange, Socket};

use super::parse::LinkName;
use crate::error::{Error, Result, io};

/// A bridge that links can be ports of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bridge {
    /// The kernel's, by its number.
    Linux(u32),
    /// One of Open vSwitch's, by its name.
    OpenVSwitch(String),
}

impl Bridge {
    /// The bridge called `name`.
    ///
    /// # Errors
    /// There is none, or it is no bridge.
    pub(crate) fn find(host: &Socket, name: &LinkName) -> Result<Self> {
        let found = host.link_by_name(name.as_str())?;
        match &found {
            Some(link) if link.kind == "bridge" => return Ok(Self::Linux(link.index)),
            Some(link) if !["", "openvswitch", "tun"].contains(&&*link.kind) => {
                return Err(Error::Conflict(format!(
                    "{name} is no bridge but a {}; name a bridge",
                    link.kind
                )));
            }
            _ => {}
        }
        if vsctl(&["br-exists", name.as_str()]).is_ok_and(|output| output.status.success()) {
            return Ok(Self::OpenVSwitch(name.to_string()));
        }
        Err(Error::Conflict(match found {
            Some(_) => format!("{name} is no bridge; name a bridge"),
            None => format!("there is no bridge {name}; make it: ip link add {name} type bridge"),
        }))
    }

    /// The number that a link is made a port by, where the kernel does it.
    pub(crate) fn master(&self) -> Option<u32> {
        match self {
            Self::Linux(index) => Some(*index),
            Self::OpenVSwitch(_) => None,
        }
    }

    /// Makes `link` a port, as it is already or not.
    pub(crate) fn join(&self, host: &Socket, link: &Link) -> Result<()> {
        match self {
            Self::Linux(index) if link.master == Some(*index) => Ok(()),
            Self::Linux(index) => {
                let change = LinkChange { master: Some(*index), ..LinkChange::default() };
                Ok(host.change_link(link.index, &change)?)
            }
            Self::OpenVSwitch(name) => said(&["--may-exist", "add-port", name, &link.name]),
        }
    }

    /// Makes `link` none any more. The kernel's own ports end with their links.
    pub(crate) fn leave(&self, link: &str) -> Result<()> {
        match self {
            Self::Linux(_) => Ok(()),
            Self::OpenVSwitch(name) => said(&["--if-exists", "del-port", name, link]),
        }
    }
}

fn said(arguments: &[&str]) -> Result<()> {
    let about = || format!("ovs-vsctl {}", arguments.join(" "));
    let output = vsctl(arguments).map_err(|error| io(about(), &error))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed(format!("{}: {}: {}", about(), output.status, words.trim())))
}

fn vsctl(arguments: &[&str]) -> std::io::Result<Output> {
    // It waits for its server for ever otherwise.
    Command::new("ovs-vsctl").arg("--timeout=5").args(arguments).stdin(Stdio::null()).output()
}
