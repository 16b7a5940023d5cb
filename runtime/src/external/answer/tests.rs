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
        ("open executable: Permission denied", ErrorKind::PermissionDenied),
        (r#"run "/no": no such file or directory (ENOENT)"#, ErrorKind::NotFound),
        ("mount /a: no such file or directory", ErrorKind::Other),
    ] {
        assert_eq!(kind_of(text), kind, "{text}");
    }
}

#[test]
fn a_program_is_named_by_us_where_it_is_not_by_them() {
    let mut process = Process::default();
    process.set_args(Some(vec!["/etc/passwd".into()]));
    let said = |kind, text: &str| {
        naming(Error::Child { kind, text: text.into() }, &process).flatten().to_string()
    };
    expect_test::expect![[
        r#"execute "/etc/passwd": crun create: open executable: Permission denied"#
    ]]
    .assert_eq(&said(
        ErrorKind::PermissionDenied,
        "crun create: open executable: Permission denied",
    ));
    for (kind, text) in [
        (ErrorKind::PermissionDenied, r#"runc create: exec: "/etc/passwd": permission denied"#),
        (ErrorKind::Other, "crun create: mount /a: no such file or directory"),
    ] {
        assert_eq!(said(kind, text), text);
    }
}
