//! What `add-nic` was asked for, checked as far as no look at the host is needed. The checks are the
//! same for a running container and for a stopped one: what is recorded can be replayed.

use std::fmt;

use super::address::{Address, AddressError, HardwareAddress};
use super::rate::Rates;

/// The longest name of a link in bytes (IFNAMSIZ of linux/if.h, less its final zero).
const NAME_MAX: usize = 15;
/// The smallest MTU that IPv4 can do with (RFC 791), and the kernel's ETH_MIN_MTU.
const MTU_MIN: u32 = 68;
/// The kernel's ETH_MAX_MTU.
const MTU_MAX: u32 = 65535;

/// How the container gets its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A new pair, of which the host keeps one end in a bridge.
    Veth,
    /// A link of the host's, moved.
    Eth,
    /// A further hardware address on a link that the host keeps.
    MacVlan,
    /// A further link on a link that the host keeps, with its hardware address.
    IpVlan,
}

/// The name of a link, as the kernel takes it (dev_valid_name() of net/core/dev.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkName(String);

/// `[host:]container`, as `--name` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicNames {
    pub host: Option<LinkName>,
    pub container: LinkName,
}

/// One link as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicRequest {
    pub kind: Kind,
    pub names: NicNames,
    pub addresses: Vec<Address>,
    pub hardware_address: Option<HardwareAddress>,
    pub bridge: Option<LinkName>,
    pub mtu: u32,
    /// The length of the transmit queue in packets.
    pub queue_length: u32,
    pub rates: Rates,
}

/// Why a link cannot be asked for like this. The texts are the predecessor's where it had one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NicError {
    #[error("invalid network option: unsupported type {0}")]
    Kind(String),
    #[error("failed to get container nic name")]
    NoContainerName,
    #[error("invalid network option: host nic name input error")]
    NoHostName,
    #[error("invalid network option: interface name {name:?}: {reason}")]
    Name { name: String, reason: &'static str },
    #[error("invalid network option: {0}")]
    Address(#[from] AddressError),
    #[error("invalid network option: bridge must be specified")]
    NoBridge,
    #[error("invalid network option: for {0} type, bridge cannot be set")]
    Bridge(Kind),
    #[error("invalid network option: an ipvlan link has the MAC address of its parent; drop --mac")]
    HardwareAddress,
    #[error(
        "invalid network option: rate {0:?}: write a number of bits a second, at least 12k, as in \
         100mbit"
    )]
    Rate(String),
    #[error(
        "invalid network option: for {0} type, the host has no end that --ingress-rate could be set \
         on; limit what sends to it"
    )]
    IngressRate(Kind),
    #[error("invalid network option: Mtu must not be less than {MTU_MIN}")]
    MtuTooSmall,
    #[error("invalid network option: Mtu must not be more than {MTU_MAX}")]
    MtuTooLarge,
}

impl std::str::FromStr for Kind {
    type Err = NicError;

    fn from_str(text: &str) -> Result<Self, NicError> {
        match text {
            "veth" => Ok(Self::Veth),
            "eth" => Ok(Self::Eth),
            "macvlan" => Ok(Self::MacVlan),
            "ipvlan" => Ok(Self::IpVlan),
            _ => Err(NicError::Kind(text.to_owned())),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Veth => "veth",
            Self::Eth => "eth",
            Self::MacVlan => "macvlan",
            Self::IpVlan => "ipvlan",
        })
    }
}

impl std::str::FromStr for LinkName {
    type Err = NicError;

    fn from_str(text: &str) -> Result<Self, NicError> {
        let reason = if text.is_empty() {
            "a name is needed"
        } else if text.len() > NAME_MAX {
            "it is longer than 15 bytes; choose a shorter one"
        } else if text == "." || text == ".." {
            "it means a directory in sysfs; choose another one"
        } else if text.contains(|c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace()) {
            "it holds '/', ':', '%' or white space; choose another one"
        } else if text.contains(|c: char| c.is_control()) {
            "it holds a control character; choose another one"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(NicError::Name { name: text.to_owned(), reason })
    }
}

impl LinkName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parses `[host:]container`; an empty host side is none.
///
/// # Errors
/// When the container side is missing, or a side is no name of a link.
pub fn parse_names(text: &str) -> Result<NicNames, NicError> {
    let (host, container) = text.split_once(':').unwrap_or(("", text));
    if container.is_empty() {
        return Err(NicError::NoContainerName);
    }
    let host = if host.is_empty() { None } else { Some(host.parse()?) };
    Ok(NicNames { host, container: container.parse()? })
}

impl NicRequest {
    /// Checks what the options mean together.
    ///
    /// # Errors
    /// When an option is missing, out of range, or does not go with the kind.
    pub fn validate(&self) -> Result<(), NicError> {
        match self.kind {
            Kind::Veth if self.bridge.is_none() => return Err(NicError::NoBridge),
            Kind::Veth => {}
            kind if self.bridge.is_some() => return Err(NicError::Bridge(kind)),
            _ if self.names.host.is_none() => return Err(NicError::NoHostName),
            Kind::IpVlan if self.hardware_address.is_some() => {
                return Err(NicError::HardwareAddress);
            }
            _ => {}
        }
        if self.kind != Kind::Veth && self.rates.ingress.is_some() {
            return Err(NicError::IngressRate(self.kind));
        }
        match self.mtu {
            0..MTU_MIN => Err(NicError::MtuTooSmall),
            MTU_MIN..=MTU_MAX => Ok(()),
            _ => Err(NicError::MtuTooLarge),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn request(kind: Kind) -> NicRequest {
        NicRequest {
            kind,
            names: parse_names("h1:e1").unwrap(),
            addresses: vec!["192.168.3.4/24".parse().unwrap()],
            hardware_address: None,
            bridge: (kind == Kind::Veth).then(|| "br0".parse().unwrap()),
            mtu: 1500,
            queue_length: 1000,
            rates: Rates::default(),
        }
    }

    #[track_caller]
    fn refuse(change: impl FnOnce(&mut NicRequest), kind: Kind, expected: &Expect) {
        let mut request = request(kind);
        assert_eq!(request.validate(), Ok(()));
        change(&mut request);
        expected.assert_eq(&request.validate().unwrap_err().to_string());
    }

    #[test]
    fn options_have_to_fit_the_kind() {
        refuse(
            |nic| nic.bridge = None,
            Kind::Veth,
            &expect!["invalid network option: bridge must be specified"],
        );
        refuse(
            |nic| nic.bridge = Some("br0".parse().unwrap()),
            Kind::Eth,
            &expect!["invalid network option: for eth type, bridge cannot be set"],
        );
        refuse(
            |nic| nic.names.host = None,
            Kind::Eth,
            &expect!["invalid network option: host nic name input error"],
        );
        refuse(
            |nic| nic.hardware_address = Some("fa:16:3e:00:aa:0b".parse().unwrap()),
            Kind::IpVlan,
            &expect![
                "invalid network option: an ipvlan link has the MAC address of its parent; drop --mac"
            ],
        );
        refuse(
            |nic| nic.rates.ingress = Some("1m".parse().unwrap()),
            Kind::Eth,
            &expect![
                "invalid network option: for eth type, the host has no end that --ingress-rate could be set on; limit what sends to it"
            ],
        );
        refuse(
            |nic| nic.mtu = 67,
            Kind::Veth,
            &expect!["invalid network option: Mtu must not be less than 68"],
        );
        refuse(
            |nic| nic.mtu = 65536,
            Kind::Veth,
            &expect!["invalid network option: Mtu must not be more than 65535"],
        );
    }

    #[test]
    fn names_split_at_the_first_colon() {
        let names = parse_names("h1:e1").unwrap();
        assert_eq!((names.host.unwrap().as_str(), names.container.as_str()), ("h1", "e1"));
        assert_eq!(parse_names("e1").unwrap().host, None);
        assert_eq!(parse_names(":e1").unwrap().host, None);
        assert_eq!(parse_names("h1:"), Err(NicError::NoContainerName));
        assert_eq!(parse_names(""), Err(NicError::NoContainerName));
    }

    #[test]
    fn names_that_the_kernel_refuses_are_refused_first() {
        for bad in ["0123456789abcdef", ".", "..", "a/b", "a b", "a%d", "a\u{1}b"] {
            assert!(matches!(bad.parse::<LinkName>(), Err(NicError::Name { .. })), "{bad:?}");
        }
        expect![[r#"invalid network option: interface name "0123456789abcdef": it is longer than 15 bytes; choose a shorter one"#]]
            .assert_eq(&parse_names("0123456789abcdef").unwrap_err().to_string());
        expect!["invalid network option: unsupported type tap"]
            .assert_eq(&"tap".parse::<Kind>().unwrap_err().to_string());
    }
}
