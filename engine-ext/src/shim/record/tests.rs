use super::*;

const KILLED: ExitStatus = ExitStatus::Killed { signal: 1, core: false };

fn read(path: &Path) -> State {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn pid() -> Pid {
    Pid::new(42).unwrap()
}

#[test]
fn it_follows_a_container_through_a_reboot_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let mut record = Record::begin(path.clone(), false);
    assert!(!path.exists(), "nothing is said before something is known");
    record.running(pid(), Some(7)).unwrap();
    let state = read(&path);
    assert_eq!((state.status, state.pid, state.start_time), (Status::Running, Some(42), Some(7)));
    assert!(!state.started_at.is_empty());

    let mut counters = Counters::default();
    counters.reboots = 1;
    record.ended(Status::Restarting, KILLED, Some(Reason::Reboot), &counters).unwrap();
    let state = read(&path);
    assert_eq!((state.status, state.pid, state.exit_code), (Status::Restarting, None, 129));
    assert_eq!(state.exit, Some(Exit::Killed(1)));
    assert_eq!(state.reason.as_deref(), Some("reboot"));
    assert_eq!((state.restart_count, state.reboot_count), (0, 1));

    record.running(pid(), None).unwrap();
    record.ended(Status::Stopped, ExitStatus::Exited(3), None, &counters).unwrap();
    let state = read(&path);
    assert_eq!((state.status, state.exit_code, state.reason), (Status::Stopped, 3, None));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_failed_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let mut record = Record::begin(path.clone(), false);
    record.failed("no such program".into(), 127).unwrap();
    let state = read(&path);
    assert_eq!((state.status, state.exit_code), (Status::Stopped, 127));
    assert_eq!(state.error, "no such program");
}

#[test]
fn a_change_that_changes_nothing_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let mut record = Record::begin(path.clone(), false);
    record.change(|state| state.ready = false).unwrap();
    assert!(!path.exists());
    record.change(|state| state.ready = true).unwrap();
    assert!(read(&path).ready);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let mut record = Record::begin("/proc/nowhere/state.json".into(), false);
    let refusal = record.running(pid(), None).unwrap_err().to_string();
    expect_test::expect!["open /proc/nowhere: no such file or directory (ENOENT)"]
        .assert_eq(&refusal);
}

#[test]
fn notes_are_lines_and_stop_growing() {
    let directory = tempfile::tempdir().unwrap();
    let notes = Notes::new(directory.path());
    notes.add("first");
    notes.check(Err(linux::Error::new("do", linux::Errno::PERM)));
    let text = std::fs::read_to_string(directory.path().join("shim.log")).unwrap();
    assert!(text.lines().next().unwrap().ends_with(" first"));
    assert!(text.ends_with(" do: operation not permitted (EPERM)\n"), "{text}");
    let long = "x".repeat(1000);
    for _ in 0..100 {
        notes.add(&long);
    }
    let length = std::fs::metadata(directory.path().join("shim.log")).unwrap().len();
    assert!(length < NOTES_MAX + 2000);
}
