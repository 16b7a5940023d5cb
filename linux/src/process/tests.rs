use std::process::Command;

use expect_test::expect;

use super::*;

fn spawn(script: &str) -> (std::process::Child, PidFd) {
    let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
    let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
    (child, PidFd::open(pid).unwrap())
}

#[test]
fn pid_is_positive() {
    assert_eq!(Pid::new(0), None);
    assert_eq!(Pid::new(-1), None);
    assert_eq!("12".parse::<Pid>().unwrap().get(), 12);
    expect![[r#"parse pid "-3": invalid argument (EINVAL)"#]]
        .assert_eq(&"-3".parse::<Pid>().unwrap_err().to_string());
}

#[test]
fn start_time_is_after_the_last_parenthesis() {
    let stat = b"7 (a) b) c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
    assert_eq!(parse_start_time(stat), Some(98765));
    assert_eq!(parse_start_time(b"7 (a"), None);
    assert_eq!(parse_start_time(b"7 (a) S 1 2"), None);
}

#[test]
fn exit_status_of_a_child() {
    let (_child, pidfd) = spawn("exit 3");
    let status = pidfd.wait().unwrap();
    assert_eq!((status, status.code()), (ExitStatus::Exited(3), 3));
    assert_eq!(status.to_string(), "exited with status 3");
    assert!(!pidfd.is_alive().unwrap());
    assert_eq!(pidfd.pid().unwrap(), None);
    expect!["wait for a child: no child processes (ECHILD)"]
        .assert_eq(&pidfd.wait().unwrap_err().to_string());
    expect!["send SIGTERM: no such process (ESRCH)"]
        .assert_eq(&pidfd.signal(Signal::TERM).unwrap_err().to_string());
}

#[test]
fn signals_real_time_ones_too() {
    let (child, pidfd) = spawn("exec sleep 60");
    assert!(pidfd.is_alive().unwrap());
    assert_eq!(pidfd.pid().unwrap().unwrap().get(), i32::try_from(child.id()).unwrap());
    assert_eq!(pidfd.try_wait().unwrap(), None);
    assert!(!pidfd.exits_within(Some(Duration::from_millis(1))).unwrap());
    pidfd.signal("RTMIN+3".parse().unwrap()).unwrap();
    assert!(pidfd.exits_within(Some(Duration::from_secs(10))).unwrap());
    let status = pidfd.wait().unwrap();
    assert_eq!((status, status.code()), (ExitStatus::Killed { signal: 37, core: false }, 165));
    assert_eq!(status.to_string(), "killed by SIGRTMIN+3");
}

#[test]
fn a_pid_counts_only_with_its_start_time() {
    let (_child, pidfd) = spawn("exec sleep 60");
    let pid = pidfd.pid().unwrap().unwrap();
    let began = start_time(pid).unwrap();
    assert!(PidFd::open_checked(pid, began).unwrap().is_some());
    assert!(PidFd::open_checked(pid, began + 1).unwrap().is_none());
    pidfd.signal(Signal::KILL).unwrap();
    pidfd.wait().unwrap();
    assert!(PidFd::open_checked(pid, began).unwrap().is_none());
    expect!["open pidfd of 2147483647: no such process (ESRCH)"]
        .assert_eq(&PidFd::open(Pid::new(i32::MAX).unwrap()).unwrap_err().to_string());
}

#[test]
fn children_and_namespaces_are_read_from_proc() {
    let (child, pidfd) = spawn("exec sleep 60");
    let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
    assert!(children(Pid::current()).unwrap().contains(&pid));
    assert!(namespace_link(pid, ns::Kind::Mount).unwrap().starts_with("mnt:["));
    pidfd.signal(Signal::KILL).unwrap();
    pidfd.wait().unwrap();
}
