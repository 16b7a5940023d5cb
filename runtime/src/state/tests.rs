use expect_test::expect;

use super::*;

fn saved() -> Saved {
    Saved {
        adapted: false,
        version: VERSION,
        oci_version: "1.2.0".into(),
        id: "web".into(),
        pid: Some(7),
        start_time: Some(8),
        bundle: "/b".into(),
        rootfs: "/b/rootfs".into(),
        cgroup: "isulad/web".into(),
        scope: None,
        created: "2026-01-02T03:04:05Z".into(),
        annotations: BTreeMap::new(),
        poststart: Vec::new(),
        poststop: Vec::new(),
    }
}

#[test]
fn the_file_keeps_its_form() {
    let text = serde_json::to_string(&saved()).unwrap();
    expect![[r#"{"version":1,"ociVersion":"1.2.0","id":"web","pid":7,"startTime":8,"bundle":"/b","rootfs":"/b/rootfs","cgroup":"isulad/web","created":"2026-01-02T03:04:05Z"}"#]]
        .assert_eq(&text);
    assert_eq!(serde_json::from_str::<Saved>(&text).unwrap(), saved());
}

#[test]
fn the_answer_has_no_pid_once_it_has_stopped() {
    assert_eq!(saved().state(Status::Running).pid, 7);
    expect![[r#"{"ociVersion":"1.2.0","id":"web","status":"stopped","pid":0,"bundle":"/b","rootfs":"/b/rootfs","created":"2026-01-02T03:04:05Z"}"#]]
        .assert_eq(&serde_json::to_string(&saved().state(Status::Stopped)).unwrap());
}

#[test]
fn a_file_of_another_version_or_none_is_named() {
    let root = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(root.path());
    let directory = root.path().join("web");
    std::fs::create_dir(&directory).unwrap();
    assert!(matches!(runtime.load("web"), Err(Error::NotFound { .. })));
    let write = |text: &str| std::fs::write(directory.join(FILE), text).unwrap();
    write(&serde_json::to_string(&Saved { version: 2, ..saved() }).unwrap());
    let text = runtime.load("web").unwrap_err().to_string();
    assert!(text.ends_with("it is of version 2, this runtime knows 1"), "{text}");
    write("{");
    assert!(matches!(runtime.load("web"), Err(Error::File { .. })));
}
