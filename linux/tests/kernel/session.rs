use std::fs::File;
use std::os::fd::AsFd;

use linux::mount::{self, Attributes};
use linux::pty::{self, Size};
use linux::raw::keyctl::join_session_keyring;
use linux::{CloneFlags, Forked};

use crate::tell;

crate::cases![a_pty_of_its_own_devpts, a_keyring_of_its_own];

fn a_pty_of_its_own_devpts() {
    let options = [("ptmxmode", Some("0666")), ("mode", Some("0620")), ("newinstance", None)];
    let devpts = mount::new_filesystem("devpts", None, &options, &Attributes::default()).unwrap();
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
    let shown = std::process::Command::new("stty")
        .arg("size")
        .stdin(std::process::Stdio::from(terminal))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), "40 120\n");
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
