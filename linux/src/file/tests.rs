use std::os::unix::fs::{MetadataExt, PermissionsExt};

use expect_test::expect;

use super::*;

#[test]
fn write_atomic_replaces_text_and_mode_and_leaves_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record.json");
    write_atomic(&path, "one", 0o600).unwrap();
    let before = std::fs::metadata(&path).unwrap();
    write_atomic(&path, "two", 0o644).unwrap();
    let after = std::fs::metadata(&path).unwrap();

    assert_eq!(read_to_string(&path).unwrap(), "two");
    assert_eq!(after.permissions().mode() & 0o7777, 0o644);
    assert_ne!(before.ino(), after.ino(), "a reader of the old file keeps the old text");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn write_atomic_leaves_a_directory_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record.json");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("inside"), "").unwrap();
    let error = write_atomic(&path, "two", 0o644).unwrap_err();
    assert!(error.is(Errno::ISDIR), "{error}");
    assert!(path.join("inside").exists());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn write_neither_creates_nor_truncates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("value");
    assert!(write(&path, "1").unwrap_err().is(Errno::NOENT));
    std::fs::write(&path, "long text").unwrap();
    write(&path, "LONG").unwrap();
    assert_eq!(read(&path).unwrap(), b"LONG text");
}

#[test]
fn append_creates_with_mode_and_adds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, "a\n", 0o640).unwrap();
    append(&path, "b\n", 0o640).unwrap();
    assert_eq!(read_to_string(&path).unwrap(), "a\nb\n");
}

#[test]
fn names_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("value"), "12").unwrap();
    let fd = std::fs::File::open(dir.path()).unwrap();
    write_at(&fd, "value", "34").unwrap();
    assert_eq!(read_at(&fd, "value").unwrap(), b"34");
}

#[test]
fn texts_name_path_and_value() {
    expect!["read /nonexistent/x: no such file or directory (ENOENT)"]
        .assert_eq(&read("/nonexistent/x").unwrap_err().to_string());
    expect![[r#"write "b 8:16 rwm" to /nonexistent/x: no such file or directory (ENOENT)"#]]
        .assert_eq(&write("/nonexistent/x", "b 8:16 rwm\n").unwrap_err().to_string());
    let long = "x".repeat(100);
    let text = write("/nonexistent/x", &long).unwrap_err().to_string();
    assert!(text.contains("\"... to /nonexistent/x"), "{text}");
    expect!["open /nonexistent: no such file or directory (ENOENT)"]
        .assert_eq(&write_atomic("/nonexistent/x", "", 0o600).unwrap_err().to_string());
    expect!["write /: invalid argument (EINVAL)"]
        .assert_eq(&write_atomic("/", "", 0o600).unwrap_err().to_string());
}

#[test]
fn text_must_be_utf8_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("value");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(read_to_string(&path).unwrap_err().is(Errno::ILSEQ));
    let file = OwnedFd::from(std::fs::File::open(&path).unwrap());
    assert_eq!(read_all(&file, 1), Err(Errno::FBIG));
}
