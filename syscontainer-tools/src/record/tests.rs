use std::path::Path;

use expect_test::expect;

use super::*;

/// As the predecessor writes it, with every member.
const LEGACY: &str = r#"{"bindToAdd":["/h:/c:rw,rslave"],"deviceToAdd":[{"Type":"b","Minor":16,"Major":8,"PathOnHost":"/dev/sdb","PathInContainer":"/dev/xvdb","CgroupPermissions":"rwm","Parent":""}],"readIops":[{"major":8,"minor":16,"path":"/dev/sdb","value":"100"}],"writeIops":[{"major":8,"minor":16,"path":"/dev/sdb","value":"100"}],"readBps":[{"major":8,"minor":16,"path":"/dev/sdb","value":"1024"}],"writeBps":[{"major":8,"minor":16,"path":"/dev/sdb","value":"1024"}],"blkioWeight":[{"major":8,"minor":16,"path":"/dev/sdb","value":"500"}],"networkInterfaces":[{"Ip":"192.168.3.4/24","Mac":"fa:16:3e:00:aa:0b","Mtu":1500,"Qlen":1000,"Type":"veth","Bridge":"br0","HostNicName":"h1","CtrNicName":"e1"}],"networkRoute":[{"dest":"","src":"","gw":"192.168.3.1","dev":"e1"}]}
"#;

fn bundle() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn with_bind(bind: &str) -> Record {
    Record { binds: vec![BindEntry(bind.to_owned())], ..Record::default() }
}

fn read(path: &Path) -> String {
    String::from_utf8(linux::file::read(path).unwrap()).unwrap()
}

#[test]
fn a_file_of_the_predecessor_loses_nothing() {
    let record = Record::parse(LEGACY.as_bytes()).unwrap();
    let (next, text) = record.following(&record);
    let head = r#"{"version":2,"generation":1,"#;
    assert_eq!(String::from_utf8(text).unwrap(), LEGACY.replacen('{', head, 1));
    assert_eq!(next.generation(), 1);
}

#[test]
fn member_names_may_be_in_any_case() {
    let record = Record::parse(
        br#"{"DEVICETOADD":[{"type":"c","pathonhost":"/dev/null"}],"networkroute":[{"GW":"10.0.0.1"}],"other":1}"#,
    )
    .unwrap();
    assert_eq!(record.devices[0].path_on_host, "/dev/null");
    assert_eq!(record.routes[0].gw, "10.0.0.1");
}

#[test]
fn each_change_keeps_the_generation_before_it() {
    let bundle = bundle();
    let path = bundle.path().join("device_hook.json");
    let mut file = RecordFile::open(bundle.path()).unwrap();
    assert_eq!(*file.record(), Record::default());
    file.replace(&with_bind("/a:/b:rw,rslave")).unwrap();
    assert!(!path.with_extension("json.previous").exists());
    let first = read(&path);
    let mut second = file.record().clone();
    second.binds.push(BindEntry("/c:/d:ro,rslave".to_owned()));
    file.replace(&second).unwrap();
    assert_eq!(read(&path.with_extension("json.previous")), first);
    expect![[r#"
        {"version":2,"generation":2,"bindToAdd":["/a:/b:rw,rslave","/c:/d:ro,rslave"]}
    "#]]
    .assert_eq(&read(&path));
}

#[test]
fn what_did_not_change_is_not_written() {
    let bundle = bundle();
    let mut file = RecordFile::open(bundle.path()).unwrap();
    file.replace(&Record::default()).unwrap();
    assert!(!bundle.path().join("device_hook.json").exists());
}

#[test]
fn a_torn_record_is_an_error_and_can_be_recovered() {
    let bundle = bundle();
    let path = bundle.path().join("device_hook.json");
    let mut file = RecordFile::open(bundle.path()).unwrap();
    file.replace(&with_bind("/a:/b:rw,rslave")).unwrap();
    let mut second = file.record().clone();
    second.binds.clear();
    file.replace(&second).unwrap();
    drop(file);
    linux::file::write_atomic(&path, "", 0o600).unwrap();
    let error = RecordFile::open(bundle.path()).unwrap_err().to_string();
    let error = error.replace(&*bundle.path().to_string_lossy(), "BUNDLE");
    expect!["read the record BUNDLE/device_hook.json: EOF while parsing a value at line 1 column 0; the generation before it is BUNDLE/device_hook.json.previous: put it back with isulad-tools recover"]
        .assert_eq(&error);
    assert!(RecordFile::recover(bundle.path()).unwrap());
    assert_eq!(RecordFile::open(bundle.path()).unwrap().record().binds.len(), 1);
    assert!(!RecordFile::recover(bundle.path()).unwrap());
}

#[test]
fn a_newer_version_is_not_guessed_at() {
    let error = Record::parse(br#"{"version":3}"#).unwrap_err();
    expect!["version 3 is newer than this program's 2; install the newer program"]
        .assert_eq(&error);
}

#[test]
fn a_change_is_written_down_before_it_is_done() {
    let bundle = bundle();
    let path = bundle.path().join("device_hook.json");
    let mut file = RecordFile::open(bundle.path()).unwrap();
    file.announce(&with_bind("/a:/b:rw,rslave")).unwrap();
    // A reader sees nothing of it, and whoever comes after a crash sees what was meant.
    assert_eq!(RecordFile::peek(bundle.path()).unwrap(), Record::default());
    drop(file);
    let mut file = RecordFile::open(bundle.path()).unwrap();
    assert_eq!(file.interrupted().unwrap().binds.len(), 1);
    assert!(file.record().binds.is_empty());
    file.settled().unwrap();
    drop(file);
    let mut file = RecordFile::open(bundle.path()).unwrap();
    assert!(file.interrupted().is_none());
    file.announce(&with_bind("/a:/b:rw,rslave")).unwrap();
    file.withdraw().unwrap();
    assert!(!path.exists());
    file.announce(&with_bind("/a:/b:rw,rslave")).unwrap();
    file.commit().unwrap();
    drop(file);
    let file = RecordFile::open(bundle.path()).unwrap();
    assert!(file.interrupted().is_none());
    assert_eq!(file.record().binds.len(), 1);
}

#[test]
fn an_announcement_that_was_torn_means_that_nothing_was_done() {
    let bundle = bundle();
    RecordFile::open(bundle.path()).unwrap().replace(&with_bind("/a:/b:rw,rslave")).unwrap();
    linux::file::write_atomic(bundle.path().join("device_hook.json.next"), "{\"ver", 0o600)
        .unwrap();
    let mut file = RecordFile::open(bundle.path()).unwrap();
    assert_eq!(file.interrupted(), Some(file.record()));
    file.settled().unwrap();
}
