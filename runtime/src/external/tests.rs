use super::*;

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
