//! How much may go into a container by a link and out of it.
//!
//! ```text
//! into it    a veth pair's host end delays what is more
//! out of it  the same end drops it, where the kernel can (act_police); else, and for links that
//!            the host has no end of, the link inside delays it, and a root inside with
//!            CAP_NET_ADMIN can lift that, which diff then shows
//! ```

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use linux::netlink::Link;
use linux::{Errno, Undo};

use super::parse::NicError;
use super::settings::Sockets;
use crate::error::Result;

/// Bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u64);

/// Of both ways, as the container sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    pub ingress: Option<Rate>,
    pub egress: Option<Rate>,
}

/// Less than a packet of 1500 bytes a second is no network.
const RATE_MIN: u64 = 12_000;

impl Rate {
    fn bytes(self) -> u64 {
        self.0 / 8
    }
}

/// A number with `k`, `m` or `g` for thousands of thousands, and `bit` or not.
impl FromStr for Rate {
    type Err = NicError;

    fn from_str(text: &str) -> Result<Self, NicError> {
        let bad = || NicError::Rate(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let lower = lower.strip_suffix("bit").unwrap_or(&lower);
        let end = lower.trim_end_matches(|c: char| c.is_ascii_digit());
        let (digits, factor) = match lower.char_indices().next_back() {
            Some((at, 'k')) => (&lower[..at], 1_000),
            Some((at, 'm')) => (&lower[..at], 1_000_000),
            Some((at, 'g')) => (&lower[..at], 1_000_000_000),
            _ if end.is_empty() => (lower, 1),
            _ => return Err(bad()),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let number: u64 = digits.parse().map_err(|_| bad())?;
        let bits = number.checked_mul(factor).ok_or_else(bad)?;
        if bits < RATE_MIN {
            return Err(bad());
        }
        Ok(Self(bits))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bits if bits % 1_000_000_000 == 0 => write!(f, "{}gbit", bits / 1_000_000_000),
            bits if bits % 1_000_000 == 0 => write!(f, "{}mbit", bits / 1_000_000),
            bits if bits % 1_000 == 0 => write!(f, "{}kbit", bits / 1_000),
            bits => write!(f, "{bits}bit"),
        }
    }
}

/// Leads a link, whose ends are `host`, if the host has one, and `inside`, from one to the other.
pub(crate) fn limit(
    sockets: &Rc<Sockets>,
    host: Option<&Link>,
    inside: &Link,
    from: Rates,
    to: Rates,
    undo: &mut Undo<'_>,
) -> Result<()> {
    let (host, inside) = (host.map(|link| link.index), inside.index);
    if from != to {
        // Of several queues the first may be set when the second is refused.
        let sockets = Rc::clone(sockets);
        undo.push("rates of a link", move || set(&sockets, host, inside, to, from));
    }
    Ok(set(sockets, host, inside, from, to)?)
}

/// What was not limited by us is left alone: the container may have queues of its own.
fn set(
    sockets: &Sockets,
    host: Option<u32>,
    inside: u32,
    from: Rates,
    to: Rates,
) -> linux::Result<()> {
    match (host, from.ingress, to.ingress) {
        (Some(host), _, Some(rate)) => sockets.host.shape(host, rate.bytes())?,
        (Some(host), Some(_), None) => sockets.host.unshape(host)?,
        _ => {}
    }
    match (from.egress, to.egress) {
        (_, Some(rate)) => {
            let policed = host.map(|host| sockets.host.police(host, rate.bytes()));
            match policed {
                Some(Err(error)) if !error.is(Errno::NOENT) && !error.is(Errno::OPNOTSUPP) => {
                    return Err(error);
                }
                Some(Ok(())) => {}
                _ => sockets.inside.shape(inside, rate.bytes())?,
            }
        }
        (Some(_), None) => {
            if let Some(host) = host {
                sockets.host.unpolice(host)?;
            }
            if sockets.inside.shaped(inside)?.is_some() {
                sockets.inside.unshape(inside)?;
            }
        }
        (None, None) => {}
    }
    Ok(())
}

/// What of it is not in force, in words.
pub(crate) fn drift(
    sockets: &Sockets,
    host: Option<&Link>,
    inside: &Link,
    rates: Rates,
) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    if let (Some(rate), Some(host)) = (rates.ingress, host)
        && sockets.host.shaped(host.index)? != Some(rate.bytes())
    {
        wrong.push(format!("lets in more than {rate}"));
    }
    if let Some(rate) = rates.egress {
        let policed = match host {
            Some(host) => sockets.host.is_policed(host.index)?,
            None => false,
        };
        if !policed && sockets.inside.shaped(inside.index)? != Some(rate.bytes()) {
            wrong.push(format!("lets out more than {rate}"));
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_rate_is_in_bits_and_thousands() {
        for (text, bits, shown) in [
            ("100mbit", 100_000_000, "100mbit"),
            ("100M", 100_000_000, "100mbit"),
            ("1G", 1_000_000_000, "1gbit"),
            ("64k", 64_000, "64kbit"),
            ("64001", 64_001, "64001bit"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate, &*rate.to_string()), (Rate(bits), shown));
            assert_eq!(shown.parse(), Ok(rate), "{shown}");
        }
        for bad in
            ["", "m", "1.5m", "-1m", "100mb", "11999", "+5m", "99999999999999999999g", "\u{e4}"]
        {
            assert!(bad.parse::<Rate>().is_err(), "{bad:?}");
        }
        expect![[r#"invalid network option: rate "fast": write a number of bits a second, at least 12k, as in 100mbit"#]]
            .assert_eq(&"fast".parse::<Rate>().unwrap_err().to_string());
    }
}
