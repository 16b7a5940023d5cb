use expect_test::expect;

use super::*;

#[test]
fn names_and_numbers() {
    for (text, number) in [
        ("15", 15),
        ("TERM", 15),
        ("sigterm", 15),
        ("SIGTERM", 15),
        ("37", 37),
        ("RTMIN+3", 37),
        ("SIGRTMIN+3", 37),
        ("sigrtmin+3", 37),
        ("RTMIN", 34),
        ("RTMAX", 64),
        ("RTMAX-1", 63),
        ("SIGRTMAX-30", 34),
        ("CLD", 17),
        ("64", 64),
    ] {
        assert_eq!(text.parse::<Signal>().map(Signal::get), Ok(number), "{text}");
    }
    for text in [
        "",
        "0",
        "65",
        "-1",
        "+9",
        "TERMINATE",
        "SIG",
        "RTMIN+31",
        "RTMIN-1",
        "RTMIN++1",
        "RTMAX+1",
        "RTMAX-31",
        "RTMAX--1",
        "99999999999",
        " TERM",
        "SIGSIGTERM",
    ] {
        assert!(text.parse::<Signal>().is_err(), "{text}");
    }
    expect![[r#"parse signal "NOPE": invalid argument (EINVAL); give a number from 1 to 64 or a name such as TERM or RTMIN+3"#]]
        .assert_eq(&"NOPE".parse::<Signal>().unwrap_err().to_string());
}

#[test]
fn printing_is_the_inverse_of_parsing() {
    for number in (1..=MAX).filter(|number| !(32..34).contains(number)) {
        let signal = Signal::new(number).unwrap();
        assert_eq!(signal.to_string().parse(), Ok(signal));
    }
    assert_eq!(Signal::new(32).unwrap().to_string(), "signal 32");
}

#[test]
fn a_blocked_signal_arrives_as_data() {
    let real_time = Signal::real_time(5).unwrap();
    let signals = SignalFd::new(&[Signal::USR1, real_time]).unwrap();
    assert_eq!(signals.read().unwrap(), []);
    // To this thread: the test harness has others, whose masks do not block it.
    let me = rustix::thread::gettid().as_raw_nonzero().get();
    let status = std::process::Command::new("python3")
        .arg("-c")
        .arg(format!(
            "import ctypes,os;l=ctypes.CDLL(None);l.syscall(234,{0},{me},{1});l.syscall(234,{0},{me},{2})",
            std::process::id(),
            Signal::USR1.get(),
            real_time.get()
        ))
        .status();
    if !status.is_ok_and(|status| status.success()) {
        unblock(&[Signal::USR1, real_time]).unwrap();
        panic!("python3 sends the signals of this test");
    }
    let received = signals.read().unwrap();
    assert_eq!(
        received.iter().map(|info| info.signal).collect::<Vec<_>>(),
        [Signal::USR1, real_time]
    );
    assert!(received.iter().all(|info| info.pid.is_some() && info.exit_status().is_none()));
    unblock(&[Signal::USR1, real_time]).unwrap();
}

#[test]
fn sigchld_says_how_the_child_ended() {
    let info = |code, status| SignalInfo { signal: Signal::CHLD, pid: None, uid: 0, code, status };
    assert_eq!(info(libc::CLD_EXITED, 3).exit_status(), Some(ExitStatus::Exited(3)));
    assert_eq!(
        info(libc::CLD_DUMPED, 11).exit_status(),
        Some(ExitStatus::Killed { signal: 11, core: true })
    );
    assert_eq!(info(libc::CLD_STOPPED, 19).exit_status(), None);
}
