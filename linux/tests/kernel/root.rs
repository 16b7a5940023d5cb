use std::fs;

use expect_test::expect;
use linux::device::{DeviceKind, DeviceNumber};
use linux::root::Root;
use linux::{Change, Errno};
use rustix::fs::OFlags;

use crate::tell;

crate::cases![device_nodes_are_made_and_never_opened, owners_are_given, mounts_are_crossed];

const NULL: DeviceNumber = DeviceNumber { major: 1, minor: 3 };

fn device_nodes_are_made_and_never_opened() {
    let root = Root::open("/mnt").unwrap();
    fs::create_dir("/mnt/dev").unwrap();
    let make = |number| root.mknod("dev/null", DeviceKind::Char, 0o666, number);
    assert_eq!(make(NULL), Ok(Change::Made));
    assert_eq!(make(NULL), Ok(Change::AlreadyThere));
    assert_eq!(
        tell("stat", &["-c", "%F %t:%T %a", "/mnt/dev/null"]),
        "character special file 1:3 666"
    );
    let zero = DeviceNumber { major: 1, minor: 5 };
    expect![[
        r#"make node "dev/null": file exists (EEXIST); something else is there; remove it first"#
    ]]
    .assert_eq(&make(zero).unwrap_err().to_string());
    assert_eq!(
        root.mknod("loop", DeviceKind::Block, 0o660, DeviceNumber { major: 7, minor: 0 }),
        Ok(Change::Made)
    );
    assert_eq!(tell("stat", &["-c", "%F %t:%T %a", "/mnt/loop"]), "block special file 7:0 660");

    // A device that does something when it is opened would do it.
    expect![[r#"read "dev/null": invalid argument (EINVAL); it is not a regular file"#]]
        .assert_eq(&root.read_file("dev/null", 10).unwrap_err().to_string());
    assert!(root.open_file("dev/null", OFlags::RDWR).unwrap_err().is(Errno::INVAL));
    assert!(root.write_lasting("dev/null", "", 0o600, None).unwrap_err().is(Errno::INVAL));
}

fn owners_are_given() {
    let root = Root::open("/mnt").unwrap();
    root.write_lasting("file", "x", 0o4755, Some((1000, 2000))).unwrap();
    assert_eq!(tell("stat", &["-c", "%u:%g %a", "/mnt/file"]), "1000:2000 4755");
}

fn mounts_are_crossed() {
    fs::create_dir("/mnt/sub").unwrap();
    let root = Root::open("/mnt").unwrap();
    let sub = root.mkdir_all("sub", 0o755).unwrap();
    linux::mount::attach(crate::tmpfs(), &sub).unwrap();
    root.mkdir_all("sub/inner", 0o755).unwrap();
    assert_eq!(tell("findmnt", &["-rno", "TARGET", "-T", "/mnt/sub/inner"]), "/mnt/sub");
    // Out of the mount by "..", and still not out of the root.
    root.mkdir_all("sub/../../../other", 0o755).unwrap();
    assert!(fs::exists("/mnt/other").unwrap());
}
