use rustix::pty::OpenptFlags;
use rustix::termios::LocalModes;

use super::*;

fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
    (master, peer)
}

fn echoes(terminal: &OwnedFd) -> bool {
    tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ECHO)
}

/// One test: the terminal of a process is one, and so is the place where it is remembered.
#[test]
fn a_terminal_is_given_back_however_it_ends() {
    let (_master, peer) = terminal();
    let raw = RawTerminal::enter(&peer).unwrap().unwrap();
    assert!(!echoes(&peer));
    drop(raw);
    assert!(echoes(&peer));

    let raw = RawTerminal::enter(&peer).unwrap().unwrap();
    assert!(!echoes(&peer));
    std::panic::catch_unwind(|| panic!("to be seen in the output of the test")).unwrap_err();
    assert!(echoes(&peer), "the hook has put it right before anything is dropped");
    drop(raw);
    assert!(echoes(&peer));

    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(RawTerminal::enter(&file).unwrap().is_none());
}
