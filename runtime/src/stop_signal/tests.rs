use super::*;

fn init(program: &str, comm: &str, handled: u64) -> Init {
    Init { program: program.into(), comm: comm.into(), handled, is_pid_1: true }
}

#[track_caller]
fn check(program: &str, comm: &str, handled: u64, expected: i32) {
    assert_eq!(init(program, comm, handled).stop_signal().get(), expected);
}

const BIT_37: u64 = 1 << 36;

#[test]
fn each_init_gets_its_own_signal() {
    check("systemd", "systemd", BIT_37, 37);
    check("systemd", "init", 0, 37);
    check("my-systemd-wrapper", "x", BIT_37, 37);
    check("busybox", "init", 0, 12);
    check("busybox", "sh", 0, 15);
    check("init", "init", 0, 30);
    check("sleep", "sleep", 0, 15);
    check("", "", 0, 15);
}

#[test]
fn caught_and_blocked_signals_are_both_handled() {
    let status = "Name:\tx\nSigQ:\t0/1\nSigBlk:\t0000001000000000\nSigIgn:\t00000000ffffffff\n\
                  SigCgt:\t0000000000004001\n";
    assert_eq!(handled(status), BIT_37 | 1 << 14 | 1);
    let init = init("x", "x", handled(status));
    assert!(init.handles(Signal::TERM));
    assert!(!init.handles(Signal::USR2));
}

#[test]
fn only_pid_1_is_deaf_to_what_it_does_not_handle() {
    assert!(is_pid_1("Pid:\t77\nNSpid:\t77\t1\n"));
    assert!(!is_pid_1("Pid:\t77\nNSpid:\t77\n"));
    let deaf = init("sleep", "sleep", 0);
    assert!(!deaf.handles(Signal::TERM) && deaf.handles(Signal::KILL));
    let ordinary = Init { is_pid_1: false, ..deaf };
    assert!(ordinary.handles(Signal::TERM));
    assert_eq!(ordinary.stop_signal(), Signal::TERM);
}

#[test]
fn a_process_that_is_gone_is_answered_with_sigterm() {
    let nobody = Pid::new(i32::MAX).unwrap();
    assert_eq!(Init::of(nobody).stop_signal(), Signal::TERM);
}
