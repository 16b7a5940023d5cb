use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use expect_test::expect;
use linux::mount::{self, Attributes};
use linux::pty::{self, RawMode, Size};
use linux::raw::keyctl::join_session_keyring;
use linux::{CloneFlags, Forked};

use crate::tell;

crate::cases![
    bytes_pass_and_size_is_shared,
    raw_mode_ends_with_its_guard,
    a_pty_of_its_own_devpts,
    ptys_are_refused_with_a_reason,
    a_keyring_of_its_own
];

fn devpts(options: &[(&str, Option<&str>)]) -> OwnedFd {
    mount::new_filesystem("devpts", None, options, &Attributes::default()).unwrap()
}

fn bytes_pass_and_size_is_shared() {
    let pty = pty::open_in(devpts(&[]).as_fd()).unwrap();
    pty::set_size(&pty.master, Size { rows: 10, columns: 33 }).unwrap();
    assert_eq!(pty::size(&pty.peer).unwrap(), Size { rows: 10, columns: 33 });
    rustix::io::write(&pty.peer, b"hi\n").unwrap();
    let mut text = [0; 8];
    assert_eq!(rustix::io::read(&pty.master, &mut text).unwrap(), 4);
    assert_eq!(&text[..4], b"hi\r\n");
}

fn raw_mode_ends_with_its_guard() {
    let pty = pty::open_in(devpts(&[]).as_fd()).unwrap();
    let is_raw = || {
        let shown = Command::new("stty").arg("-a").stdin(pty.peer.try_clone().unwrap()).output();
        String::from_utf8(shown.unwrap().stdout).unwrap().contains("-icanon")
    };
    assert!(!is_raw());
    let raw = RawMode::enter(&pty.peer).unwrap();
    assert!(is_raw());
    drop(raw);
    assert!(!is_raw());
}

fn a_pty_of_its_own_devpts() {
    let options = [("ptmxmode", Some("0666")), ("mode", Some("0620")), ("newinstance", None)];
    let devpts = devpts(&options);
    // Detached: nobody has a path to it, and it works.
    let pty = pty::open_in(devpts.as_fd()).unwrap();
    let second = pty::open_in(devpts.as_fd()).unwrap();
    mount::attach(&devpts, File::open("/mnt").unwrap()).unwrap();
    assert_eq!(tell("ls", &["/mnt"]), "0\n1\nptmx");
    drop(second);
    pty::set_size(&pty.master, Size { rows: 40, columns: 120 }).unwrap();
    let terminal = pty.peer;
    match linux::fork(CloneFlags::empty(), None).unwrap() {
        Forked::Child => {
            rustix::process::setsid().unwrap();
            pty::make_controlling(&terminal).unwrap();
            rustix::stdio::dup2_stdin(&terminal).unwrap();
            assert_eq!(tell("stty", &["size"]), "");
            std::process::exit(0)
        }
        Forked::Parent { pidfd, .. } => drop(pidfd.wait().unwrap()),
    }
    let shown = Command::new("stty").arg("size").stdin(Stdio::from(terminal)).output().unwrap();
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), "40 120\n");
}

fn ptys_are_refused_with_a_reason() {
    let options = [("ptmxmode", Some("0")), ("max", Some("1"))];
    let devpts = devpts(&options);
    let _only = pty::open_in(devpts.as_fd()).unwrap();
    let refused = || pty::open_in(devpts.as_fd()).unwrap_err().to_string();
    expect!["open ptmx: no space left on device (ENOSPC); raise max= of the devpts mount or /proc/sys/kernel/pty/max"]
        .assert_eq(&refused());
    let _somebody = linux::fsids::FsIds::assume(1000, 1000).unwrap();
    expect!["open ptmx: permission denied (EACCES); mount devpts with ptmxmode=0666"]
        .assert_eq(&refused());
}

fn a_keyring_of_its_own() {
    let serial = join_session_keyring(Some(c"sysc-test")).unwrap();
    let keys = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    let ours = keys
        .lines()
        .any(|line| line.starts_with(&format!("{serial:08x}")) && line.contains("sysc-test"));
    assert!(ours || keys.is_empty(), "{keys}");
    assert_ne!(join_session_keyring(None).unwrap(), serial);
}
