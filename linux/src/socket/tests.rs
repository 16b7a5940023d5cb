use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use expect_test::expect;

use super::*;

#[test]
fn a_long_path_listens_and_connects() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    for (name, kind) in [("stream", Kind::Stream), ("packets", Kind::SeqPacket)] {
        let path = deep.join(name);
        let listener = listen(&path, kind).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

        let client = connect(&path, kind).unwrap();
        let server = accept(&listener).unwrap();
        rustix::io::write(&client, b"hello").unwrap();
        let mut text = [0; 16];
        assert_eq!(rustix::io::read(&server, &mut text).unwrap(), 5);
        let peer = peer_credentials(&server).unwrap();
        assert_eq!(peer.pid, Some(Pid::current()));
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    }
}

#[test]
fn a_datagram_socket_receives() {
    let dir = tempfile::tempdir().unwrap();
    let socket = listen(dir.path().join("notify"), Kind::Datagram).unwrap();
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender.send_to(b"READY=1", dir.path().join("notify")).unwrap();
    let mut text = [0; 16];
    assert_eq!(recv_fds(&socket, &mut text, 0).unwrap().0, 7);
}

#[test]
fn descriptors_travel() {
    let (left, right) = pair(Kind::SeqPacket).unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    assert_eq!(send_fds(&left, b"console", &[writer.as_fd(), reader.as_fd()]).unwrap(), 7);
    drop(writer);
    let mut text = [0; 16];
    let (count, fds) = recv_fds(&right, &mut text, 2).unwrap();
    assert_eq!((&text[..count], fds.len()), (&b"console"[..], 2));
    rustix::io::write(&fds[0], b"x").unwrap();
    assert_eq!(rustix::io::read(&reader, &mut [0; 4]).unwrap(), 1);

    drop(left);
    assert_eq!(recv_fds(&right, &mut text, 2).unwrap().0, 0, "the end");
}

#[test]
fn too_many_descriptors_or_too_long_a_message_is_refused() {
    let (left, right) = pair(Kind::SeqPacket).unwrap();
    let fds = [left.as_fd(); 3];
    for max in [0, 1, 2] {
        send_fds(&left, b"x", &fds).unwrap();
        let error = recv_fds(&right, &mut [0; 4], max).unwrap_err();
        assert!(error.is(Errno::MSGSIZE), "{max}: {error}");
    }
    send_fds(&left, b"12345", &[]).unwrap();
    expect!["receive descriptors: message too long (EMSGSIZE)"]
        .assert_eq(&recv_fds(&right, &mut [0; 4], 0).unwrap_err().to_string());
    assert!(send_fds(&left, b"", &[]).unwrap_err().is(Errno::INVAL));
}

#[test]
fn texts_name_the_path() {
    expect!["connect to /nonexistent/s: no such file or directory (ENOENT)"]
        .assert_eq(&connect("/nonexistent/s", Kind::Stream).unwrap_err().to_string());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let _first = listen(&path, Kind::Stream).unwrap();
    let text = listen(&path, Kind::Stream).unwrap_err().to_string();
    expect!["listen at DIR/s: address already in use (EADDRINUSE); something is at this path; remove it first"]
        .assert_eq(&text.replace(dir.path().to_str().unwrap(), "DIR"));
}
