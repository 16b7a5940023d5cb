use expect_test::{Expect, expect};

use super::*;

fn said(status: ExitStatus, in_time: bool, text: &[u8], expected: Expect) {
    let error = verdict(status, in_time, Some(3), text).unwrap_err();
    expected.assert_eq(&error.to_string());
}

#[test]
fn a_bad_end_tells_how_and_what_was_written() {
    assert!(verdict(ExitStatus::Exited(0), true, None, b"chatter").is_ok());
    said(ExitStatus::Exited(2), true, b" no\n", expect!["exited with status 2: no"]);
    said(ExitStatus::Exited(2), true, b"", expect!["exited with status 2"]);
    let killed = ExitStatus::Killed { signal: 9, core: false };
    said(killed, true, b"", expect!["killed by SIGKILL"]);
    said(killed, false, b"slow", expect!["killed after 3 s: slow"]);
}

#[test]
fn the_state_is_that_of_the_specification_and_the_root() {
    let annotations = BTreeMap::from([("key".to_owned(), "value".to_owned())]);
    let state = HookState {
        oci_version: "1.2.0",
        id: "web",
        status: Status::Creating,
        pid: 7,
        bundle: Path::new("/b"),
        annotations: &annotations,
        root: Path::new("/r"),
    };
    expect![[r#"{"ociVersion":"1.2.0","id":"web","status":"creating","pid":7,"bundle":"/b","annotations":{"key":"value"},"root":"/r"}"#]]
        .assert_eq(std::str::from_utf8(&encode(&state).unwrap()).unwrap());
}
