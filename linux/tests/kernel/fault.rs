//! What a test asks to fail, fails. With the feature `fault-injection` only.

use std::process::{Command, Output};

use expect_test::expect;
use linux::root::Root;

crate::cases![a_named_call_fails_in_its_turn, a_process_dies_at_a_step, what_older_kernels_refuse,];

/// In a process that was told to fail, does its part; otherwise starts such a process.
fn with_fault(case: &str, fault: &str, part: impl FnOnce()) -> Option<Output> {
    if std::env::var_os("SYSC_FAULT").is_some() {
        part();
        return None;
    }
    let case = format!("kernel::fault::{case}");
    let env = [(crate::CASE, case.as_str()), ("SYSC_FAULT", fault)];
    Some(Command::new("/proc/self/exe").envs(env).output().unwrap())
}

fn a_named_call_fails_in_its_turn() {
    let output = with_fault("a_named_call_fails_in_its_turn", "mkdirat:ENOSPC:2,fsync:EIO", || {
        let root = Root::open("/mnt").unwrap();
        let error = root.mkdir_all("a/b/c", 0o755).unwrap_err().to_string();
        expect![[r#"make directory "a/b/c": no space left on device (ENOSPC)"#]].assert_eq(&error);
        root.mkdir_all("a/b/c", 0o755).unwrap();

        let error = root.write_lasting("a/file", "x", 0o600, None).unwrap_err().to_string();
        expect![[r#"write "a/file": input/output error (EIO)"#]].assert_eq(&error);
        assert_eq!(root.list("a").unwrap(), ["b"], "the temporary file is gone");
    });
    if let Some(output) = output {
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    }
}

fn a_process_dies_at_a_step() {
    let output = with_fault("a_process_dies_at_a_step", "renameat:KILL", || {
        let path = "/mnt/file";
        std::fs::write(path, "old").unwrap();
        match linux::fork(linux::CloneFlags::empty(), None).unwrap() {
            linux::Forked::Child => {
                let _ = linux::file::write_atomic(path, "new", 0o600);
                std::process::exit(0)
            }
            linux::Forked::Parent { pidfd, .. } => assert_eq!(pidfd.wait().unwrap().code(), 137),
        }
        assert_eq!(std::fs::read(path).unwrap(), b"old", "all or nothing");
    });
    if let Some(output) = output {
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    }
}

/// The texts of refusals that the kernel at hand does not give.
fn what_older_kernels_refuse() {
    let faults = "mount_setattr:ENOSYS,clone3:ENOSYS,clone3:EBUSY:2,ioctl(LOOP_CONFIGURE):EPERM,\
                  pidfd_send_signal:EPERM,setfsuid:EPERM,keyctl:EDQUOT";
    let output = with_fault("what_older_kernels_refuse", faults, || {
        let attributes = linux::mount::Attributes::read_only();
        let error = linux::mount::set_attributes(crate::tmpfs(), &attributes, true).unwrap_err();
        expect!["change a mount: +read_only: function not implemented (ENOSYS); mount_setattr needs Linux 5.12"]
            .assert_eq(&error.to_string());

        let here = std::fs::File::open("/mnt").unwrap();
        let fork = || {
            linux::fork(linux::CloneFlags::empty(), Some(std::os::fd::AsFd::as_fd(&here)))
                .unwrap_err()
                .to_string()
        };
        expect!["fork: function not implemented (ENOSYS); clone3 is blocked; allow it in the caller's seccomp filter"]
            .assert_eq(&fork());
        expect!["fork: device or resource busy (EBUSY); the cgroup takes no processes; use one without enabled controllers"]
            .assert_eq(&fork());

        let us = linux::process::PidFd::open(linux::process::Pid::current()).unwrap();
        expect!["send SIGTERM: operation not permitted (EPERM)"]
            .assert_eq(&us.signal(linux::process::Signal::TERM).unwrap_err().to_string());
        expect!["act on files as 1:1: operation not permitted (EPERM)"]
            .assert_eq(&linux::fsids::FsIds::assume(1, 1).unwrap_err().to_string());
        expect!["join a session keyring: disk quota exceeded (EDQUOT)"]
            .assert_eq(&linux::raw::keyctl::join_session_keyring(None).unwrap_err().to_string());
    });
    if let Some(output) = output {
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    }
}
