use linux::process::{ExitStatus, PidFd, Signal};
use linux::signal::SignalFd;
use linux::{CloneFlags, Forked};

crate::cases![sigchld_arrives_as_data, a_core_dump_is_told];

fn sigchld_arrives_as_data() {
    let signals = SignalFd::new(&[Signal::CHLD]).unwrap();
    let poll = linux::poll::Poll::new().unwrap();
    poll.add(&signals, 1, linux::poll::Interest::READ).unwrap();
    let pidfd = match linux::fork(CloneFlags::empty(), None).unwrap() {
        Forked::Child => std::process::exit(4),
        Forked::Parent { pid, pidfd } => {
            assert_eq!(poll.wait(None).unwrap()[0].token, 1);
            let received = signals.read().unwrap();
            assert_eq!((received.len(), received[0].pid), (1, Some(pid)));
            assert_eq!(received[0].exit_status(), Some(ExitStatus::Exited(4)));
            pidfd
        }
    };
    assert!(!pidfd.is_alive().unwrap(), "a zombie is not alive");
    assert_eq!(pidfd.try_wait().unwrap(), Some(ExitStatus::Exited(4)));
}

fn a_core_dump_is_told() {
    let status = match linux::fork(CloneFlags::empty(), None).unwrap() {
        Forked::Child => {
            std::env::set_current_dir("/mnt").unwrap();
            let limit = rustix::process::Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
            let _ = rustix::process::setrlimit(rustix::process::Resource::Core, limit);
            PidFd::open(linux::process::Pid::current()).unwrap().signal(Signal::ABRT).unwrap();
            std::process::exit(0)
        }
        Forked::Parent { pidfd, .. } => pidfd.wait().unwrap(),
    };
    // Whether a core is written is the host's choice (core_pattern); the signal is not.
    assert!(matches!(status, ExitStatus::Killed { signal: 6, .. }), "{status}");
}
