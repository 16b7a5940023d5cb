//! What a link command makes of a record.

use super::address::{Address, HardwareAddress};
use super::entry::parsed;
use super::parse::{Kind, LinkName, NicNames, NicRequest};
use super::rate::Rate;
use crate::bounds::Bounds;
use crate::error::{Error, Result};
use crate::record::{NicEntry, Record, RouteEntry};
use crate::route;

/// What is to be different about a link.
#[derive(Debug, Clone, Default)]
pub struct NicChange {
    /// These addresses instead of those.
    pub addresses: Option<Vec<Address>>,
    pub hardware_address: Option<HardwareAddress>,
    pub bridge: Option<LinkName>,
    pub mtu: Option<u32>,
    pub queue_length: Option<u32>,
    /// `Some(None)` for no bound any more.
    pub ingress_rate: Option<Option<Rate>>,
    pub egress_rate: Option<Option<Rate>>,
}

/// What a removal takes out of the record: a link, and the routes that lead through it.
#[derive(Debug)]
pub struct Removal {
    pub next: Record,
    pub nic: NicEntry,
    pub routes: Vec<RouteEntry>,
}

/// What `add-nic` makes of `record`.
///
/// # Errors
/// A name or an address is taken, or there are too many.
pub fn add(
    record: &Record,
    request: &NicRequest,
    host: &LinkName,
    bounds: Bounds,
) -> Result<Record> {
    let given = |kind: &str| kind == Kind::Eth.to_string();
    let given_now = record.nics.iter().filter(|nic| given(&nic.kind)).count();
    if record.nics.len() >= bounds.nics
        || (request.kind == Kind::Eth && given_now >= bounds.physical_nics)
    {
        return Err(Error::Limit("Nic already reach max limit".into()));
    }
    let entry = request.to_entry(host);
    check_names(record, &entry, request.kind)?;
    check_addresses(record, request)?;
    let mut next = record.clone();
    next.nics.push(entry);
    Ok(next)
}

fn check_names(record: &Record, entry: &NicEntry, kind: Kind) -> Result<()> {
    // Several links may be made on one.
    let takes = |kind: &str| kind == "veth" || kind == "eth";
    for nic in &record.nics {
        if nic.ctr_nic_name == entry.ctr_nic_name {
            return Err(conflict("name", &nic.ctr_nic_name));
        }
        let either_takes = takes(&nic.kind) || matches!(kind, Kind::Veth | Kind::Eth);
        if nic.host_nic_name == entry.host_nic_name && either_takes {
            return Err(conflict("name", &nic.host_nic_name));
        }
    }
    Ok(())
}

/// By value: one address may be written in several ways, and with several prefixes.
fn check_addresses(record: &Record, request: &NicRequest) -> Result<()> {
    let name = request.names.container.as_str();
    let others = record.nics.iter().filter(|nic| nic.ctr_nic_name != name);
    for other in others.filter_map(|nic| parsed(nic).ok()) {
        if let Some(mac) = request.hardware_address.filter(|_| {
            other.hardware_address.is_some() && other.hardware_address == request.hardware_address
        }) {
            return Err(conflict("mac", &mac.to_string()));
        }
        let taken = |address: &&Address| other.addresses.iter().any(|known| known.ip == address.ip);
        if let Some(address) = request.addresses.iter().find(taken) {
            return Err(conflict("ip", &address.to_string()));
        }
    }
    for (at, address) in request.addresses.iter().enumerate() {
        if request.addresses[..at].iter().any(|known| known.ip == address.ip) {
            return Err(conflict("ip", &address.to_string()));
        }
    }
    Ok(())
}

fn conflict(what: &str, value: &str) -> Error {
    Error::Conflict(format!("interface {what} conflict: {value}"))
}

/// What `remove-nic` makes of `record`.
///
/// # Errors
/// There is no such link.
pub fn remove(record: &Record, names: &NicNames, kind: Option<Kind>) -> Result<Removal> {
    let host = names.host.as_ref().map(LinkName::as_str);
    let inside = names.container.as_str();
    let is_meant = |nic: &&NicEntry| {
        kind.is_none_or(|kind| nic.kind == kind.to_string())
            && nic.ctr_nic_name == inside
            && host.is_none_or(|host| nic.host_nic_name == host)
    };
    let Some(nic) = record.nics.iter().find(is_meant).cloned() else {
        let kind = kind.map(|kind| kind.to_string()).unwrap_or_default();
        return Err(Error::Conflict(format!(
            "Network interface {},{inside} with type {kind} not exist in container",
            host.unwrap_or_default()
        )));
    };
    let mut next = record.clone();
    next.nics.retain(|other| *other != nic);
    let (gone, kept) = next.routes.into_iter().partition(|route| route::leads_through(route, &nic));
    next.routes = kept;
    Ok(Removal { next, nic, routes: gone })
}

/// What `update-nic` makes of `record`.
///
/// # Errors
/// There is no such link, or it cannot be like this.
pub fn update(record: &Record, name: &LinkName, change: &NicChange) -> Result<Record> {
    let Some(at) = record.nics.iter().position(|nic| nic.ctr_nic_name == name.as_str()) else {
        return Err(Error::Conflict(format!(
            "Network interface ,{name} with type  not exist in container"
        )));
    };
    let mut nic = parsed(&record.nics[at])?;
    if let Some(addresses) = &change.addresses {
        nic.addresses.clone_from(addresses);
    }
    nic.hardware_address = change.hardware_address.or(nic.hardware_address);
    nic.bridge = change.bridge.clone().or(nic.bridge);
    nic.mtu = change.mtu.unwrap_or(nic.mtu);
    nic.queue_length = change.queue_length.unwrap_or(nic.queue_length);
    nic.rates.ingress = change.ingress_rate.unwrap_or(nic.rates.ingress);
    nic.rates.egress = change.egress_rate.unwrap_or(nic.rates.egress);
    nic.validate().map_err(|error| Error::Usage(error.to_string()))?;
    check_addresses(record, &nic)?;
    let mut next = record.clone();
    let host = record.nics[at].host_nic_name.clone();
    next.nics[at] = NicEntry { host_nic_name: host, ..nic.to_entry(name) };
    Ok(next)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::parse::parse_names;
    use super::*;

    fn request(kind: Kind, names: &str, ip: &str) -> NicRequest {
        NicRequest {
            kind,
            names: parse_names(names).unwrap(),
            addresses: vec![ip.parse().unwrap()],
            hardware_address: None,
            bridge: (kind == Kind::Veth).then(|| "br0".parse().unwrap()),
            mtu: 1500,
            queue_length: 1000,
            rates: super::super::Rates::default(),
        }
    }

    fn added(record: &Record, request: &NicRequest) -> Result<Record> {
        add(record, request, request.names.host.as_ref().unwrap(), Bounds::default())
    }

    #[track_caller]
    fn refuse(record: &Record, request: &NicRequest, expected: &Expect) {
        expected.assert_eq(&added(record, request).unwrap_err().to_string());
    }

    #[test]
    fn what_is_taken_is_compared_by_value() {
        let mut first = request(Kind::Veth, "h1:e1", "10.0.0.1/24");
        first.hardware_address = Some("fa:16:3e:00:aa:0b".parse().unwrap());
        let record = added(&Record::default(), &first).unwrap();
        let other = |names| request(Kind::Veth, names, "10.0.0.2/24");
        refuse(&record, &other("h2:e1"), &expect!["interface name conflict: e1"]);
        refuse(&record, &other("h1:e2"), &expect!["interface name conflict: h1"]);
        let same_ip = request(Kind::Veth, "h2:e2", "10.0.0.1/8");
        refuse(&record, &same_ip, &expect!["interface ip conflict: 10.0.0.1/8"]);
        let mut same_mac = other("h2:e2");
        same_mac.hardware_address = Some("FA-16-3E-00-AA-0B".parse().unwrap());
        refuse(&record, &same_mac, &expect!["interface mac conflict: fa:16:3e:00:aa:0b"]);
        let mut twice = other("h2:e2");
        twice.addresses.push("10.0.0.2/32".parse().unwrap());
        refuse(&record, &twice, &expect!["interface ip conflict: 10.0.0.2/32"]);
        let two = added(&record, &request(Kind::MacVlan, "p0:m1", "10.0.0.3/24")).unwrap();
        let two = added(&two, &request(Kind::MacVlan, "p0:m2", "10.0.0.4/24")).unwrap();
        refuse(
            &two,
            &request(Kind::Eth, "p0:e9", "10.0.0.5/24"),
            &expect!["interface name conflict: p0"],
        );
    }

    #[test]
    fn there_is_an_end_to_it() {
        let fill = |kind, count| {
            (0..count).fold(Record::default(), |record, number| {
                let ip = format!("10.0.{number}.1/24");
                let names = format!("h{number}:e{number}");
                added(&record, &request(kind, &names, &ip)).unwrap()
            })
        };
        let ninth = request(Kind::Eth, "p9:x9", "10.9.9.9/24");
        let full = fill(Kind::Eth, 8);
        let error = added(&full, &ninth).unwrap_err();
        assert_eq!((error.code(), &*error.to_string()), (5, "Nic already reach max limit"));
        assert!(added(&full, &request(Kind::Veth, "h9:x9", "10.9.9.9/24")).is_ok());
        let full = fill(Kind::Veth, 128);
        assert_eq!(added(&full, &ninth).unwrap_err().code(), 5);
    }

    #[test]
    fn a_removal_takes_the_routes_through_the_link_along() {
        let mut record =
            added(&Record::default(), &request(Kind::Veth, "h1:e1", "10.0.0.1/24")).unwrap();
        let via = |gw: &str, dev: &str| RouteEntry {
            dest: "default".into(),
            gw: gw.into(),
            dev: dev.into(),
            ..RouteEntry::default()
        };
        record.routes = vec![via("", "e1"), via("10.0.0.254", ""), via("10.1.0.254", "")];
        let names = parse_names("e1").unwrap();
        let removal = remove(&record, &names, None).unwrap();
        assert_eq!((removal.routes.len(), removal.next.routes.len()), (2, 1));
        assert!(removal.next.nics.is_empty());
        let error = remove(&record, &parse_names("h2:e1").unwrap(), Some(Kind::Eth)).unwrap_err();
        expect!["Network interface h2,e1 with type eth not exist in container"]
            .assert_eq(&error.to_string());
    }

    #[test]
    fn an_update_is_checked_like_an_addition() {
        let record =
            added(&Record::default(), &request(Kind::Veth, "h1:e1", "10.0.0.1/24")).unwrap();
        let record = added(&record, &request(Kind::Veth, "h2:e2", "10.0.0.2/24")).unwrap();
        let name = "e1".parse().unwrap();
        let taken = NicChange {
            addresses: Some(vec!["10.0.0.2/16".parse().unwrap()]),
            ..NicChange::default()
        };
        expect!["interface ip conflict: 10.0.0.2/16"]
            .assert_eq(&update(&record, &name, &taken).unwrap_err().to_string());
        let small = NicChange { mtu: Some(10), ..NicChange::default() };
        expect!["invalid network option: Mtu must not be less than 68"]
            .assert_eq(&update(&record, &name, &small).unwrap_err().to_string());
        let next =
            update(&record, &name, &NicChange { mtu: Some(1400), ..NicChange::default() }).unwrap();
        assert_eq!((next.nics[0].mtu, &*next.nics[0].host_nic_name), (1400, "h1"));
    }
}
