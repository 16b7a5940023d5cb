//! An address with its prefix length, and a hardware address, compared by value and not by text.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address of a link: `192.168.3.4/24`, `2001:db8::4/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub prefix: u8,
}

/// A unicast hardware address of six bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardwareAddress(pub [u8; 6]);

/// Why a text is no address. The texts are the predecessor's, but for what it did not check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("invalid CIDR address: {0}")]
    Cidr(String),
    #[error("address {0}: invalid MAC address")]
    Hardware(String),
    #[error(
        "address {0}: a link cannot have a multicast MAC address; clear the lowest bit of the first byte"
    )]
    Multicast(String),
    #[error(
        "address {0}: a link cannot have the MAC address of all zeros; leave --mac out to keep its own"
    )]
    Zero(String),
}

impl Address {
    /// Whether `ip` is in its network.
    #[must_use]
    pub fn holds(&self, ip: IpAddr) -> bool {
        let differing = match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => u128::from(own.to_bits() ^ ip.to_bits()) << 96,
            (IpAddr::V6(own), IpAddr::V6(ip)) => own.to_bits() ^ ip.to_bits(),
            _ => return false,
        };
        differing.leading_zeros() >= u32::from(self.prefix)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = text.split_once('/').and_then(|(ip, prefix)| {
            let ip: IpAddr = ip.parse().ok()?;
            // A sign or a leading zero is no prefix length, although it parses as a number.
            let plain = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix: u8 = prefix.parse().ok().filter(|_| plain)?;
            let longest = if ip.is_ipv4() { 32 } else { 128 };
            (prefix <= longest).then_some(Self { ip, prefix })
        });
        parsed.ok_or_else(|| AddressError::Cidr(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl FromStr for HardwareAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let part = part.and_then(|part| u8::from_str_radix(part, 16).ok());
            *byte = part.ok_or_else(|| AddressError::Hardware(text.to_owned()))?;
        }
        if parts.next().is_some() || text.contains('+') {
            return Err(AddressError::Hardware(text.to_owned()));
        }
        if bytes == [0; 6] {
            return Err(AddressError::Zero(text.to_owned()));
        }
        if bytes[0] & 1 == 1 {
            return Err(AddressError::Multicast(text.to_owned()));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_needs_its_prefix() {
        assert_eq!("192.168.3.4/24".parse::<Address>().unwrap().to_string(), "192.168.3.4/24");
        assert_eq!("2001:DB8:0::4/64".parse::<Address>().unwrap().to_string(), "2001:db8::4/64");
        for bad in
            ["192.168.3.4", "192.168.3.4/33", "::1/129", "/24", "1.2.3/8", "1.2.3.4/+8", "1.2.3.4/"]
        {
            assert_eq!(bad.parse::<Address>(), Err(AddressError::Cidr(bad.to_owned())));
        }
    }

    #[test]
    fn a_network_holds_its_addresses() {
        let holds = |network: &str, ip: &str| {
            network.parse::<Address>().unwrap().holds(ip.parse().unwrap())
        };
        assert!(holds("10.0.0.1/24", "10.0.0.254") && holds("2001:db8::4/64", "2001:db8::1"));
        assert!(holds("10.0.0.1/32", "10.0.0.1") && holds("0.0.0.0/0", "10.0.0.1"));
        assert!(!holds("10.0.0.1/24", "10.0.1.1") && !holds("10.0.0.1/24", "::1"));
    }

    #[test]
    fn a_hardware_address_is_compared_by_value() {
        let lower: HardwareAddress = "fa:16:3e:00:aa:0b".parse().unwrap();
        assert_eq!("FA-16-3E-00-AA-0B".parse(), Ok(lower));
        assert_eq!(lower.to_string(), "fa:16:3e:00:aa:0b");
    }

    #[test]
    fn what_no_link_can_have_is_refused() {
        let texts = [
            "",
            "fa:16:3e:00:aa",
            "fa:16:3e:00:aa:0b:0c",
            "fa:16:3e:00:aa:+b",
            "g0:16:3e:00:aa:0b",
        ];
        for bad in texts {
            assert_eq!(bad.parse::<HardwareAddress>(), Err(AddressError::Hardware(bad.to_owned())));
        }
        let multicast = "01:00:5e:00:00:01";
        assert_eq!(
            multicast.parse::<HardwareAddress>(),
            Err(AddressError::Multicast(multicast.into()))
        );
        let zero = "00:00:00:00:00:00";
        assert_eq!(zero.parse::<HardwareAddress>(), Err(AddressError::Zero(zero.into())));
    }

    proptest! {
        #[test]
        fn hardware_addresses_print_as_they_parse(bytes: [u8; 6]) {
            let text = HardwareAddress(bytes).to_string();
            if let Ok(parsed) = text.parse::<HardwareAddress>() {
                prop_assert_eq!(parsed.0, bytes);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<Address>();
            let _ = text.parse::<HardwareAddress>();
        }
    }
}
