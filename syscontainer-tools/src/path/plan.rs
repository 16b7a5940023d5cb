//! What a path command makes of a record.

use std::path::Path;

use super::{PathMapping, look, parsed};
use crate::bounds::Bounds;
use crate::error::{Error, Result};
use crate::record::{BindEntry, Record};

/// Whether so many more would be too many: then none of them is added.
///
/// # Errors
/// They would.
pub fn check_room(record: &Record, more: usize, bounds: Bounds) -> Result<()> {
    if record.binds.len() + more > bounds.paths {
        return Err(Error::Limit("Path already reach max limit".into()));
    }
    Ok(())
}

/// What `add-path` of one mapping makes of `record`. `must_exist`: the source is there now.
///
/// # Errors
/// Its place is taken, or its source is missing.
pub fn add(record: &Record, mapping: &PathMapping, must_exist: bool) -> Result<Record> {
    for known in record.binds.iter().filter_map(|bind| parsed(bind).ok()) {
        let taken = &known.container_path;
        if *taken == mapping.container_path {
            return Err(Error::Conflict(
                "AddPath: failed to UpdateBind, err: Mount more than one host paths to a single \
                 path in container"
                    .into(),
            ));
        }
        if taken.starts_with(&mapping.container_path) {
            return Err(Error::Conflict(format!(
                "{} would hide {}, which was added before; remove that first",
                mapping.container_path.display(),
                taken.display()
            )));
        }
    }
    let mut next = record.clone();
    match look(mapping) {
        Ok(source) => next.bind_sources.push(source),
        Err(error) if must_exist => return Err(error),
        Err(_) => {}
    }
    next.binds.push(BindEntry(mapping.to_string()));
    Ok(next)
}

/// What `remove-path` of a pair makes of `record`.
///
/// # Errors
/// It is not recorded.
pub fn remove(record: &Record, host: &Path, inside: &Path) -> Result<Record> {
    let is_meant = |bind: &BindEntry| match parsed(bind) {
        Ok(known) => known.host_path == host && known.container_path == inside,
        // One that cannot be parsed can still be dropped.
        Err(_) => bind.0.starts_with(&format!("{}:{}", host.display(), inside.display())),
    };
    let mut next = record.clone();
    next.binds.retain(|bind| !is_meant(bind));
    if next.binds.len() == record.binds.len() {
        return Err(Error::Conflict(format!(
            "fail to find bind: {}:{} is not added by syscontainer-tools, can not remove it, \
             please check input parameter.",
            host.display(),
            inside.display()
        )));
    }
    let inside = inside.to_string_lossy();
    next.bind_sources.retain(|source| source.path != inside);
    Ok(next)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::parse_addition;
    use super::*;

    fn added(record: &Record, text: &str) -> Result<Record> {
        add(record, &parse_addition(text).unwrap(), true)
    }

    #[test]
    fn a_place_is_taken_once_and_a_source_may_have_several() {
        let one = added(&Record::default(), "/etc:/a/b").unwrap();
        let two = added(&one, "/etc:/c:ro").unwrap();
        assert_eq!((two.binds.len(), two.bind_sources.len()), (2, 2));
        let refused = |text| added(&two, text).unwrap_err().to_string();
        expect!["AddPath: failed to UpdateBind, err: Mount more than one host paths to a single path in container"]
            .assert_eq(&refused("/usr:/c"));
        expect!["/a would hide /a/b, which was added before; remove that first"]
            .assert_eq(&refused("/usr:/a"));
        expect![
            "find /nonexistent: no such file or directory (ENOENT); make it first, or use --create"
        ]
        .assert_eq(&refused("/nonexistent:/d"));
        let none = remove(&two, Path::new("/etc"), Path::new("/c")).unwrap();
        assert_eq!(none.bind_sources, one.bind_sources);
        let error = remove(&one, Path::new("/etc"), Path::new("/c")).unwrap_err();
        expect!["fail to find bind: /etc:/c is not added by syscontainer-tools, can not remove it, please check input parameter."]
            .assert_eq(&error.to_string());
    }

    #[test]
    fn there_is_an_end_to_it() {
        let full = (0..128).fold(Record::default(), |mut record, number| {
            record.binds.push(BindEntry(format!("/etc:/p{number}:rw,rslave")));
            record
        });
        assert!(check_room(&Record::default(), 128, Bounds::default()).is_ok());
        let error = check_room(&full, 1, Bounds::default()).unwrap_err();
        assert_eq!((error.code(), &*error.to_string()), (5, "Path already reach max limit"));
        assert!(check_room(&Record::default(), 129, Bounds::default()).is_err());
    }
}
