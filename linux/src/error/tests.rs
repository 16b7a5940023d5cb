use expect_test::{Expect, expect};

use super::*;

fn check(error: &Error, text: Expect) {
    text.assert_eq(&error.to_string());
}

#[test]
fn text_is_call_reason_name_hint() {
    check(
        &Error::new("open /dev/fuse", Errno::NOENT).with_hint("load the module: modprobe fuse"),
        expect![
            "open /dev/fuse: no such file or directory (ENOENT); load the module: modprobe fuse"
        ],
    );
    check(
        &Error::new("read /proc/1/stat", Errno::PERM),
        expect!["read /proc/1/stat: operation not permitted (EPERM)"],
    );
    check(
        &Error::new("read /x", Errno::IO).within("start web1"),
        expect!["start web1: read /x: input/output error (EIO)"],
    );
    check(&Error::new("list /x", Errno::NOTDIR), expect!["list /x: not a directory (ENOTDIR)"]);
    check(
        &Error::new("ask /x", Errno::from_raw_os_error(121)),
        expect!["ask /x: remote I/O error (EREMOTEIO)"],
    );
    check(
        &Error::new("ask /x", Errno::from_raw_os_error(599)),
        expect!["ask /x: unknown error 599 (errno 599)"],
    );
}

#[test]
fn names_and_numbers_are_inverse() {
    for (value, text) in NAMES {
        let errno = from_name(text).unwrap();
        assert_eq!(errno.raw_os_error().unsigned_abs(), *value);
        assert_eq!(name(errno), Some(*text));
    }
    assert_eq!(from_name("ENOSUCH"), None);
}

#[test]
fn text_is_not_built_on_success() {
    let answer: rustix::io::Result<i32> = Ok(3);
    let answer = answer.during(|| -> String { unreachable!("nothing failed") });
    assert_eq!(answer, Ok(3));
}

#[test]
fn kind_is_the_standard_one() {
    let error = Error::new("open /x", Errno::NOENT);
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.is(Errno::NOENT));
}
