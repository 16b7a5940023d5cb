//! Numbers in and out of the text of kernel files, without allocating.
//!
//! Everything here works on bytes: kernel files carry names that need not be UTF-8.

/// The decimal number at the start of `text`, saturating at `u64::MAX`; `None` without a digit.
pub fn leading_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| {
        text[..digits].iter().fold(0u64, |value, digit| {
            value.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        })
    })
}

/// The whole of `text`, blanks around it aside, as a decimal number.
pub fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    text.iter().all(u8::is_ascii_digit).then(|| leading_number(text)).flatten()
}

/// The blank-separated words of a line.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Lines without their newline; a trailing newline makes no empty last line.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// `key value` lines, as cgroup files with `stat` in their name have them.
pub fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    lines(text).filter_map(|line| {
        let mut parts = words(line);
        Some((parts.next()?, number(parts.next()?)?))
    })
}

/// Appends `value` in decimal.
pub fn push_number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    let start = decimal(value, &mut digits);
    out.extend_from_slice(&digits[start..]);
}

/// Appends `value` in decimal, right-aligned in `width` columns.
pub fn push_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut digits = [0u8; 20];
    let start = decimal(value, &mut digits);
    let blanks = width.saturating_sub(digits.len() - start);
    out.resize(out.len() + blanks, b' ');
    out.extend_from_slice(&digits[start..]);
}

/// Appends hundredths as `12.34`.
pub fn push_hundredths(out: &mut Vec<u8>, hundredths: u64) {
    push_number(out, hundredths / 100);
    out.push(b'.');
    let rest = hundredths % 100;
    if rest < 10 {
        out.push(b'0');
    }
    push_number(out, rest);
}

fn decimal(mut value: u64, digits: &mut [u8; 20]) -> usize {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789"[usize::try_from(value % 10).unwrap_or(0)];
        value /= 10;
        if value == 0 {
            return start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_round_trip() {
        for value in [0, 7, 10, 99, 100, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, value);
            assert_eq!(number(&out), Some(value));
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        assert_eq!(number(b"max\n"), None);
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b""), None);
        assert_eq!(leading_number(b"12 kB"), Some(12));
        assert_eq!(leading_number(b"99999999999999999999999"), Some(u64::MAX));
    }

    #[test]
    fn padding_never_cuts() {
        let mut out = Vec::new();
        push_padded(&mut out, 123_456, 4);
        push_padded(&mut out, 7, 4);
        assert_eq!(out, b"123456   7");
    }

    #[test]
    fn hundredths_keep_two_places() {
        let mut out = Vec::new();
        push_hundredths(&mut out, 105);
        assert_eq!(out, b"1.05");
    }
}
