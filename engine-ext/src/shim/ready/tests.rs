use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use super::*;

#[test]
fn only_a_whole_line_that_says_so_is_ready() {
    for (text, expected) in [
        ("READY=1", true),
        ("STATUS=up\nREADY=1\n", true),
        ("READY=10", false),
        ("X_READY=1", false),
        ("READY=0", false),
        ("", false),
    ] {
        assert_eq!(says_ready(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn garbage_before_it_does_not_hide_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = NotifySocket::bind(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let guest = UnixDatagram::unbound().unwrap();
    assert!(!socket.receive());
    guest.send_to(&[0xff; 9000], &path).unwrap();
    guest.send_to(b"", &path).unwrap();
    assert!(!socket.receive());
    guest.send_to(b"READY=1", &path).unwrap();
    assert!(socket.receive());
}

#[test]
fn what_a_dead_predecessor_left_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    drop(NotifySocket::bind(&path).unwrap());
    NotifySocket::bind(&path).unwrap();
}

#[test]
fn a_place_where_it_cannot_be_is_named() {
    let refusal = NotifySocket::bind(Path::new("/proc/notify")).unwrap_err().to_string();
    expect_test::expect!["listen at /proc/notify: no such file or directory (ENOENT)"]
        .assert_eq(&refusal);
}

#[test]
fn the_pipe_carries_lines_and_outlives_its_reader() {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let mut pipe = ReadyPipe::new(write);
    pipe.tell(&Ready::Started { pid: 7 });
    let mut buffer = [0; 64];
    let length = rustix::io::read(&read, &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"{\"pid\":7}\n");
    drop(read);
    pipe.tell(&Ready::Exited { exited: 1 });
    pipe.close();
    pipe.tell(&Ready::Exited { exited: 1 });
}
