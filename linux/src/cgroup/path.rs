//! Where a cgroup is asked to be: a path relative to the top of every hierarchy.

use std::fmt;
use std::path::Path;

use crate::error::{Errno, Error, Result};

/// Path of a cgroup below the top of each hierarchy, `isulad/3f2a9c`.
///
/// Parsed once, valid ever after: relative, not empty, no `.` or `..`, no empty component, nothing
/// the kernel refuses in a cgroup's name. A cgroup made from it is strictly below the top.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CgroupPath(String);

/// Longest name of a directory (NAME_MAX of limits.h).
const NAME_MAX: usize = 255;
/// Leaves room for the mount point and a file's name within PATH_MAX.
const LENGTH_MAX: usize = 3072;

impl CgroupPath {
    /// Accepts a leading `/` and doubled ones, which people write, and stores neither.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse =
            |hint| Err(Error::new(format!("cgroup path {text:?}"), Errno::INVAL).with_hint(hint));
        let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return refuse("name a cgroup below the top, such as /isulad");
        }
        if names.iter().any(|name| *name == "." || *name == "..") {
            return refuse("write it without \".\" and \"..\"");
        }
        // The kernel refuses a line feed to keep /proc/PID/cgroup parseable (cgroup_mkdir).
        if text.contains(['\n', '\0']) {
            return refuse("leave out line feeds and NUL");
        }
        if names.iter().any(|name| name.len() > NAME_MAX) || text.len() > LENGTH_MAX {
            return refuse("use at most 255 bytes in a name and 3072 in all");
        }
        Ok(Self(names.join("/")))
    }

    /// The path without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same cgroup one level down.
    pub fn join(&self, name: &str) -> Result<Self> {
        Self::parse(&format!("{}/{name}", self.0))
    }

    /// The names from the top down.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl AsRef<Path> for CgroupPath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(input: &str, expect: Expect) {
        let answer = match CgroupPath::parse(input) {
            Ok(path) => format!("{path}"),
            Err(error) => format!("error: {error}"),
        };
        expect.assert_eq(&answer);
    }

    #[test]
    fn slashes_are_cleaned_and_the_rest_is_refused() {
        check("/isulad//web1/", expect!["isulad/web1"]);
        check("a b/\u{e9}", expect!["a b/\u{e9}"]);
        check(
            "/",
            expect![[
                r#"error: cgroup path "/": invalid argument (EINVAL); name a cgroup below the top, such as /isulad"#
            ]],
        );
        check(
            "a/../b",
            expect![[
                r#"error: cgroup path "a/../b": invalid argument (EINVAL); write it without "." and "..""#
            ]],
        );
        check(
            "a\nb",
            expect![[
                r#"error: cgroup path "a\nb": invalid argument (EINVAL); leave out line feeds and NUL"#
            ]],
        );
        let long = "x".repeat(256);
        assert!(CgroupPath::parse(&long).is_err());
    }
}
