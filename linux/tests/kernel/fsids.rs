use expect_test::expect;
use linux::device::{DeviceKind, DeviceNumber};
use linux::fsids::FsIds;
use linux::mount::{self, Attributes};
use linux::root::Root;
use linux::{CloneFlags, Errno, Forked};

use crate::tell;

crate::cases![files_belong_to_the_assumed_ids, only_root_may, a_mapped_mount_wants_its_root];

fn files_belong_to_the_assumed_ids() {
    std::fs::create_dir("/mnt/open").unwrap();
    rustix::fs::chmod("/mnt/open", 0o777.into()).unwrap();
    std::fs::create_dir("/mnt/closed").unwrap();
    let ids = FsIds::assume(1234, 4321).unwrap();
    std::fs::write("/mnt/open/theirs", "").unwrap();
    assert!(std::fs::write("/mnt/closed/theirs", "").is_err());
    drop(ids);
    std::fs::write("/mnt/closed/ours", "").unwrap();
    assert_eq!(tell("stat", &["-c", "%u:%g", "/mnt/open/theirs"]), "1234:4321");
    assert_eq!(tell("stat", &["-c", "%u:%g", "/mnt/closed/ours"]), "0:0");
}

fn only_root_may() {
    match linux::fork(CloneFlags::empty(), None).unwrap() {
        Forked::Child => {
            rustix::thread::set_thread_gid(rustix::process::Gid::from_raw(99)).unwrap();
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(99)).unwrap();
            let text = FsIds::assume(1, 1).unwrap_err().to_string();
            expect!["act on files as 1:1: operation not permitted (EPERM)"].assert_eq(&text);
            std::process::exit(0)
        }
        Forked::Parent { pidfd, .. } => assert!(pidfd.wait().unwrap().is_success()),
    }
}

fn a_mapped_mount_wants_its_root() {
    let namespace = crate::mount::user_namespace();
    let attributes = Attributes::idmapped(std::os::fd::AsFd::as_fd(&namespace));
    let made = mount::new_filesystem("tmpfs", None, &[], &attributes).unwrap();
    mount::attach(&made, std::fs::File::open("/mnt").unwrap()).unwrap();
    let root = Root::open("/mnt").unwrap();
    let refused = root.mkdir_all("dir", 0o755).unwrap_err();
    assert!(refused.is(Errno::OVERFLOW));
    expect![[r#"make directory "dir": value too large for defined data type (EOVERFLOW); the mount maps ids and ours is not among them; act as its root"#]]
        .assert_eq(&refused.to_string());
    let null = DeviceNumber { major: 1, minor: 3 };
    let mknod = || root.mknod("null", DeviceKind::Char, 0o666, null).unwrap_err().to_string();
    expect![[r#"make node "null": value too large for defined data type (EOVERFLOW); the mount maps ids and ours is not among them; act as its root"#]]
        .assert_eq(&mknod());
    let ids = FsIds::assume(100_000, 100_000).unwrap();
    root.mkdir_all("dir/sub", 0o755).unwrap();
    expect![[r#"make node "null": operation not permitted (EPERM)"#]].assert_eq(&mknod());
    drop(ids);
    assert_eq!(tell("stat", &["-c", "%u:%g", "/mnt/dir/sub"]), "100000:100000");
}
