use std::fs;

use expect_test::expect;
use linux::ns::{self, Kind, Namespace};
use linux::process::{Pid, PidFd};
use linux::{CloneFlags, Errno};

use crate::tell;

crate::cases![
    a_namespace_is_named_by_its_inode,
    only_a_namespace_of_the_kind_is_taken,
    a_mount_namespace_is_visited,
    a_panic_ends_the_visit,
    a_visit_ends_where_it_began,
    a_socket_belongs_to_the_visited_network,
    a_gone_process_has_none,
    refusals_say_what_to_do,
];

/// A process in namespaces of its own.
fn sleeper(flags: &str) -> (std::process::Child, PidFd) {
    let mut child = std::process::Command::new("unshare")
        .args([flags, "sh", "-c", "echo; exec sleep 60"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It has unshared when it speaks.
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
    let pidfd = PidFd::open(pid).unwrap();
    (child, pidfd)
}

fn a_namespace_is_named_by_its_inode() {
    let (mut child, pidfd) = sleeper("-un");
    for kind in Kind::ALL {
        let namespace = Namespace::of(&pidfd, kind).unwrap();
        let (_, inode) = namespace.identity().unwrap();
        let path = format!("/proc/{}/ns/{}", child.id(), kind.proc_name());
        assert_eq!(tell("stat", &["-Lc", "%i", &path]), inode.to_string());
        let shared = Namespace::current(kind).unwrap().identity() == namespace.identity();
        assert_eq!(shared, !matches!(kind, Kind::Uts | Kind::Net), "{kind:?}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn only_a_namespace_of_the_kind_is_taken() {
    let refused = |path| Namespace::open(path, Kind::Net).unwrap_err().to_string();
    expect!["use /proc/self/ns/uts as net namespace: invalid argument (EINVAL); give a file of that name below /proc/PID/ns, or a bind mount of one"]
        .assert_eq(&refused("/proc/self/ns/uts"));
    expect!["use /etc/passwd as net namespace: invalid argument (EINVAL); give a file of that name below /proc/PID/ns, or a bind mount of one"]
        .assert_eq(&refused("/etc/passwd"));
    expect!["open /nonexistent: no such file or directory (ENOENT)"]
        .assert_eq(&refused("/nonexistent"));
    assert!(tell("mkfifo", &["/mnt/fifo"]).is_empty());
    assert!(Namespace::open("/mnt/fifo", Kind::Net).unwrap_err().is(Errno::INVAL));

    fs::write("/mnt/bound", "").unwrap();
    let tree = linux::mount::clone_tree_at("/proc/self/ns/net", false).unwrap();
    linux::mount::attach(tree, fs::File::open("/mnt/bound").unwrap()).unwrap();
    assert_eq!(Namespace::open("/mnt/bound", Kind::Net).unwrap().kind(), Kind::Net);
}

fn a_mount_namespace_is_visited() {
    let (mut child, pidfd) = sleeper("-m");
    let here = Namespace::current(Kind::Mount).unwrap().identity().unwrap();
    let theirs = Namespace::of(&pidfd, Kind::Mount).unwrap();
    std::env::set_current_dir("/mnt").unwrap();
    let there = ns::in_mount_ns(&theirs, || Namespace::current(Kind::Mount)?.identity()).unwrap();
    assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new("/mnt"));
    std::env::set_current_dir("/").unwrap();
    assert_eq!(there, theirs.identity().unwrap());
    assert_eq!(Namespace::current(Kind::Mount).unwrap().identity().unwrap(), here);

    // The tree is ours, the place is theirs.
    let tree = crate::tmpfs();
    ns::in_mount_ns(&theirs, || {
        linux::mount::attach(&tree, fs::File::open("/media").expect("a directory"))
    })
    .unwrap();
    let seen = fs::read_to_string(format!("/proc/{}/mountinfo", child.id())).unwrap();
    assert!(seen.contains(" /media "), "{seen}");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" /media "));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn a_panic_ends_the_visit() {
    let (mut child, pidfd) = sleeper("-m");
    let here = Namespace::current(Kind::Mount).unwrap();
    let theirs = Namespace::of(&pidfd, Kind::Mount).unwrap();
    let result = std::panic::catch_unwind(|| {
        ns::in_mount_ns(&theirs, || -> linux::Result<()> { panic!("inside") })
    });
    assert_eq!(result.unwrap_err().downcast_ref(), Some(&"inside"));
    assert_eq!(Namespace::current(Kind::Mount).unwrap().identity(), here.identity());
    assert!(linux::fork(CloneFlags::empty(), None).is_ok_and(|forked| match forked {
        linux::Forked::Child => std::process::exit(0),
        linux::Forked::Parent { pidfd, .. } => pidfd.wait().unwrap().is_success(),
    }));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A visit from below a root of our own ends there, not at the root of our mounts.
fn a_visit_ends_where_it_began() {
    let (mut child, pidfd) = sleeper("-m");
    let theirs = Namespace::of(&pidfd, Kind::Mount).unwrap();
    fs::create_dir_all("/mnt/root/work").unwrap();
    // Where the way back is found before Linux 6.11.
    fs::create_dir_all("/mnt/root/proc").unwrap();
    let proc = linux::mount::clone_tree_at("/proc", false).unwrap();
    linux::mount::attach(proc, fs::File::open("/mnt/root/proc").unwrap()).unwrap();
    let forked = linux::fork(CloneFlags::empty(), None).unwrap();
    let linux::Forked::Parent { pidfd: visitor, .. } = forked else {
        std::os::unix::fs::chroot("/mnt/root").unwrap();
        std::env::set_current_dir("/work").unwrap();
        let went = ns::in_mount_ns(&theirs, || Ok(fs::exists("/etc/passwd").unwrap())).unwrap();
        let back = !fs::exists("/etc/passwd").unwrap() && fs::exists("../work").unwrap();
        std::process::exit(i32::from(!(went && back)));
    };
    assert!(visitor.wait().unwrap().is_success());
    child.kill().unwrap();
    child.wait().unwrap();
}

fn a_socket_belongs_to_the_visited_network() {
    let (mut child, pidfd) = sleeper("-n");
    let theirs = Namespace::of(&pidfd, Kind::Net).unwrap();
    let path = format!("/proc/{}/net/tcp", child.id());
    let before = fs::read_to_string(&path).unwrap().lines().count();
    let listener = ns::in_net_ns(&theirs, || {
        linux::Context::during(std::net::TcpListener::bind("0.0.0.0:0"), || "bind")
    })
    .unwrap();
    let after = fs::read_to_string(&path).unwrap().lines().count();
    assert_eq!(after, before + 1);
    drop(listener);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn a_gone_process_has_none() {
    let (mut child, pidfd) = sleeper("-n");
    child.kill().unwrap();
    child.wait().unwrap();
    expect!["open net namespace: no such process (ESRCH)"]
        .assert_eq(&Namespace::of(&pidfd, Kind::Net).unwrap_err().to_string());
    let error = ns::enter(&pidfd, CloneFlags::NEWNET | CloneFlags::NEWUTS).unwrap_err();
    expect!["enter namespaces uts,net: no such process (ESRCH)"].assert_eq(&error.to_string());
}

fn refusals_say_what_to_do() {
    let host = fs::File::open("/proc/self/ns/net").unwrap();
    ns::unshare(CloneFlags::NEWUSER).unwrap();
    let error = ns::enter(host, CloneFlags::NEWNET);
    expect!["enter namespaces net: operation not permitted (EPERM); run it as root"]
        .assert_eq(&error.unwrap_err().to_string());
    // The limit is of this user namespace.
    fs::write("/proc/sys/user/max_uts_namespaces", "0").unwrap();
    let error = ns::unshare(CloneFlags::NEWUTS | CloneFlags::NEWTIME).unwrap_err();
    expect!["make new namespaces uts,time: no space left on device (ENOSPC); raise the limits below /proc/sys/user"]
        .assert_eq(&error.to_string());
}
