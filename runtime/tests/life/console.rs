//! Terminals.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use expect_test::expect;
use linux::process::ExitStatus;
use runtime::{Console, CreateRequest, Created};
use serde_json::json;

use crate::world::{Bundle, World};

crate::cases!(
    a_terminal_of_the_containers_own,
    a_terminal_for_another_user,
    a_terminal_is_sent_to_a_socket,
    a_terminal_needs_devpts,
    a_console_socket_needs_a_terminal,
);

const SHOW: &str = "stty size; tty; readlink /proc/self/fd/0; stat -c '%t %u' /dev/console; \
    ls -1 /dev/pts; sh -c 'echo ok > /dev/tty'";

fn with_terminal(id: &str, script: &str) -> Bundle {
    let mut bundle = Bundle::script(id, script);
    std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin/stty")).unwrap();
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.spec["process"]["consoleSize"] = json!({ "height": 24, "width": 99 });
    bundle
}

fn create(world: &World, bundle: &Bundle, console: Console<'_>) -> Created {
    bundle.write();
    let mut request = CreateRequest::new(&bundle.id, &bundle.directory);
    request.console = console;
    world.runtime.create(request).unwrap_or_else(|error| panic!("{}", error.flatten()))
}

/// What comes out of the master until the last process has closed the other end (EIO).
fn read(master: OwnedFd) -> String {
    let mut text = Vec::new();
    let _ = File::from(master).read_to_end(&mut text);
    String::from_utf8(text).unwrap().replace("\r\n", "\n")
}

fn run(bundle: &Bundle) -> String {
    let world = World::new();
    let created = create(&world, bundle, Console::Return);
    world.runtime.start(&bundle.id).unwrap_or_else(|error| panic!("{}", error.flatten()));
    let text = read(created.console.unwrap());
    assert_eq!(created.pidfd.wait().unwrap(), ExitStatus::Exited(0), "{text}");
    world.runtime.delete(&bundle.id, false).unwrap();
    text
}

fn a_terminal_of_the_containers_own() {
    let mut bundle = with_terminal("plain", SHOW);
    let expected = expect![[r#"
        24 99
        /dev/pts/0
        /dev/pts/0
        88 0
        0
        ptmx
        ok
    "#]];
    expected.assert_eq(&run(&bundle));
    bundle.id = "user".into();
    bundle.user_namespace();
    expected.assert_eq(&run(&bundle));
}

fn a_terminal_for_another_user() {
    let mut bundle =
        with_terminal("web", "stat -c '%u' /dev/pts/0 /dev/console; echo hi > /dev/console");
    bundle.spec["process"]["user"] = json!({ "uid": 7, "gid": 7 });
    assert_eq!(run(&bundle), "7\n7\nhi\n");
}

fn a_terminal_is_sent_to_a_socket() {
    let world = World::new();
    let bundle = with_terminal("web", "echo hello");
    // Longer than an address has room for.
    let directory = Path::new("/mnt").join("d".repeat(120));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("console.sock");
    let listener = linux::socket::listen(&path, linux::socket::Kind::Stream).unwrap();
    let created = create(&world, &bundle, Console::Socket(&path));
    assert!(created.console.is_none());
    let connection = linux::socket::accept(&listener).unwrap();
    let mut name = [0; 64];
    let (length, mut fds) = linux::socket::recv_fds(connection.as_fd(), &mut name, 1).unwrap();
    assert_eq!(&name[..length], b"/dev/console");
    world.runtime.start("web").unwrap();
    assert_eq!(read(fds.pop().unwrap()), "hello\n");
    created.pidfd.wait().unwrap();
    world.runtime.delete("web", false).unwrap();
}

fn a_terminal_needs_devpts() {
    let world = World::new();
    let mut bundle = with_terminal("web", "true");
    bundle.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "devpts");
    expect!["make the terminal: find \"dev/pts\": no such file or directory (ENOENT); a terminal needs a devpts mount at /dev/pts"]
        .assert_eq(&world.refuses(&bundle));
}

fn a_console_socket_needs_a_terminal() {
    let world = World::new();
    let bundle = Bundle::script("web", "true");
    bundle.write();
    let mut request = CreateRequest::new("web", &bundle.directory);
    request.console = Console::Socket(Path::new("/mnt/console.sock"));
    let error = world.runtime.create(request).unwrap_err();
    expect!["console socket /mnt/console.sock: the process has no terminal; set process.terminal, or leave it out"]
        .assert_eq(&error.flatten());
    world.assert_nothing_left(&bundle);
}
