//! `add-nic`, `remove-nic`, `update-nic`, `list-nic`.

use clap::Args;
use serde_json::json;

use super::output::matching;
use super::{Context, OnFailure};
use crate::error::{Error, Result};
use crate::nic::{self, Address, Kind, LinkName, NicRequest, Rate, Rates, host, plan};
use crate::record::RecordFile;
use crate::route::{self, Destination, Route};

/// Add a network link to a container
///
/// A veth pair has one end in a bridge of the host's; an eth link is moved into the container and
/// comes back as it was; macvlan and ipvlan links are made on a link that the host keeps.
#[derive(Debug, Args)]
pub(super) struct AddNicArgs {
    /// veth, eth, macvlan or ipvlan
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    kind: String,
    /// [HOST:]CONTAINER, names of up to 15 bytes; of macvlan and ipvlan HOST is the link below
    #[arg(long, value_name = "NAMES", default_value = "", hide_default_value = true)]
    name: String,
    /// An address with its prefix length, IPv4 or IPv6; may be repeated
    #[arg(long, value_name = "ADDRESS/LENGTH", required = true)]
    ip: Vec<String>,
    /// A hardware address; else eth keeps its own, and others have one that stays
    #[arg(long, value_name = "MAC")]
    mac: Option<String>,
    /// The bridge of a veth pair: the kernel's, or one of Open vSwitch
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// Largest packet in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1500)]
    mtu: u32,
    /// Length of the transmit queue in packets
    #[arg(long, value_name = "PACKETS", default_value_t = 1000)]
    qlen: u32,
    /// Let so many bits a second into the container, as in 100mbit; veth alone
    #[arg(long, value_name = "RATE")]
    ingress_rate: Option<String>,
    /// Let so many bits a second out of the container
    ///
    /// A veth pair drops what is more on its host end, if the kernel can; in the container it is
    /// delayed, and a root there with CAP_NET_ADMIN can lift that.
    #[arg(long, value_name = "RATE")]
    egress_rate: Option<String>,
    /// Add a default route by this address, too; once for IPv4, once for IPv6
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// Give away a link that the host needs itself
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
}

/// Take a network link out of a container that add-nic has put there
///
/// The routes that lead through it go with it.
#[derive(Debug, Args)]
pub(super) struct RemoveNicArgs {
    /// Only if it is of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// [HOST:]CONTAINER
    #[arg(long, value_name = "NAMES", default_value = "", hide_default_value = true)]
    name: String,
    /// Change the record, and leave the container as it is
    #[arg(long)]
    update_config_only: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Change a network link of a container that add-nic has put there
///
/// It stays up meanwhile. What is not named stays as it is.
#[derive(Debug, Args)]
pub(super) struct UpdateNicArgs {
    /// What the link is called in the container
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    name: String,
    /// An address with its prefix length, instead of those it has; may be repeated
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    ip: Vec<String>,
    /// A hardware address
    #[arg(long, value_name = "MAC")]
    mac: Option<String>,
    /// Another bridge
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// Largest packet in bytes
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
    /// Length of the transmit queue in packets
    #[arg(long, value_name = "PACKETS")]
    qlen: Option<u32>,
    /// Bits a second into the container, as in 100mbit; 0 for no bound
    #[arg(long, value_name = "RATE")]
    ingress_rate: Option<String>,
    /// Bits a second out of the container; 0 for no bound
    #[arg(long, value_name = "RATE")]
    egress_rate: Option<String>,
    /// Record it for the next start, and leave the container as it is
    #[arg(long)]
    update_config_only: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// List the network links that were added to a container
#[derive(Debug, Args)]
pub(super) struct ListNicArgs {
    /// Over several lines
    #[arg(short, long)]
    pretty: bool,
    /// Those with these members alone, as in '{"ip":"192.168.3.4/24"}'
    #[arg(short, long, value_name = "JSON")]
    filter: Option<String>,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(super) fn add(context: &mut Context, args: &AddNicArgs) -> Result<()> {
    let request = parse(args).map_err(|error| Error::Usage(error.to_string()))?;
    let routes = gateways(&args.gateway, &request)?;
    let named = |error: Error| error.within("failed to add nic into container");
    let bounds = context.bounds()?;
    let target = context.target(&args.container)?;
    let mut session = context.session(&target, args.update_config_only)?;
    args.on_failure.of(&mut session);
    let host_name = match &request.names.host {
        Some(name) => name.clone(),
        None => nic::made_up_host_name(&request.names.container),
    };
    let mut next = plan::add(session.record(), &request, &host_name, bounds).map_err(named)?;
    next = route::plan::add(&next, &routes).map_err(named)?;
    let strictness = host::Strictness { now: session.live().is_some(), force: args.force };
    host::check(&request, &target.dir, strictness)?;
    session.change(&next).map_err(named)?;
    let (inside, container) = (&request.names.container, &target.name);
    context.output.done(
        &format!("Add network interface ({host_name}) to container ({container},{inside}) done"),
        json!({ "action": "add", "kind": "nic", "host": host_name.as_str(),
            "container": inside.as_str() }),
    );
    for route in &routes {
        context.output.done(
            &format!("Add route to container {container}, route: {route} done"),
            json!({ "action": "add", "kind": "route", "route": route.to_entry() }),
        );
    }
    Ok(())
}

fn parse(args: &AddNicArgs) -> Result<NicRequest, nic::NicError> {
    let request = NicRequest {
        kind: args.kind.parse()?,
        names: nic::parse_names(&args.name)?,
        addresses: addresses(&args.ip)?,
        hardware_address: given(&args.mac).map(str::parse).transpose()?,
        bridge: given(&args.bridge).map(str::parse).transpose()?,
        mtu: args.mtu,
        queue_length: args.qlen,
        rates: Rates {
            ingress: given(&args.ingress_rate).map(str::parse).transpose()?,
            egress: given(&args.egress_rate).map(str::parse).transpose()?,
        },
    };
    request.validate()?;
    Ok(request)
}

/// An empty word is none, as it was for the predecessor.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn addresses(texts: &[String]) -> Result<Vec<Address>, nic::AddressError> {
    texts.iter().map(|text| text.parse()).collect()
}

/// 0 is none.
fn bound(text: &str) -> Result<Option<Rate>, nic::NicError> {
    if text == "0" { Ok(None) } else { text.parse().map(Some) }
}

fn gateways(texts: &[String], request: &NicRequest) -> Result<Vec<Route>> {
    let mut routes: Vec<Route> = Vec::new();
    for text in texts {
        let bad = |reason: &str| Error::Usage(format!("--gateway: {text:?} {reason}"));
        let gateway: std::net::IpAddr = text.parse().map_err(|_| bad("is no address"))?;
        let link_local =
            matches!(gateway, std::net::IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80);
        if !link_local && !request.addresses.iter().any(|address| address.holds(gateway)) {
            return Err(bad("is in no network of an --ip"));
        }
        let route = Route {
            destination: Destination::Default,
            source: None,
            gateway: Some(gateway),
            device: Some(request.names.container.clone()),
            metric: None,
            table: None,
            onlink: false,
        };
        if routes.iter().any(|known| known.conflicts_with(&route)) {
            return Err(bad("is a second one of its family"));
        }
        routes.push(route);
    }
    Ok(routes)
}

pub(super) fn remove(context: &mut Context, args: &RemoveNicArgs) -> Result<()> {
    let usage = |error: nic::NicError| Error::Usage(error.to_string());
    let kind = given(&args.kind).map(str::parse::<Kind>).transpose().map_err(usage)?;
    let names = nic::parse_names(&args.name).map_err(usage)?;
    let named = |error: Error| error.within("failed to remove nic from container");
    let target = context.target(&args.container)?;
    let mut session = context.session(&target, args.update_config_only)?;
    let removal = plan::remove(session.record(), &names, kind)
        .map_err(|error| {
            error.wrap(|text| match text.ends_with("in container") {
                true => format!("{text} {}", target.name),
                false => text,
            })
        })
        .map_err(named)?;
    session.change(&removal.next).map_err(named)?;
    let (host, inside, name) =
        (&removal.nic.host_nic_name, &removal.nic.ctr_nic_name, &target.name);
    context.output.done(
        &format!("Remove network interface ({host}) from container ({name},{inside}) done"),
        json!({ "action": "remove", "kind": "nic", "host": host, "container": inside }),
    );
    for gone in &removal.routes {
        super::route::report_removed(context, name, gone);
    }
    Ok(())
}

pub(super) fn update(context: &mut Context, args: &UpdateNicArgs) -> Result<()> {
    if args.name.is_empty() {
        return Err(Error::Usage("Network interface name in container must be provided".into()));
    }
    let usage = |error: nic::NicError| Error::Usage(error.to_string());
    let read = || -> Result<(LinkName, plan::NicChange), nic::NicError> {
        let addresses = addresses(&args.ip)?;
        let change = plan::NicChange {
            addresses: (!addresses.is_empty()).then_some(addresses),
            hardware_address: given(&args.mac).map(str::parse).transpose()?,
            bridge: given(&args.bridge).map(str::parse).transpose()?,
            mtu: args.mtu.filter(|mtu| *mtu != 0),
            queue_length: args.qlen,
            ingress_rate: given(&args.ingress_rate).map(bound).transpose()?,
            egress_rate: given(&args.egress_rate).map(bound).transpose()?,
        };
        Ok((args.name.parse()?, change))
    };
    let (name, change) = read().map_err(usage)?;
    let named = |error: Error| error.within("failed to upadte nic in container");
    let target = context.target(&args.container)?;
    let mut session = context.session(&target, args.update_config_only)?;
    let next = plan::update(session.record(), &name, &change)
        .map_err(|error| {
            error.wrap(|text| match text.ends_with("in container") {
                true => format!("{text} {}", target.name),
                false => text,
            })
        })
        .map_err(named)?;
    if let (Some(bridge), Some(_)) = (&change.bridge, session.live()) {
        let host = linux::netlink::Socket::open()?;
        host::bridge_exists(&host, bridge).map_err(named)?;
    }
    session.change(&next).map_err(named)?;
    let mut report = |line: &str, what: &str, value: String, end: &str| {
        context.output.done(
            &format!("Update {line} for network interface ({name},{value}){end}"),
            json!({ "action": "update", "kind": "nic", "container": name.as_str(),
                "what": what, "value": value }),
        );
    };
    if let Some(addresses) = &change.addresses {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        report("IP address", "ip", texts.join(","), " done");
    }
    if let Some(mac) = change.hardware_address {
        report("MAC address", "mac", mac.to_string(), " done");
    }
    if let Some(bridge) = &change.bridge {
        report("Bridge", "bridge", bridge.to_string(), " done");
    }
    if let Some(mtu) = change.mtu {
        report("Mtu", "mtu", mtu.to_string(), " done");
    }
    if let Some(length) = change.queue_length {
        report("Qlen", "qlen", length.to_string(), "");
    }
    let shown = |rate: Option<Rate>| rate.map_or("none".to_owned(), |rate| rate.to_string());
    if let Some(rate) = change.ingress_rate {
        report("Ingress rate", "ingress-rate", shown(rate), " done");
    }
    if let Some(rate) = change.egress_rate {
        report("Egress rate", "egress-rate", shown(rate), " done");
    }
    Ok(())
}

pub(super) fn list(context: &mut Context, args: &ListNicArgs) -> Result<()> {
    let target = context.target(&args.container)?;
    let record = RecordFile::peek(&target.dir)?;
    let wanted = matching(args.filter.as_deref(), "failed to parse filter", &record.nics)?;
    context.output.list(&wanted, args.pretty)
}
