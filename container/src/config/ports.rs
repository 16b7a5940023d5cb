//! Ports of the host that lead to a container.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Text that is no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not PORT or PORT/tcp or PORT/udp")]
pub struct InvalidPort;

impl FromStr for Protocol {
    type Err = InvalidPort;

    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(InvalidPort),
        }
    }
}

/// A port of the container: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

impl FromStr for Port {
    type Err = InvalidPort;

    /// Without a word for it, tcp is spoken.
    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        match number.parse() {
            Ok(number @ 1..) => Ok(Self { number, protocol: protocol.parse()? }),
            _ => Err(InvalidPort),
        }
    }
}

/// `--publish`, taken apart: one port of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The container's side.
    pub inside: Port,
    /// The address of the host; `0.0.0.0` is all of them.
    pub host_address: Ipv4Addr,
    /// The first and the last port of the host of which it gets one; two zeros are any.
    pub host_ports: (u16, u16),
}

/// A port of the container and the one of the host that leads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The container's side.
    pub inside: Port,
    /// The host's side.
    pub host: SocketAddrV4,
}

impl PublishedPort {
    /// Whether the two cannot be there at once.
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.host.ip(), other.host.ip());
        self.inside.protocol == other.inside.protocol
            && self.host.port() == other.host.port()
            && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
    }
}

/// As `ps` shows it.
impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.host, self.inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(host: &str, inside: &str) -> PublishedPort {
        PublishedPort { inside: inside.parse().unwrap(), host: host.parse().unwrap() }
    }

    #[test]
    fn a_port_is_read_as_it_is_written() {
        for text in ["1/tcp", "65535/udp"] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
        assert_eq!("80".parse::<Port>().unwrap().to_string(), "80/tcp");
        for text in ["", "0", "65536", "x", "80/", "80/sctp", "80/TCP/x"] {
            assert_eq!(text.parse::<Port>(), Err(InvalidPort), "{text}");
        }
    }

    #[test]
    fn every_address_is_all_of_them() {
        let all = published("0.0.0.0:80", "80");
        assert!(all.collides_with(&published("127.0.0.1:80", "8080")));
        assert!(published("127.0.0.1:80", "8080").collides_with(&all));
        let one = published("127.0.0.1:80", "80");
        assert!(!one.collides_with(&published("127.0.0.2:80", "80")));
        assert!(!one.collides_with(&published("127.0.0.1:80", "80/udp")));
        assert!(!one.collides_with(&published("127.0.0.1:81", "80")));
        assert_eq!(one.to_string(), "127.0.0.1:80->80/tcp");
    }
}
