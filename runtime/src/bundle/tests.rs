use expect_test::expect;

use super::*;

#[test]
fn the_rootfs_is_found_from_the_bundle() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let write = |text: &str| std::fs::write(path.join("config.json"), text).unwrap();
    std::fs::create_dir(path.join("tree")).unwrap();
    write(r#"{"ociVersion": "1.0.0", "root": {"path": "tree"}, "new": 1}"#);
    let bundle = Bundle::load(&path).unwrap();
    assert_eq!((bundle.rootfs, bundle.directory), (path.join("tree"), path.clone()));
    write(r#"{"ociVersion": "1.0.0"}"#);
    expect!["config.json: root: is missing; name the root filesystem in root.path"]
        .assert_eq(&Bundle::load(&path).unwrap_err().to_string());
    write(r#"{"ociVersion": "1.0.0", "root": {"path": "/no/such/tree"}}"#);
    expect!["open rootfs /no/such/tree: no such file or directory (ENOENT)"]
        .assert_eq(&Bundle::load(&path).unwrap_err().to_string());
}
