//! Kernel parameters by the names that sysctl(8) uses.

use std::path::PathBuf;

use crate::{Change, Errno, Error, Result, file, kernel};

/// `net.ipv4.ip_forward` and `net/ipv4/ip_forward` are one file below `/proc/sys`.
///
/// The first separator in the key decides, as in sysctl.d(5): after a dot, slashes stand for dots
/// in a name (`net.ipv4.conf.eth0/100.forwarding`), after a slash, dots are themselves.
pub fn path_of(key: &str) -> Result<PathBuf> {
    let dotted = key.find(['.', '/']).is_none_or(|at| key[at..].starts_with('.'));
    let path: String = if dotted {
        key.chars()
            .map(|letter| match letter {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    } else {
        key.to_owned()
    };
    let wrong = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
    if path.split('/').any(wrong) {
        return Err(Error::new(format!("use sysctl key {key:?}"), Errno::INVAL)
            .with_hint("name it as sysctl(8) does, for example net.ipv4.ip_forward"));
    }
    Ok(PathBuf::from("/proc/sys").join(path))
}

/// Sets the parameter unless it has that value: some refuse a write that changes nothing.
pub fn write(key: &str, value: &str) -> Result<Change> {
    let path = path_of(key)?;
    // A write-only parameter cannot be compared.
    if let Ok(text) = file::read_to_string(&path)
        && text.split_ascii_whitespace().eq(value.split_ascii_whitespace())
    {
        return Ok(Change::AlreadyThere);
    }
    file::write(&path, value)?;
    Ok(Change::Made)
}

/// Whether each pid namespace has its own `kernel.pid_max` (Linux 6.14, commit 7863dcc72d0f);
/// before, the file is there in each and is the host's.
#[must_use]
pub fn pid_max_is_namespaced() -> bool {
    kernel::version() >= (6, 14)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn first_separator_decides() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
            ("net/ipv4/conf/eth0.100/forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
            ("kernel", "/proc/sys/kernel"),
        ] {
            assert_eq!(path_of(key).unwrap(), PathBuf::from(path), "{key}");
        }
    }

    #[test]
    fn keys_stay_below_proc_sys() {
        for key in ["", ".", "/etc/passwd", "net/../../etc", "a..b", "a/", "kernel.//.x", "a.\0"] {
            assert!(path_of(key).is_err(), "{key:?}");
        }
        expect![[r#"use sysctl key "net/../x": invalid argument (EINVAL); name it as sysctl(8) does, for example net.ipv4.ip_forward"#]]
            .assert_eq(&path_of("net/../x").unwrap_err().to_string());
    }

    #[test]
    fn an_unchanged_value_is_not_written() {
        let value = file::read_to_string("/proc/sys/kernel/ostype").unwrap();
        // The file is read-only, so a write would fail.
        assert_eq!(write("kernel.ostype", value.trim()), Ok(Change::AlreadyThere));
        assert!(write("kernel.ostype", "other").is_err());
    }
}
