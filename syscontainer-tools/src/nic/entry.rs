//! A link as the record has it, and as the rest of the code does.

use super::parse::{LinkName, NicNames, NicRequest};
use super::rate::{Rate, Rates};
use crate::error::{Error, Result};
use crate::record::NicEntry;

impl NicRequest {
    /// As it is recorded. `host`: the name that a side without one was given.
    #[must_use]
    pub fn to_entry(&self, host: &LinkName) -> NicEntry {
        let mut addresses = self.addresses.iter().map(ToString::to_string);
        NicEntry {
            ip: addresses.next().unwrap_or_default(),
            mac: self.hardware_address.map(|address| address.to_string()).unwrap_or_default(),
            mtu: self.mtu,
            qlen: self.queue_length,
            kind: self.kind.to_string(),
            bridge: self.bridge.as_ref().map(ToString::to_string).unwrap_or_default(),
            host_nic_name: host.to_string(),
            ctr_nic_name: self.names.container.to_string(),
            addresses: addresses.collect(),
            ingress_rate: self.rates.ingress.map(|rate| rate.0),
            egress_rate: self.rates.egress.map(|rate| rate.0),
        }
    }
}

/// What a recorded link means. A record of the predecessor's may have anything in it.
pub(crate) fn parsed(entry: &NicEntry) -> Result<NicRequest> {
    let read = || -> Result<NicRequest, super::NicError> {
        let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let texts = optional(&entry.ip).into_iter().chain(entry.addresses.iter().cloned());
        let mut addresses = Vec::new();
        for text in texts {
            addresses.push(text.parse()?);
        }
        let nic = NicRequest {
            kind: entry.kind.parse()?,
            names: NicNames {
                host: optional(&entry.host_nic_name).map(|name| name.parse()).transpose()?,
                container: entry.ctr_nic_name.parse()?,
            },
            addresses,
            hardware_address: optional(&entry.mac).map(|mac| mac.parse()).transpose()?,
            bridge: optional(&entry.bridge).map(|name| name.parse()).transpose()?,
            mtu: entry.mtu,
            queue_length: entry.qlen,
            rates: Rates {
                ingress: entry.ingress_rate.map(Rate),
                egress: entry.egress_rate.map(Rate),
            },
        };
        nic.validate()?;
        Ok(nic)
    };
    read().map_err(|error| {
        let name = &entry.ctr_nic_name;
        Error::Failed(format!(
            "the record has a link {name} that is none: {error}; drop it: isulad-tools remove-nic \
             --name {name} --update-config-only CONTAINER"
        ))
    })
}

/// The host's name of a veth pair that was not given one: 9 characters of the container's name, and
/// five digits, as the predecessor made them.
#[must_use]
pub fn made_up_host_name(container: &LinkName) -> LinkName {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut start = String::new();
    for c in container.as_str().chars() {
        if start.len() + c.len_utf8() > 9 {
            break;
        }
        start.push(c);
    }
    // Keys of hash maps are the random numbers that std has.
    let random = std::hash::RandomState::new().build_hasher().finish() & 0xf_ffff;
    format!("{start}_{random:05x}").parse().expect("at most 15 bytes of a name's letters")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_link_is_recorded_and_read_again() {
        let entry = NicEntry {
            ip: "192.168.3.4/24".into(),
            mac: "fa:16:3e:00:aa:0b".into(),
            mtu: 1400,
            qlen: 500,
            kind: "veth".into(),
            bridge: "br0".into(),
            host_nic_name: "h1".into(),
            ctr_nic_name: "e1".into(),
            addresses: vec!["2001:db8::4/64".into()],
            ingress_rate: Some(1_000_000),
            egress_rate: None,
        };
        let nic = parsed(&entry).unwrap();
        assert_eq!(nic.to_entry(nic.names.host.as_ref().unwrap()), entry);
        let bad = NicEntry { ip: "garbage".into(), ..entry };
        expect!["the record has a link e1 that is none: invalid network option: invalid CIDR address: garbage; drop it: isulad-tools remove-nic --name e1 --update-config-only CONTAINER"]
            .assert_eq(&parsed(&bad).unwrap_err().to_string());
    }

    #[test]
    fn a_name_that_was_made_up_is_a_name() {
        for name in ["eth0", "0123456789abcde", "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}"] {
            let made = made_up_host_name(&name.parse().unwrap());
            assert!(made.as_str().len() <= 15, "{made}");
        }
        assert!(made_up_host_name(&"eth0".parse().unwrap()).as_str().starts_with("eth0_"));
    }
}
