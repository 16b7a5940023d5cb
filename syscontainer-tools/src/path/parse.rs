//! `host:container[:options]`, as `add-path` and `remove-path` take it. Text in, values out.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// What may be done below the container path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadWrite,
    ReadOnly,
}

/// Whether mounts made later below the host path appear in the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Never; of this mount alone.
    Private,
    /// Never; of this mount and those below it.
    RecursivePrivate,
    /// They do; what the container mounts stays in the container.
    RecursiveSlave,
}

/// One directory or file to be seen in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMapping {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub access: Access,
    pub propagation: Propagation,
}

/// Why an argument is not a path mapping. The texts are the predecessor's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("Failed to parse bind: {0}, invalid path specification: {0}")]
    Shape(String),
    #[error(
        "Failed to parse bind: {0}, invalid path specification:{0}, only absolute path is allowed"
    )]
    Relative(String),
    #[error("Failed to parse bind: {argument}, invalid permissions: {options}")]
    Options { argument: String, options: String },
    #[error("Failed to parse bind: {argument}, container path {path}: {reason}; name another one")]
    Target { argument: String, path: String, reason: &'static str },
}

/// Parses what `add-path` takes.
///
/// # Errors
/// When it has not two or three parts, a path is not absolute, an option is unknown or repeated, or
/// the container path is one that the container cannot do without.
pub fn parse_addition(argument: &str) -> Result<PathMapping, PathError> {
    let (host, container, options) = split(argument)?;
    let (access, propagation) = match options {
        None => (Access::ReadWrite, Propagation::RecursiveSlave),
        Some(options) => parse_options(options).ok_or_else(|| PathError::Options {
            argument: argument.to_owned(),
            options: options.to_owned(),
        })?,
    };
    let mapping = PathMapping {
        host_path: absolute(argument, host)?,
        container_path: absolute(argument, container)?,
        access,
        propagation,
    };
    if let Some(reason) = reserved(&mapping.container_path) {
        return Err(PathError::Target {
            argument: argument.to_owned(),
            path: mapping.container_path.display().to_string(),
            reason,
        });
    }
    Ok(mapping)
}

/// Parses what `remove-path` takes: the pair of paths; a third part is accepted and says nothing.
///
/// # Errors
/// As [`parse_addition`], but for the options.
pub fn parse_removal(argument: &str) -> Result<(PathBuf, PathBuf), PathError> {
    let (host, container, _) = split(argument)?;
    Ok((absolute(argument, host)?, absolute(argument, container)?))
}

fn split(argument: &str) -> Result<(&str, &str, Option<&str>), PathError> {
    let parts: Vec<&str> = argument.split(':').collect();
    match parts[..] {
        [host, container] => Ok((host, container, None)),
        [host, container, options] => Ok((host, container, Some(options))),
        _ => Err(PathError::Shape(argument.to_owned())),
    }
}

fn absolute(argument: &str, path: &str) -> Result<PathBuf, PathError> {
    if path.starts_with('/') {
        Ok(clean(Path::new(path)))
    } else {
        Err(PathError::Relative(argument.to_owned()))
    }
}

/// Removes `.`, `..` and doubled slashes by text alone, as the predecessor did before storing.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn parse_options(options: &str) -> Option<(Access, Propagation)> {
    let mut seen: Vec<&str> = Vec::new();
    let mut access = Access::ReadWrite;
    let mut propagation = Propagation::RecursiveSlave;
    for option in options.split(',') {
        if seen.contains(&option) {
            return None;
        }
        seen.push(option);
        match option {
            // Both together mean read-only, whatever their order.
            "rw" => {}
            "ro" => access = Access::ReadOnly,
            "private" => propagation = Propagation::Private,
            "rprivate" => propagation = Propagation::RecursivePrivate,
            "rslave" => propagation = Propagation::RecursiveSlave,
            _ => return None,
        }
    }
    Some((access, propagation))
}

/// Why a container path is refused whatever is mounted on it.
fn reserved(path: &Path) -> Option<&'static str> {
    let below = |top: &str| path.starts_with(top);
    if path == Path::new("/") {
        Some("it is the root of the container")
    } else if below("/proc") || below("/sys") {
        Some("it belongs to the kernel")
    } else if path == Path::new("/dev") {
        Some("it holds the container's devices")
    } else {
        None
    }
}

impl PathMapping {
    /// The options as they are recorded and listed.
    pub fn options(&self) -> String {
        let access = match self.access {
            Access::ReadWrite => "rw",
            Access::ReadOnly => "ro",
        };
        let propagation = match self.propagation {
            Propagation::Private => "private",
            Propagation::RecursivePrivate => "rprivate",
            Propagation::RecursiveSlave => "rslave",
        };
        format!("{access},{propagation}")
    }
}

impl fmt::Display for PathMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, container) = (self.host_path.display(), self.container_path.display());
        write!(f, "{host}:{container}:{}", self.options())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(argument: &str, expected: &Expect) {
        let text = match parse_addition(argument) {
            Ok(mapping) => mapping.to_string(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn read_write_and_slave_are_the_default() {
        check("/srv/data:/data", &expect!["/srv/data:/data:rw,rslave"]);
    }

    #[test]
    fn read_only_wins_over_read_write() {
        check("/a:/b:rw,ro", &expect!["/a:/b:ro,rslave"]);
        check("/a:/b:ro,rw", &expect!["/a:/b:ro,rslave"]);
    }

    #[test]
    fn paths_are_cleaned_before_they_are_stored() {
        check("/a//b/../c/:/x/./y/", &expect!["/a/c:/x/y:rw,rslave"]);
    }

    #[test]
    fn what_is_refused_says_why() {
        check("/a", &expect!["Failed to parse bind: /a, invalid path specification: /a"]);
        check(
            "/a:/b:ro:x",
            &expect!["Failed to parse bind: /a:/b:ro:x, invalid path specification: /a:/b:ro:x"],
        );
        check(
            "a:/b",
            &expect![
                "Failed to parse bind: a:/b, invalid path specification:a:/b, only absolute path is allowed"
            ],
        );
        check(
            "/a:/b:shared",
            &expect!["Failed to parse bind: /a:/b:shared, invalid permissions: shared"],
        );
        check(
            "/a:/b:ro,ro",
            &expect!["Failed to parse bind: /a:/b:ro,ro, invalid permissions: ro,ro"],
        );
        check("/a:/b:", &expect!["Failed to parse bind: /a:/b:, invalid permissions: "]);
        check(
            "/a:/x/..",
            &expect![
                "Failed to parse bind: /a:/x/.., container path /: it is the root of the container; name another one"
            ],
        );
        check(
            "/a:/proc/sys",
            &expect![
                "Failed to parse bind: /a:/proc/sys, container path /proc/sys: it belongs to the kernel; name another one"
            ],
        );
        check(
            "/a:/dev",
            &expect![
                "Failed to parse bind: /a:/dev, container path /dev: it holds the container's devices; name another one"
            ],
        );
    }

    #[test]
    fn a_removal_ignores_options() {
        let pair = (PathBuf::from("/a"), PathBuf::from("/b"));
        assert_eq!(parse_removal("/a:/b:whatever"), Ok(pair));
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(host in "/[a-z]{1,8}(/[a-z]{1,8}){0,3}",
                                              container in "/m[a-z]{1,8}", ro: bool) {
            let text = format!("{host}:{container}:{}", if ro { "ro,private" } else { "rw,rprivate" });
            let mapping = parse_addition(&text).unwrap();
            prop_assert_eq!(parse_addition(&mapping.to_string()).unwrap(), mapping);
        }

        #[test]
        fn no_argument_panics(argument in "\\PC*") {
            let _ = parse_addition(&argument);
        }
    }
}
