//! Numbers with units, as people write them: `512m`, `1G`, `32MB`, `1.5`.

use anyhow::{Result, bail, ensure};

/// Bytes. Units are powers of 1024 whether or not they are written `KiB`, as everywhere in
/// container engines.
pub fn bytes(text: &str) -> Result<u64> {
    let invalid = || anyhow::anyhow!("invalid size {text:?}; write it like 512m or 1G");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = if unit.len() == 2 { unit.strip_suffix('i').unwrap_or(unit) } else { unit };
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(invalid()),
    };
    let (whole, billionths) = decimal(number).ok_or_else(invalid)?;
    let scaled =
        (u128::from(whole) << shift) + ((u128::from(billionths) << shift) / u128::from(BILLION));
    // Kernel files take signed numbers.
    match u64::try_from(scaled) {
        Ok(bytes) if i64::try_from(bytes).is_ok() => Ok(bytes),
        _ => bail!("size {text:?} is larger than this system can hold"),
    }
}

/// [`bytes`] as the kernel's signed number.
pub fn signed_bytes(text: &str) -> Result<i64> {
    Ok(i64::try_from(bytes(text)?).expect("bytes() answers what fits"))
}

/// Thousand millionths of a CPU.
pub fn nano_cpus(text: &str) -> Result<u64> {
    let invalid = || anyhow::anyhow!("invalid number of CPUs {text:?}; write it like 1.5");
    let (whole, billionths) = decimal(text).ok_or_else(invalid)?;
    let nanos = whole.checked_mul(BILLION).and_then(|n| n.checked_add(billionths));
    let nanos = nanos.ok_or_else(invalid)?;
    ensure!(nanos >= BILLION / 100, "--cpus {text} is too small; use at least 0.01");
    Ok(nanos)
}

/// A whole number of `option`.
pub fn integer<T: std::str::FromStr>(option: &str, text: &str) -> Result<T> {
    let Ok(number) = text.parse() else { bail!("{option}: {text:?} is not a number it takes") };
    Ok(number)
}

const BILLION: u64 = 1_000_000_000;

/// `1.5` is one and 500000000 thousand millionths.
fn decimal(text: &str) -> Option<(u64, u64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok());
    let whole: u64 = digits(whole)??;
    let parts: u64 = digits(fraction)??;
    let scale = u32::try_from(9 - fraction.len()).ok()?;
    Some((whole, parts * 10_u64.pow(scale)))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn sizes() {
        let sizes = ["0", "4096", "4k", "32M", "1G", "10Mb", "2MiB", "1.5g", "7P", "512 m"];
        let read: Vec<String> = sizes.map(|s| bytes(s).unwrap().to_string()).into();
        expect![
            "0 4096 4096 33554432 1073741824 10485760 2097152 1610612736 7881299347898368 536870912"
        ]
        .assert_eq(&read.join(" "));
        for bad in ["", "m", "-1", "1x", "1mm", "1.", ".5", "1e3", "1 m b", "16384p"] {
            bytes(bad).unwrap_err();
        }
        expect![[r#"invalid size "1x"; write it like 512m or 1G"#]]
            .assert_eq(&bytes("1x").unwrap_err().to_string());
    }

    #[test]
    fn cpus() {
        assert_eq!(nano_cpus("1.5").unwrap(), 1_500_000_000);
        assert_eq!(nano_cpus("0.01").unwrap(), 10_000_000);
        expect!["--cpus 0.001 is too small; use at least 0.01"]
            .assert_eq(&nano_cpus("0.001").unwrap_err().to_string());
        nano_cpus("two").unwrap_err();
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = bytes(&text);
            let _ = nano_cpus(&text);
        }

        #[test]
        fn bytes_are_themselves(number in 0..=i64::MAX as u64) {
            proptest::prop_assert_eq!(bytes(&number.to_string()).unwrap(), number);
        }
    }
}
