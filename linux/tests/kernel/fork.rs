use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;

use expect_test::expect;
use linux::process::{ExitStatus, Pid, Signal};
use linux::{CloneFlags, Errno, Forked};

crate::cases![
    child_is_an_ordinary_copy,
    namespaces_are_new,
    several_threads_are_refused,
    a_thread_that_was_joined_is_no_thread,
    a_child_of_our_parent,
    born_in_a_cgroup,
    works_without_proc,
    exec_replaces_the_child,
    refusals_name_the_flags,
];

/// Runs `body` in a child and answers how that ended.
fn in_child(flags: CloneFlags, body: impl FnOnce() -> i32) -> ExitStatus {
    match linux::fork(flags, None).unwrap() {
        Forked::Child => std::process::exit(body()),
        Forked::Parent { pid, pidfd } => {
            assert_eq!(pidfd.pid().unwrap(), Some(pid));
            pidfd.wait().unwrap()
        }
    }
}

fn child_is_an_ordinary_copy() {
    let parent = Pid::current();
    let status = in_child(CloneFlags::empty(), || {
        assert_ne!(Pid::current(), parent);
        // The allocator, the clock, a lock, a thread and a process of its own.
        let text = format!("{:?}", vec![1u8; 1 << 20].len());
        let thread = std::thread::spawn(move || text.len()).join().unwrap();
        assert_eq!(thread, 7);
        assert!(std::process::Command::new("true").status().unwrap().success());
        7
    });
    assert_eq!(status, ExitStatus::Exited(7));
    let status = in_child(CloneFlags::empty(), || std::process::abort());
    assert_eq!(status.code(), 128 + Signal::ABRT.get());
}

fn namespaces_are_new() {
    let flags = CloneFlags::NEWPID
        | CloneFlags::NEWNS
        | CloneFlags::NEWNET
        | CloneFlags::NEWIPC
        | CloneFlags::NEWUTS
        | CloneFlags::NEWCGROUP
        | CloneFlags::NEWUSER;
    let link = |kind: linux::ns::Kind| {
        fs::read_link(format!("/proc/thread-self/ns/{}", kind.proc_name())).unwrap()
    };
    let before: Vec<PathBuf> = linux::ns::Kind::ALL.map(link).to_vec();
    let status = in_child(flags, || {
        assert_eq!(Pid::current().get(), 1);
        for (kind, before) in linux::ns::Kind::ALL.into_iter().zip(before) {
            assert_eq!(link(kind) != before, flags.contains(kind.clone_flag()), "{kind:?}");
        }
        0
    });
    assert!(status.is_success());
}

fn several_threads_are_refused() {
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || receive.recv().is_ok());
    expect!["fork: resource deadlock avoided (EDEADLK); the process has several threads; fork before starting any"]
        .assert_eq(&linux::fork(CloneFlags::empty(), None).unwrap_err().to_string());
    drop(send);
    thread.join().unwrap();
}

fn a_thread_that_was_joined_is_no_thread() {
    for _ in 0..200 {
        std::thread::spawn(|| ()).join().unwrap();
        assert!(in_child(CloneFlags::empty(), || 0).is_success());
    }
}

fn a_child_of_our_parent() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let parent = Pid::current();
    // The middle one leaves; its "child" is ours to wait for.
    let middle = in_child(CloneFlags::empty(), || {
        match linux::fork(CloneFlags::PARENT | CloneFlags::NEWPID, None).unwrap() {
            Forked::Child => {
                let proc = fs::read_to_string("/proc/self/stat").unwrap();
                let ppid = proc
                    .rsplit(") S ")
                    .next()
                    .and_then(|rest| rest.split(' ').next().map(str::to_owned));
                let ours = ppid.as_deref() == Some(&*parent.to_string())
                    || proc.contains(&format!(" {parent} "));
                std::process::exit(if ours { 5 } else { 6 });
            }
            Forked::Parent { pid, pidfd } => {
                assert!(pidfd.wait().unwrap_err().is(Errno::CHILD));
                rustix::io::write(&writer, &pid.get().to_ne_bytes()).unwrap();
                0
            }
        }
    });
    assert!(middle.is_success());
    let mut pid = [0; 4];
    rustix::io::read(&reader, &mut pid).unwrap();
    let pid = Pid::new(i32::from_ne_bytes(pid)).unwrap();
    let pidfd = linux::process::PidFd::open(pid).unwrap();
    assert_eq!(pidfd.wait().unwrap(), ExitStatus::Exited(5));
}

/// The v2 tree, wherever this host has it.
fn unified() -> Option<PathBuf> {
    let mounts = linux::mountinfo::of_self().unwrap();
    mounts.into_iter().find(|mount| mount.fstype == "cgroup2").map(|mount| mount.mount_point)
}

fn born_in_a_cgroup() {
    let Some(unified) = unified() else {
        crate::skip("no cgroup2 is mounted");
    };
    let cgroup = unified.join(format!("sysc-linux-{}", std::process::id()));
    fs::create_dir(&cgroup).unwrap();
    let dir = fs::File::open(&cgroup).unwrap();
    let forked = linux::fork(CloneFlags::NEWCGROUP, Some(dir.as_fd()));
    let outcome = match forked.unwrap() {
        Forked::Child => {
            let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            // Its own root, because the cgroup namespace was made after it was in there.
            std::process::exit(i32::from(!text.lines().any(|line| line == "0::/")));
        }
        Forked::Parent { pid, pidfd } => {
            let seen = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            (pidfd.wait(), seen)
        }
    };
    fs::remove_dir(&cgroup).unwrap();
    assert!(outcome.0.unwrap().is_success());
    let name = cgroup.file_name().unwrap().to_str().unwrap();
    let inside = outcome.1.lines().any(|line| line.starts_with("0::") && line.ends_with(name));
    assert!(inside || outcome.1.is_empty(), "{}", outcome.1);

    let elsewhere = fs::File::open("/mnt").unwrap();
    let refused = linux::fork(CloneFlags::empty(), Some(elsewhere.as_fd())).unwrap_err();
    expect!["fork: bad file descriptor (EBADF)"].assert_eq(&refused.to_string());
}

fn works_without_proc() {
    let status = in_child(CloneFlags::NEWNS, || {
        linux::mount::attach(crate::tmpfs(), fs::File::open("/proc").unwrap()).unwrap();
        match linux::fork(CloneFlags::empty(), None).unwrap() {
            Forked::Child => 3,
            Forked::Parent { pidfd, .. } => pidfd.wait().unwrap().code(),
        }
    });
    assert_eq!(status, ExitStatus::Exited(3));
}

fn exec_replaces_the_child() {
    let args = [c"sh".into(), c"-c".into(), c"kill -s PIPE $$; exit $FOO".into()];
    let env = [c"FOO=9".into()];
    // The runtime of this test ignores SIGPIPE; with defaults restored the shell dies of it.
    let status = in_child(CloneFlags::empty(), || {
        linux::signal::block(&[Signal::TERM, Signal::PIPE]).unwrap();
        linux::signal::restore_defaults().unwrap();
        panic!("{}", linux::exec::exec(c"/bin/sh", &args, &env));
    });
    assert_eq!(status, ExitStatus::Killed { signal: 13, core: false });
    let status = in_child(CloneFlags::empty(), || {
        let program = fs::File::open("/bin/sh").unwrap();
        panic!("{}", linux::exec::exec_fd(program.as_fd(), &args, &env));
    });
    assert_eq!(status, ExitStatus::Exited(9));
    expect!["exec /nonexistent: no such file or directory (ENOENT)"]
        .assert_eq(&linux::exec::exec(c"/nonexistent", &args, &env).to_string());
    let passwd = fs::File::open("/etc/passwd").unwrap();
    expect!["exec sh: permission denied (EACCES)"]
        .assert_eq(&linux::exec::exec_fd(passwd.as_fd(), &args, &env).to_string());
}

fn refusals_name_the_flags() {
    // User namespaces are at most 32 deep (user_namespaces(7)).
    fn deeper(depth: u32) -> String {
        match linux::fork(CloneFlags::NEWUSER | CloneFlags::NEWNS, None) {
            Err(error) => error.to_string(),
            Ok(Forked::Child) => {
                // Who has no ids there cannot make another one.
                fs::write("/proc/self/setgroups", "deny").unwrap();
                fs::write("/proc/self/uid_map", "0 0 1").unwrap();
                fs::write("/proc/self/gid_map", "0 0 1").unwrap();
                let text = if depth < 40 { deeper(depth + 1) } else { "no limit".into() };
                fs::write("/mnt/text", &text).unwrap();
                std::process::exit(0)
            }
            Ok(Forked::Parent { pidfd, .. }) => {
                assert!(pidfd.wait().unwrap().is_success());
                fs::read_to_string("/mnt/text").unwrap()
            }
        }
    }
    expect!["fork with NEWNS with NEWUSER: no space left on device (ENOSPC); raise the limits below /proc/sys/user"]
        .assert_eq(&deeper(0));
}
