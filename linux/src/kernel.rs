//! The kernel that runs.

/// Its version, as in (6, 18): for what can only be told by it. What a call can tell is asked of
/// the call, as distributions bring later features to earlier kernels.
#[must_use]
pub fn version() -> (u32, u32) {
    parse(&rustix::system::uname().release().to_string_lossy())
}

fn parse(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_first_two_numbers_count() {
        for (release, version) in [
            ("6.18.44-fc-v782", (6, 18)),
            ("6.1.0-50-amd64", (6, 1)),
            ("5.10", (5, 10)),
            ("7-rc1", (7, 0)),
            ("next", (0, 0)),
        ] {
            assert_eq!(parse(release), version, "{release}");
        }
    }
}
