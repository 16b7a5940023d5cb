//! A JSON array of routes, as `add-route` takes it. All of it is checked before any of it is used.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

use crate::nic::{Address, LinkName};
use crate::record::RouteEntry;

/// Where a route leads: everything, or one network whose host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Default,
    Network(Address),
}

/// One route of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub destination: Destination,
    pub source: Option<IpAddr>,
    pub gateway: Option<IpAddr>,
    pub device: Option<LinkName>,
    /// The kernel's default when absent: 0 for IPv4, 1024 for IPv6.
    pub metric: Option<u32>,
    /// The main table when absent.
    pub table: Option<u32>,
    /// The gateway is reached by the device although no network says so.
    pub onlink: bool,
}

/// Why a text is no list of routes. The texts are the predecessor's where it had one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("malformed rule format: {0}")]
    Json(String),
    #[error("failed to parse dest {0:?} of route rule")]
    Destination(String),
    #[error("failed to parse dest {0:?} of route rule: it has host bits; write {1}")]
    HostBits(String, Address),
    #[error("failed to parse {field} {text:?} of route rule: it is no address")]
    Address { field: &'static str, text: String },
    #[error("failed to parse dev {text:?} of route rule: {reason}")]
    Device { text: String, reason: String },
    #[error("src or gw or dev name is required")]
    NoWay,
    #[error("dest, src and gw of a route rule have to be of one family; {0} and {1} are not")]
    Families(String, String),
    #[error("onlink of a route rule needs gw and dev")]
    Onlink,
}

/// The members as they are typed. An unknown one is a slip of the pen and is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    #[serde(default)]
    dest: String,
    #[serde(default)]
    src: String,
    #[serde(default)]
    gw: String,
    #[serde(default)]
    dev: String,
    metric: Option<u32>,
    table: Option<u32>,
    #[serde(default)]
    onlink: bool,
}

/// Parses a JSON array of routes.
///
/// # Errors
/// On the first rule that is none, by its field.
pub fn parse_routes(json: &str) -> Result<Vec<Route>, RouteError> {
    let typed: Vec<Typed> =
        serde_json::from_str(json).map_err(|error| RouteError::Json(error.to_string()))?;
    typed.iter().map(Route::from_typed).collect()
}

/// Parses what is to be removed: rules of which parts may be left out.
///
/// # Errors
/// When it is no array of objects with the members of a route.
pub fn parse_patterns(json: &str) -> Result<Vec<RouteEntry>, RouteError> {
    let typed: Vec<Typed> =
        serde_json::from_str(json).map_err(|error| RouteError::Json(error.to_string()))?;
    let entry = |typed: Typed| RouteEntry {
        dest: typed.dest,
        src: typed.src,
        gw: typed.gw,
        dev: typed.dev,
        metric: typed.metric,
        table: typed.table,
        onlink: typed.onlink,
    };
    Ok(typed.into_iter().map(entry).collect())
}

impl Route {
    fn from_typed(typed: &Typed) -> Result<Self, RouteError> {
        let address = |field, text: &str| match text {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| RouteError::Address { field, text: text.to_owned() }),
        };
        let device = match typed.dev.as_str() {
            "" => None,
            name => Some(name.parse::<LinkName>().map_err(|error| RouteError::Device {
                text: name.to_owned(),
                reason: error.to_string(),
            })?),
        };
        let route = Self {
            destination: Destination::parse(&typed.dest)?,
            source: address("src", &typed.src)?,
            gateway: address("gw", &typed.gw)?,
            device,
            metric: typed.metric,
            table: typed.table,
            onlink: typed.onlink,
        };
        if route.source.is_none() && route.gateway.is_none() && route.device.is_none() {
            return Err(RouteError::NoWay);
        }
        if route.onlink && (route.gateway.is_none() || route.device.is_none()) {
            return Err(RouteError::Onlink);
        }
        route.check_families()?;
        Ok(route)
    }

    fn check_families(&self) -> Result<(), RouteError> {
        let network = match self.destination {
            Destination::Default => None,
            Destination::Network(network) => Some(network.ip),
        };
        let mut addresses = [network, self.source, self.gateway].into_iter().flatten();
        let Some(first) = addresses.next() else { return Ok(()) };
        match addresses.find(|other| other.is_ipv4() != first.is_ipv4()) {
            Some(other) => Err(RouteError::Families(first.to_string(), other.to_string())),
            None => Ok(()),
        }
    }

    /// Whether the kernel would take the two for one: same destination, table and metric.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let family = |route: &Self| match (route.destination, route.gateway.or(route.source)) {
            (Destination::Network(network), _) => network.ip.is_ipv4(),
            (Destination::Default, Some(address)) => address.is_ipv4(),
            (Destination::Default, None) => true,
        };
        self.destination == other.destination
            && family(self) == family(other)
            && self.table == other.table
            && self.metric == other.metric
    }
}

impl Destination {
    fn parse(text: &str) -> Result<Self, RouteError> {
        if text.is_empty() || text == "default" {
            return Ok(Self::Default);
        }
        let address: Address =
            text.parse().map_err(|_| RouteError::Destination(text.to_owned()))?;
        let network = network_of(address);
        if network != address {
            return Err(RouteError::HostBits(text.to_owned(), network));
        }
        // The kernel has one word for it, and so does the record.
        let everything = network.prefix == 0 && network.ip.is_ipv4();
        Ok(if everything { Self::Default } else { Self::Network(network) })
    }
}

/// The network that an address is in: its host bits cleared.
fn network_of(address: Address) -> Address {
    let prefix = u32::from(address.prefix);
    let ip = match address.ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    };
    Address { ip, prefix: address.prefix }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// The form of the commands' reports: `{dest:default,src:,gw:10.0.0.1,dev:eth0}`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |address: Option<IpAddr>| address.map_or(String::new(), |ip| ip.to_string());
        let device = self.device.as_ref().map_or("", LinkName::as_str);
        let (source, gateway) = (text(self.source), text(self.gateway));
        write!(f, "{{dest:{},src:{source},gw:{gateway},dev:{device}}}", self.destination)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &Expect) {
        let text = match parse_routes(json) {
            Ok(routes) => {
                let lines: Vec<String> = routes.iter().map(Route::to_string).collect();
                lines.join("\n")
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn an_empty_destination_is_the_default_route() {
        check(r#"[{"gw":"10.0.0.1"}]"#, &expect!["{dest:default,src:,gw:10.0.0.1,dev:}"]);
        check(r#"[{"dest":"default","dev":"e1"}]"#, &expect!["{dest:default,src:,gw:,dev:e1}"]);
        check(r#"[{"dest":"0.0.0.0/0","dev":"e1"}]"#, &expect!["{dest:default,src:,gw:,dev:e1}"]);
        check("[]", &expect![""]);
    }

    #[test]
    fn networks_are_canonical() {
        check(
            r#"[{"dest":"10.1.0.0/16","src":"10.1.0.5","dev":"e1"},{"dest":"2001:DB8::/32","gw":"fe80::1","dev":"e1"}]"#,
            &expect![[r#"
                {dest:10.1.0.0/16,src:10.1.0.5,gw:,dev:e1}
                {dest:2001:db8::/32,src:,gw:fe80::1,dev:e1}"#]],
        );
    }

    #[test]
    fn what_is_refused_names_the_field() {
        check(
            r#"[{"dest":"junk","dev":"e1"}]"#,
            &expect![[r#"failed to parse dest "junk" of route rule"#]],
        );
        check(
            r#"[{"dest":"10.0.0.1/8","dev":"e1"}]"#,
            &expect![[
                r#"failed to parse dest "10.0.0.1/8" of route rule: it has host bits; write 10.0.0.0/8"#
            ]],
        );
        check(
            r#"[{"gw":"notanip"}]"#,
            &expect![[r#"failed to parse gw "notanip" of route rule: it is no address"#]],
        );
        check(
            r#"[{"src":"1.2.3.4/8"}]"#,
            &expect![[r#"failed to parse src "1.2.3.4/8" of route rule: it is no address"#]],
        );
        check("[{}]", &expect!["src or gw or dev name is required"]);
        check(
            r#"[{"dest":"10.0.0.0/8","gw":"fe80::1"}]"#,
            &expect![
                "dest, src and gw of a route rule have to be of one family; 10.0.0.0 and fe80::1 are not"
            ],
        );
        check(
            r#"[{"gw":"10.0.0.1","onlink":true}]"#,
            &expect!["onlink of a route rule needs gw and dev"],
        );
        check(
            r#"[{"gateway":"10.0.0.1"}]"#,
            &expect![
                "malformed rule format: unknown field `gateway`, expected one of `dest`, `src`, `gw`, `dev`, `metric`, `table`, `onlink` at line 1 column 11"
            ],
        );
        assert!(matches!(parse_routes("{}"), Err(RouteError::Json(_))));
    }

    #[test]
    fn a_conflict_is_what_the_kernel_calls_one() {
        let routes = parse_routes(
            r#"[{"gw":"10.0.0.1"},{"gw":"10.0.0.2"},{"gw":"10.0.0.2","metric":5},{"gw":"fe80::1"}]"#,
        )
        .unwrap();
        assert!(routes[0].conflicts_with(&routes[1]));
        assert!(!routes[0].conflicts_with(&routes[2]));
        assert!(!routes[0].conflicts_with(&routes[3]));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse_routes(&text);
        }

        #[test]
        fn a_network_has_no_host_bits(bits: u32, prefix in 0u8..=32) {
            let network = network_of(Address { ip: IpAddr::V4(bits.into()), prefix });
            prop_assert_eq!(network_of(network), network);
        }
    }
}
