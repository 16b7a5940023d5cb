//! How much of a disk a container may use: `device:rate` and `device:weight`. Text in, values out.

use std::path::{Path, PathBuf};

use crate::path::clean;

/// What is limited. The order is that of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKind {
    ReadIops,
    WriteIops,
    ReadBps,
    WriteBps,
    Weight,
}

/// One limit of one device; 0 takes it away. Bytes or operations a second, or a weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QosLimit {
    pub kind: LimitKind,
    pub device: PathBuf,
    pub value: u64,
}

/// Why an argument is no limit. The texts are the predecessor's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QosError {
    #[error("Bad format: {0}")]
    Shape(String),
    #[error(
        "Invalid rate for device: {0}. The correct format is <device-path>:<number>[<unit>]. \
         Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
    )]
    Rate(String),
    #[error("Invalid weight for device: {0}")]
    Weight(String),
}

impl LimitKind {
    /// What the commands call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadIops => "read iops",
            Self::WriteIops => "write iops",
            Self::ReadBps => "read bps",
            Self::WriteBps => "write bps",
            Self::Weight => "blkio weight",
        }
    }
}

/// Parses `device:rate`: a decimal number with an optional unit of 1024 (`k` to `p`, any case) and
/// an optional `b`. A fraction is cut off after the unit is applied.
///
/// # Errors
/// When there is no colon, or what follows the last one is no rate.
pub fn parse_limit(kind: LimitKind, argument: &str) -> Result<QosLimit, QosError> {
    let (device, rate) = split(argument)?;
    let value = parse_rate(rate).ok_or_else(|| QosError::Rate(argument.to_owned()))?;
    Ok(QosLimit { kind, device, value })
}

/// Parses `device:weight`: 10 to 1000, or 0 for the default.
///
/// # Errors
/// When there is no colon, or the weight is none.
pub fn parse_weight(argument: &str) -> Result<QosLimit, QosError> {
    let (device, weight) = split(argument)?;
    match weight.parse() {
        Ok(value @ (0 | 10..=1000)) => Ok(QosLimit { kind: LimitKind::Weight, device, value }),
        _ => Err(QosError::Weight(argument.to_owned())),
    }
}

fn split(argument: &str) -> Result<(PathBuf, &str), QosError> {
    match argument.rsplit_once(':') {
        Some((device, value)) if device.starts_with('/') => Ok((clean(Path::new(device)), value)),
        _ => Err(QosError::Shape(argument.to_owned())),
    }
}

fn parse_rate(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['b', 'B']).unwrap_or(text);
    let shift = match text.bytes().last()?.to_ascii_lowercase() {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        b'p' => 50,
        _ => 0,
    };
    let number = if shift == 0 { text } else { &text[..text.len() - 1] };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') {
        return None;
    }
    let unit = 1u64 << shift;
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    // Nine places decide a byte even of a pebibyte's fraction well enough to fit 128 bits.
    let places = fraction.get(..fraction.len().min(9)).unwrap_or("");
    let part = if places.is_empty() { 0 } else { places.parse::<u64>().ok()? };
    let scale = 10u128.pow(u32::try_from(places.len()).ok()?);
    let part = u64::try_from(u128::from(part) * u128::from(unit) / scale).ok()?;
    whole.checked_add(part)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(parsed: Result<QosLimit, QosError>, expected: &Expect) {
        let text = match parsed {
            Ok(limit) => {
                format!("{} {} {}", limit.kind.name(), limit.device.display(), limit.value)
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn units_are_powers_of_1024() {
        check(
            parse_limit(LimitKind::ReadBps, "/dev/sdb:10m"),
            &expect!["read bps /dev/sdb 10485760"],
        );
        check(
            parse_limit(LimitKind::ReadBps, "/dev/sdb:10.5m"),
            &expect!["read bps /dev/sdb 11010048"],
        );
        check(
            parse_limit(LimitKind::WriteBps, "/dev/sdb:1KB"),
            &expect!["write bps /dev/sdb 1024"],
        );
        check(
            parse_limit(LimitKind::WriteIops, "/dev/sdb:100"),
            &expect!["write iops /dev/sdb 100"],
        );
        check(parse_limit(LimitKind::ReadIops, "/dev/sdb:0"), &expect!["read iops /dev/sdb 0"]);
        check(parse_limit(LimitKind::ReadBps, "/dev/sdb:2.75"), &expect!["read bps /dev/sdb 2"]);
    }

    #[test]
    fn weights_have_bounds() {
        check(parse_weight("/dev/sdb:0"), &expect!["blkio weight /dev/sdb 0"]);
        check(parse_weight("/dev/sdb:10"), &expect!["blkio weight /dev/sdb 10"]);
        check(parse_weight("/dev/sdb:1000"), &expect!["blkio weight /dev/sdb 1000"]);
        check(parse_weight("/dev/sdb:5"), &expect!["Invalid weight for device: /dev/sdb:5"]);
        check(parse_weight("/dev/sdb:1001"), &expect!["Invalid weight for device: /dev/sdb:1001"]);
    }

    #[test]
    fn what_is_refused_says_why() {
        check(parse_limit(LimitKind::ReadBps, "/dev/sdb"), &expect!["Bad format: /dev/sdb"]);
        for bad in ["", "b", "k", "-1", "1x", "1.", ".5", "1.5.5", "99999999999p", "1 k"] {
            let argument = format!("/dev/sdb:{bad}");
            assert_eq!(
                parse_limit(LimitKind::ReadBps, &argument),
                Err(QosError::Rate(argument.clone())),
                "{bad}"
            );
        }
        check(
            parse_limit(LimitKind::ReadBps, "/dev/sdb:1x"),
            &expect![
                "Invalid rate for device: /dev/sdb:1x. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
            ],
        );
    }

    proptest! {
        #[test]
        fn a_whole_number_is_itself(value: u32) {
            prop_assert_eq!(parse_rate(&value.to_string()), Some(u64::from(value)));
            prop_assert_eq!(parse_rate(&format!("{value}kb")), Some(u64::from(value) << 10));
        }

        #[test]
        fn no_rate_panics(text in "\\PC*") {
            let _ = parse_rate(&text);
        }
    }
}
