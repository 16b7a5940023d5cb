use super::*;

#[test]
fn the_last_error_of_a_log_is_told() {
    let log = r#"{"level":"warning","msg":"a","time":"t"}
{"level":"error","msg":"first","time":"t"}
{"level":"error","msg":"runc create failed","time":"t"}
{"level":"debug","msg":"b","time":"t"}
no json"#;
    assert_eq!(last_error(log).as_deref(), Some("runc create failed"));
    assert_eq!(last_error(""), None);
}

#[test]
fn programs_that_cannot_be_executed_are_told_from_the_rest() {
    for (text, kind) in [
        (r#"exec: "/no": stat /no: no such file or directory: unknown"#, ErrorKind::NotFound),
        (r#"exec: "no": executable file not found in $PATH"#, ErrorKind::NotFound),
        ("executable file `no` not found in $PATH: No such file or directory", ErrorKind::NotFound),
        (r#"exec: "/etc/passwd": permission denied"#, ErrorKind::PermissionDenied),
        (r#"run "/no": no such file or directory (ENOENT)"#, ErrorKind::NotFound),
        ("mount /a: no such file or directory", ErrorKind::Other),
    ] {
        assert_eq!(kind_of(text), kind, "{text}");
    }
}

#[test]
fn a_runtime_that_is_not_there_is_named() {
    let root = tempfile::tempdir().unwrap();
    let foreign = Foreign { name: "x".into(), program: "/no/such/runtime".into(), args: vec![] };
    let runtime = Runtime::new(root.path());
    let driver = Driver::new(&foreign, &runtime, "web").unwrap();
    driver.make_directory().unwrap();
    expect_test::expect!["run /no/such/runtime: no such file or directory (ENOENT)"]
        .assert_eq(&driver.start().unwrap_err().flatten());
}

#[test]
fn one_that_says_nothing_is_quoted_by_its_end() {
    let root = tempfile::tempdir().unwrap();
    let foreign = Foreign { name: "mute".into(), program: "/bin/false".into(), args: vec![] };
    let runtime = Runtime::new(root.path());
    let driver = Driver::new(&foreign, &runtime, "web").unwrap();
    assert!(matches!(driver.delete(false), Err(Error::NotFound { .. })));
    driver.delete(true).unwrap();
    driver.make_directory().unwrap();
    assert!(matches!(driver.make_directory(), Err(Error::Exists { .. })));
    expect_test::expect!["mute start: it ended with exit status: 1 and did not say why"]
        .assert_eq(&driver.start().unwrap_err().flatten());
}
