//! Links: make, change, move, delete, list.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind,
    InfoVeth, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode, Prop,
};

use super::Socket;
use crate::{Errno, Error, Result};

/// IFLA_ALT_IFNAME of linux/if_link.h, which a request carries outside of any list.
const ALTERNATIVE_NAME: u16 = 53;

/// A link as the kernel has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number, which is unique in its namespace and may change when it moves to another.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Other names that it can be found by.
    pub alternative_names: Vec<String>,
    /// `veth`, `bridge`, `macvlan`; empty for hardware and the loopback link.
    pub kind: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Length of the transmit queue in packets.
    pub queue_length: u32,
    /// Hardware address.
    pub address: Vec<u8>,
    /// The hardware address it was made with; empty for those that have none.
    pub permanent_address: Vec<u8>,
    /// Is it meant to be up?
    pub up: bool,
    /// The bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// The other end of a pair, or the link it is made on: an index of the namespace that has it.
    pub linked: Option<u32>,
    /// The device that it is of (`0000:00:03.0`); empty for a link of software alone.
    pub parent_device: String,
    /// It may not leave its namespace.
    pub bound_to_namespace: bool,
    /// The loopback link.
    pub loopback: bool,
}

/// What is to be different about a link; what is not named stays.
#[derive(Debug, Clone, Default)]
pub struct LinkChange<'a> {
    /// Up or down.
    pub up: Option<bool>,
    /// Another name.
    pub name: Option<&'a str>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
    /// Length of the transmit queue in packets.
    pub queue_length: Option<u32>,
    /// Hardware address.
    pub address: Option<&'a [u8]>,
    /// The index of the bridge or bond to be a port of; 0 for none.
    pub master: Option<u32>,
    /// For the port of a bridge: what came in by it may leave by it.
    pub hairpin: Option<bool>,
    /// Another network namespace. Together with a name, both change in one step.
    pub namespace: Option<BorrowedFd<'a>>,
}

/// The far end of a pair.
#[derive(Debug, Clone)]
pub struct PeerLink<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What else is to be true of it; its namespace is where it is born.
    pub change: LinkChange<'a>,
}

/// What kind of link to make.
#[derive(Debug, Clone)]
pub enum NewKind<'a> {
    /// A bridge.
    Bridge,
    /// A pair of links, what goes into one comes out of the other.
    Veth(PeerLink<'a>),
    /// A further hardware address on the link of that index.
    MacVlan(u32),
    /// A further link on the link of that index, with its hardware address.
    IpVlan(u32),
}

/// A link to be made.
#[derive(Debug, Clone)]
pub struct NewLink<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it is.
    pub kind: NewKind<'a>,
    /// What else is to be true of it.
    pub change: LinkChange<'a>,
}

impl Socket {
    /// Makes a link: `ip link add`. A link with another namespace is born there.
    pub fn add_link(&self, link: &NewLink<'_>) -> Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(link.name.to_owned()));
        link.change.write(&mut message);
        let (kind, data) = match &link.kind {
            NewKind::Bridge => (InfoKind::Bridge, None),
            NewKind::Veth(peer) => {
                let mut far = LinkMessage::default();
                far.attributes.push(LinkAttribute::IfName(peer.name.to_owned()));
                peer.change.write(&mut far);
                (InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(far))))
            }
            NewKind::MacVlan(parent) => {
                message.attributes.push(LinkAttribute::Link(*parent));
                let mode = InfoMacVlan::Mode(MacVlanMode::Bridge);
                (InfoKind::MacVlan, Some(InfoData::MacVlan(vec![mode])))
            }
            NewKind::IpVlan(parent) => {
                message.attributes.push(LinkAttribute::Link(*parent));
                let mode = InfoIpVlan::Mode(IpVlanMode::L2);
                (InfoKind::IpVlan, Some(InfoData::IpVlan(vec![mode])))
            }
        };
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.change(RouteNetlinkMessage::NewLink(message), flags, || {
            format!("make link {}", link.name)
        })
    }

    /// Changes the link `index`: `ip link set`.
    pub fn change_link(&self, index: u32, change: &LinkChange<'_>) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if let Some(name) = change.name {
            message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        }
        change.write(&mut message);
        // Unlike RTM_SETLINK, RTM_NEWLINK checks everything that it can before it changes anything.
        self.change(RouteNetlinkMessage::NewLink(message), 0, || change.describe(index))
    }

    /// Makes the link `index` known by a further name, of up to 127 bytes. Unlike its first name it
    /// stays when the link is renamed and when it moves.
    pub fn add_alternative_name(&self, index: u32, name: &str) -> Result<()> {
        let message = RouteNetlinkMessage::NewLinkProp(alternative_name(index, name));
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, || format!("call link {index} also {name}"))
    }

    /// Takes a further name off the link `index`.
    pub fn remove_alternative_name(&self, index: u32, name: &str) -> Result<()> {
        let message = RouteNetlinkMessage::DelLinkProp(alternative_name(index, name));
        self.change(message, 0, || format!("call link {index} {name} no longer"))
    }

    /// Removes the link `index`, and the other end of a pair with it.
    pub fn delete_link(&self, index: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.change(RouteNetlinkMessage::DelLink(message), 0, || format!("delete link {index}"))
    }

    /// Deletes the link of that name; none is as good.
    pub fn delete_link_by_name(&self, name: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let call = || format!("delete link {name}");
        match self.change(RouteNetlinkMessage::DelLink(message), 0, call) {
            Err(error) if error.is(Errno::NODEV) => Ok(()),
            done => done,
        }
    }

    /// The link called `name`, also by an alternative name.
    pub fn link_by_name(&self, name: &str) -> Result<Option<Link>> {
        let mut message = LinkMessage::default();
        // Under IFLA_IFNAME the kernel looks for either (__dev_get_by_name()), but takes 15 bytes.
        let attribute = if name.len() > 15 {
            let bytes = [name.as_bytes(), &[0]].concat();
            LinkAttribute::Other(DefaultNla::new(ALTERNATIVE_NAME, bytes))
        } else {
            LinkAttribute::IfName(name.to_owned())
        };
        message.attributes.push(attribute);
        self.get_link(message, || format!("look up link {name}"))
    }

    /// The link of number `index`.
    pub fn link_by_index(&self, index: u32) -> Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.get_link(message, || format!("look up link {index}"))
    }

    /// Every link of the namespace.
    pub fn links(&self) -> Result<Vec<Link>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.dump(request, || "list the links".to_owned())?;
        Ok(answers.iter().filter_map(Link::parse).collect())
    }

    fn get_link(
        &self,
        message: LinkMessage,
        call: impl FnOnce() -> String,
    ) -> Result<Option<Link>> {
        match self.ask(RouteNetlinkMessage::GetLink(message), 0, call) {
            Ok(answers) => Ok(answers.iter().find_map(Link::parse)),
            Err(error) if error.is(Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn alternative_name(index: u32, name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())]));
    message
}

impl LinkChange<'_> {
    fn write(&self, message: &mut LinkMessage) {
        if let Some(up) = self.up {
            message.header.change_mask |= LinkFlags::Up;
            message.header.flags.set(LinkFlags::Up, up);
        }
        let attributes = [
            self.namespace.map(|namespace| LinkAttribute::NetNsFd(namespace.as_raw_fd())),
            self.mtu.map(LinkAttribute::Mtu),
            self.queue_length.map(LinkAttribute::TxQueueLen),
            self.address.map(|address| LinkAttribute::Address(address.to_owned())),
            self.master.map(LinkAttribute::Controller),
            self.hairpin.map(|hairpin| {
                let port = InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(hairpin)]);
                LinkAttribute::LinkInfo(vec![
                    LinkInfo::PortKind(InfoPortKind::Bridge),
                    LinkInfo::PortData(port),
                ])
            }),
        ];
        message.attributes.extend(attributes.into_iter().flatten());
    }

    fn describe(&self, index: u32) -> String {
        let mut parts = Vec::new();
        parts.extend(self.namespace.map(|_| "move it to another namespace".to_owned()));
        parts.extend(self.name.map(|name| format!("call it {name}")));
        parts.extend(self.mtu.map(|mtu| format!("mtu {mtu}")));
        parts.extend(self.queue_length.map(|length| format!("queue length {length}")));
        parts.extend(self.address.map(|_| "hardware address".to_owned()));
        parts.extend(self.master.map(|master| format!("master {master}")));
        parts.extend(self.hairpin.map(|hairpin| format!("hairpin {hairpin}")));
        parts.extend(self.up.map(|up| if up { "up".to_owned() } else { "down".to_owned() }));
        format!("change link {index} ({})", parts.join(", "))
    }
}

impl Link {
    fn parse(answer: &RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewLink(message) = answer else { return None };
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            up: flags.contains(LinkFlags::Up),
            loopback: flags.contains(LinkFlags::Loopback),
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::TxQueueLen(length) => link.queue_length = *length,
                LinkAttribute::Address(address) => link.address.clone_from(address),
                LinkAttribute::PermAddress(address) => link.permanent_address.clone_from(address),
                LinkAttribute::Controller(master) => link.master = Some(*master),
                LinkAttribute::Link(linked) => link.linked = Some(*linked),
                LinkAttribute::ParentDevName(name) => link.parent_device.clone_from(name),
                LinkAttribute::NetnsImmutable(bound) => link.bound_to_namespace = *bound,
                LinkAttribute::PropList(properties) => {
                    let names = properties.iter().filter_map(|property| match property {
                        Prop::AltIfName(name) => Some(name.clone()),
                        _ => None,
                    });
                    link.alternative_names.extend(names);
                }
                LinkAttribute::LinkInfo(info) => {
                    let kind = info.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                    link.kind = kind.unwrap_or_default();
                }
                _ => {}
            }
        }
        Some(link)
    }
}

impl Link {
    /// The link, or an error that names it and says where to look.
    pub fn required(found: Option<Self>, name: &str) -> Result<Self> {
        found.ok_or_else(|| {
            Error::new(format!("look up link {name}"), Errno::NODEV).with_hint("list them: ip link")
        })
    }
}
