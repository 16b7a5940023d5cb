//! What a route command makes of a record.

use super::parse::{Route, parse_routes};
use crate::error::{Error, Result};
use crate::nic::Address;
use crate::record::{NicEntry, Record, RouteEntry};

impl Route {
    /// As it is recorded: one word for one thing.
    #[must_use]
    pub fn to_entry(&self) -> RouteEntry {
        let text = |ip: Option<std::net::IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
        RouteEntry {
            dest: self.destination.to_string(),
            src: text(self.source),
            gw: text(self.gateway),
            dev: self.device.as_ref().map(ToString::to_string).unwrap_or_default(),
            metric: self.metric,
            table: self.table,
            onlink: self.onlink,
        }
    }
}

/// What a recorded route means.
pub(crate) fn parsed(entry: &RouteEntry) -> Result<Route> {
    let text = serde_json::to_string(&[entry])
        .map_err(|error| Error::Failed(format!("write a route: {error}")))?;
    let drop =
        format!("drop it: isulad-tools remove-route --update-config-only CONTAINER '{text}'");
    let bad = |error: String| {
        Error::Failed(format!("the record has a route that is none: {error}; {drop}"))
    };
    let mut routes = parse_routes(&text).map_err(|error| bad(error.to_string()))?;
    routes.pop().ok_or_else(|| bad("it is empty".into()))
}

/// What `add-route` makes of `record`.
///
/// # Errors
/// There is one to the same destination.
pub fn add(record: &Record, routes: &[Route]) -> Result<Record> {
    let mut next = record.clone();
    for route in routes {
        let known = next.routes.iter().filter_map(|entry| parsed(entry).ok());
        for known in known {
            if known.conflicts_with(route) {
                return Err(Error::Conflict(format!("route {route} alread exist")));
            }
        }
        next.routes.push(route.to_entry());
    }
    Ok(next)
}

/// Which routes are meant by a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// Those that are written out.
    Exact,
    /// Those that have what is written, and anything in what is not.
    Pattern,
}

/// What `remove-route` of one rule makes of `record`, and what that takes out.
///
/// # Errors
/// It is not recorded.
pub fn remove(
    record: &Record,
    rule: &RouteEntry,
    matching: Matching,
) -> Result<(Record, Vec<RouteEntry>)> {
    let wanted = normal(rule);
    let is_meant = |entry: &RouteEntry| {
        let entry = normal(entry);
        let any = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
        match matching {
            Matching::Exact => entry == wanted,
            Matching::Pattern => {
                // A rule that leaves its destination out does not mean the default alone.
                (rule.dest.is_empty() || wanted.dest == entry.dest)
                    && any(&wanted.src, &entry.src)
                    && any(&wanted.gw, &entry.gw)
                    && any(&wanted.dev, &entry.dev)
                    && wanted.metric.is_none_or(|metric| entry.metric == Some(metric))
                    && wanted.table.is_none_or(|table| entry.table == Some(table))
            }
        }
    };
    let mut next = record.clone();
    let (gone, kept): (Vec<_>, Vec<_>) = next.routes.into_iter().partition(is_meant);
    next.routes = kept;
    if gone.is_empty() {
        return Err(Error::Conflict(format!(
            "Route({}) is not added by syscontainer-tools, can not remove it, please check input \
             parameter.",
            shown(&wanted)
        )));
    }
    Ok((next, gone))
}

/// The form of the commands' reports.
#[must_use]
pub fn shown(entry: &RouteEntry) -> String {
    let RouteEntry { dest, src, gw, dev, .. } = entry;
    format!("{{dest:{dest},src:{src},gw:{gw},dev:{dev}}}")
}

/// In the words of this program; what is no route stays as it was written.
fn normal(entry: &RouteEntry) -> RouteEntry {
    match parsed(entry) {
        Ok(route) => route.to_entry(),
        Err(_) => {
            let ip = |text: &str| match text.parse::<std::net::IpAddr>() {
                Ok(ip) => ip.to_string(),
                Err(_) => text.to_owned(),
            };
            let dest = match &*entry.dest {
                "" => "default".to_owned(),
                text => match text.parse::<Address>() {
                    Ok(address) => address.to_string(),
                    Err(_) => text.to_owned(),
                },
            };
            RouteEntry { dest, src: ip(&entry.src), gw: ip(&entry.gw), ..entry.clone() }
        }
    }
}

/// Whether a route can be had by `nic` alone: it names it, or its gateway is in its networks.
pub(crate) fn leads_through(entry: &RouteEntry, nic: &NicEntry) -> bool {
    if !entry.dev.is_empty() {
        return entry.dev == nic.ctr_nic_name;
    }
    let networks: Vec<Address> = std::iter::once(&nic.ip)
        .chain(&nic.addresses)
        .filter_map(|text| text.parse().ok())
        .collect();
    let within = |text: &str| {
        let Ok(ip) = text.parse() else { return false };
        networks.iter().any(|network| network.holds(ip))
    };
    within(&entry.gw) || (entry.gw.is_empty() && within(&entry.src))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn routes(json: &str) -> Vec<Route> {
        parse_routes(json).unwrap()
    }

    fn three() -> Record {
        let json = r#"[{"gw":"10.0.0.1"},{"dest":"10.1.0.0/16","gw":"10.0.0.1"},
            {"dest":"10.2.0.0/16","dev":"e1"}]"#;
        add(&Record::default(), &routes(json)).unwrap()
    }

    #[test]
    fn one_destination_is_taken_once() {
        let record = three();
        assert_eq!(record.routes[0].dest, "default");
        let refused = |json: &str| add(&record, &routes(json)).unwrap_err().to_string();
        expect!["route {dest:10.2.0.0/16,src:,gw:10.0.0.9,dev:} alread exist"]
            .assert_eq(&refused(r#"[{"dest":"10.2.0.0/16","gw":"10.0.0.9"}]"#));
        expect!["route {dest:10.9.0.0/16,src:,gw:,dev:e1} alread exist"].assert_eq(&refused(
            r#"[{"dest":"10.9.0.0/16","dev":"e1"},{"dest":"10.9.0.0/16","dev":"e1"}]"#,
        ));
        assert!(add(&record, &routes(r#"[{"gw":"10.0.0.1","metric":7}]"#)).is_ok());
        assert!(add(&record, &routes(r#"[{"gw":"fe80::1","dev":"e1"}]"#)).is_ok());
    }

    #[test]
    fn a_removal_means_what_it_says() {
        let record = three();
        let entry = |dest: &str, gw: &str, dev: &str| RouteEntry {
            dest: dest.into(),
            gw: gw.into(),
            dev: dev.into(),
            ..RouteEntry::default()
        };
        let count = |rule: &RouteEntry, matching| remove(&record, rule, matching).unwrap().1.len();
        assert_eq!(count(&entry("", "10.0.0.1", ""), Matching::Exact), 1);
        assert_eq!(count(&entry("default", "10.0.0.1", ""), Matching::Exact), 1);
        assert_eq!(count(&entry("", "10.0.0.1", ""), Matching::Pattern), 2);
        assert_eq!(count(&entry("", "", ""), Matching::Pattern), 3);
        let error = remove(&record, &entry("", "", "e9"), Matching::Exact).unwrap_err();
        expect!["Route({dest:default,src:,gw:,dev:e9}) is not added by syscontainer-tools, can not remove it, please check input parameter."]
            .assert_eq(&error.to_string());
    }
}
