use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};

use expect_test::expect;
use linux::mount::{self, Atime, Attributes, Flags, Propagation};
use linux::ns::Kind;
use linux::{CloneFlags, Errno, Forked};

use crate::{tell, tmpfs};

crate::cases![
    attributes_show_in_findmnt,
    detached_is_invisible_and_dies_with_its_descriptor,
    recursive_clone_and_recursive_read_only,
    idmapped_tree_shifts_owners,
    overlay_by_options,
    refusals_say_what_the_kernel_said,
    propagation_is_set_and_shown,
    pivot_leaves_nothing_of_the_old_root,
    pivot_does_not_reach_the_peers_of_the_old_root,
    move_over_root_changes_root,
    detach_by_descriptor,
    a_single_file_is_mounted,
    hierarchies_are_found_as_mountinfo_has_them,
];

fn dir(path: &str) -> File {
    fs::create_dir_all(path).unwrap();
    File::open(path).unwrap()
}

fn attributes_show_in_findmnt() {
    let attributes = Attributes {
        set: Flags::READ_ONLY | Flags::NOSUID | Flags::NODEV | Flags::NOEXEC,
        atime: Some(Atime::Never),
        propagation: Some(Propagation::Private),
        ..Attributes::default()
    };
    let options = [("size", Some("64k")), ("mode", Some("0711"))];
    let made = mount::new_filesystem("tmpfs", Some("shm"), &options, &attributes).unwrap();
    mount::attach(&made, dir("/mnt/a")).unwrap();
    let shown = tell("findmnt", &["-rno", "SOURCE,FSTYPE,VFS-OPTIONS,FS-OPTIONS", "/mnt/a"]);
    // The last is some kernels' own (CONFIG_TMPFS_INODE64).
    expect!["shm tmpfs ro,nosuid,nodev,noexec,noatime rw,size=64k,mode=711"]
        .assert_eq(shown.trim_end_matches(",inode64"));

    let change = Attributes {
        set: Flags::NODIRATIME | Flags::NOSYMFOLLOW,
        clear: Flags::READ_ONLY | Flags::NOSUID | Flags::NODEV | Flags::NOEXEC,
        atime: Some(Atime::Strict),
        ..Attributes::default()
    };
    mount::set_attributes(&made, &change, false).unwrap();
    let info = linux::mountinfo::of_self().unwrap();
    let info = info.iter().find(|info| info.mount_point.as_os_str() == "/mnt/a").unwrap();
    expect!["rw,nodiratime,nosymfollow"].assert_eq(&info.options);
    mount::set_attributes(
        &made,
        &Attributes { atime: Some(Atime::Relative), ..Attributes::default() },
        false,
    )
    .unwrap();
    let shown = tell("findmnt", &["-rno", "VFS-OPTIONS", "/mnt/a"]);
    assert!(shown.contains("relatime"), "{shown}");
}

fn detached_is_invisible_and_dies_with_its_descriptor() {
    let before = tell("findmnt", &["-rn"]);
    let made = tmpfs();
    let copy = mount::clone_tree_at("/proc", false).unwrap();
    assert_eq!(tell("findmnt", &["-rn"]), before);
    assert_eq!(mount::fstype(&copy).unwrap(), 0x9fa0, "PROC_SUPER_MAGIC");
    drop((made, copy));
    assert_eq!(tell("findmnt", &["-rn"]), before);
}

fn recursive_clone_and_recursive_read_only() {
    mount::attach(tmpfs(), dir("/mnt/a")).unwrap();
    mount::attach(tmpfs(), dir("/mnt/a/b")).unwrap();
    fs::write("/mnt/a/b/file", "").unwrap();

    let flat = mount::clone_tree(dir("/mnt/a"), false).unwrap();
    mount::attach(&flat, dir("/mnt/flat")).unwrap();
    assert!(!fs::exists("/mnt/flat/b/file").unwrap());

    let deep = mount::clone_tree(dir("/mnt/a"), true).unwrap();
    mount::set_attributes(&deep, &Attributes::read_only(), true).unwrap();
    mount::attach(&deep, dir("/mnt/deep")).unwrap();
    let refused = fs::write("/mnt/deep/b/file", "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    fs::write("/mnt/a/b/file", "x").unwrap();
}

/// A user namespace that maps 0 to 100000, held by a process that waits for its end.
pub(crate) fn user_namespace() -> OwnedFd {
    if linux::kernel::version() < (6, 3) {
        crate::skip("tmpfs takes no id mapping before Linux 6.3");
    }
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    match linux::fork(CloneFlags::NEWUSER, None).unwrap() {
        Forked::Child => {
            drop(writer);
            let _ = rustix::io::read(&reader, &mut [0; 1]);
            std::process::exit(0);
        }
        Forked::Parent { pid, pidfd } => {
            fs::write(format!("/proc/{pid}/uid_map"), "0 100000 65536").unwrap();
            fs::write(format!("/proc/{pid}/gid_map"), "0 100000 65536").unwrap();
            let namespace = linux::ns::Namespace::of(&pidfd, Kind::User).unwrap();
            let fd = namespace.as_fd().try_clone_to_owned().unwrap();
            drop(writer);
            assert!(pidfd.wait().unwrap().is_success());
            fd
        }
    }
}

fn idmapped_tree_shifts_owners() {
    let namespace = user_namespace();
    mount::attach(tmpfs(), dir("/mnt/disk")).unwrap();
    fs::write("/mnt/disk/file", "").unwrap();
    let tree = mount::clone_tree_at("/mnt/disk", false).unwrap();
    mount::set_attributes(&tree, &Attributes::idmapped(namespace.as_fd()), false).unwrap();
    mount::attach(&tree, dir("/mnt/mapped")).unwrap();
    assert_eq!(tell("stat", &["-c", "%u:%g", "/mnt/mapped/file"]), "100000:100000");
    assert_eq!(tell("stat", &["-c", "%u:%g", "/mnt/disk/file"]), "0:0");

    let again = mount::set_attributes(&tree, &Attributes::idmapped(namespace.as_fd()), false);
    assert!(again.is_err(), "an attached mount keeps its mapping");
    let proc = mount::clone_tree_at("/proc", false).unwrap();
    let refused = mount::set_attributes(&proc, &Attributes::idmapped(namespace.as_fd()), false);
    expect!["change a mount: idmap: invalid argument (EINVAL); its filesystem does not take an id mapping, or has one already"]
        .assert_eq(&refused.unwrap_err().to_string());

    // Made and mapped in one go.
    let attributes = Attributes { idmap: Some(namespace.as_fd()), ..Attributes::default() };
    let made = mount::new_filesystem("tmpfs", None, &[], &attributes).unwrap();
    mount::attach(&made, dir("/mnt/new")).unwrap();
    assert_eq!(tell("stat", &["-c", "%u:%g", "/mnt/new"]), "100000:100000");
}

fn overlay_by_options() {
    for name in ["lower", "upper", "work"] {
        fs::create_dir(format!("/mnt/{name}")).unwrap();
    }
    fs::write("/mnt/lower/file", "low").unwrap();
    let options = [
        ("lowerdir", Some("/mnt/lower")),
        ("upperdir", Some("/mnt/upper")),
        ("workdir", Some("/mnt/work")),
    ];
    let overlay =
        mount::new_filesystem("overlay", Some("overlay"), &options, &Attributes::default());
    mount::attach(overlay.unwrap(), dir("/mnt/merged")).unwrap();
    fs::write("/mnt/merged/file", "high").unwrap();
    assert_eq!(tell("cat", &["/mnt/lower/file", "/mnt/upper/file"]), "lowhigh");
}

fn refusals_say_what_the_kernel_said() {
    let none = Attributes::default();
    let refused = |fstype, options: &[_]| {
        mount::new_filesystem(fstype, None, options, &none).unwrap_err().to_string()
    };
    expect!["open filesystem nosuchfs: no such device (ENODEV); the kernel has no such filesystem; load its module"]
        .assert_eq(&refused("nosuchfs", &[]));
    expect!["set size=much of tmpfs: tmpfs: Bad value for 'size': invalid argument (EINVAL)"]
        .assert_eq(&refused("tmpfs", &[("size", Some("much"))]));
    expect!["set nosuchoption of tmpfs: tmpfs: Unknown parameter 'nosuchoption': invalid argument (EINVAL)"]
        .assert_eq(&refused("tmpfs", &[("nosuchoption", None)]));
    let long = "x".repeat(256);
    expect!["set source=LONG of tmpfs: invalid argument (EINVAL); the kernel takes at most 255 bytes for one option"]
        .assert_eq(&refused("tmpfs", &[("source", Some(&long))]).replace(&long, "LONG"));
    let text = refused("overlay", &[("lowerdir", Some("/nonexistent"))]);
    // Before Linux 6.5 the options are looked at together.
    let at = ["set lowerdir=/nonexistent of overlay: ", "create overlay: "];
    assert!(at.iter().any(|at| text.starts_with(at)), "{text}");
    assert!(text.contains("(ENOENT)") || text.contains("(EINVAL)"), "{text}");

    expect!["clone the mount at /nonexistent: no such file or directory (ENOENT)"]
        .assert_eq(&mount::clone_tree_at("/nonexistent", false).unwrap_err().to_string());
    expect!["attach a mount: invalid argument (EINVAL); a directory goes onto a directory, a file onto a file"].assert_eq(
        &mount::attach(tmpfs(), File::create("/mnt/f").unwrap()).unwrap_err().to_string(),
    );
    expect!["detach the mount at /mnt/f: invalid argument (EINVAL)"]
        .assert_eq(&mount::detach("/mnt/f").unwrap_err().to_string());
    expect!["make /mnt/f private: invalid argument (EINVAL)"].assert_eq(
        &mount::set_propagation("/mnt/f", Propagation::Private, false).unwrap_err().to_string(),
    );
    expect!["pivot to the new root: invalid argument (EINVAL); the new root must be a mount point, and neither it nor the old root shared or the initramfs"]
        .assert_eq(&mount::pivot(dir("/mnt/plain")).unwrap_err().to_string());
    assert!(mount::is_known("tmpfs").unwrap() && !mount::is_known("nosuchfs").unwrap());
}

fn propagation_is_set_and_shown() {
    mount::attach(tmpfs(), dir("/mnt/a")).unwrap();
    for (propagation, word) in [
        (Propagation::Shared, "shared"),
        (Propagation::Private, "private"),
        (Propagation::Unbindable, "private,unbindable"),
    ] {
        mount::set_propagation("/mnt/a", propagation, true).unwrap();
        assert_eq!(tell("findmnt", &["-rno", "PROPAGATION", "/mnt/a"]), word);
    }
    assert!(mount::clone_tree_at("/mnt/a", false).unwrap_err().is(Errno::INVAL));
    mount::set_propagation("/mnt/a", Propagation::Shared, false).unwrap();
    let copy = mount::clone_tree_at("/mnt/a", false).unwrap();
    let slave = Attributes { propagation: Some(Propagation::Slave), ..Attributes::default() };
    mount::set_attributes(&copy, &slave, true).unwrap();
    mount::attach(&copy, dir("/mnt/b")).unwrap();
    mount::attach(tmpfs(), dir("/mnt/a/below")).unwrap();
    assert_eq!(tell("findmnt", &["-rno", "FSTYPE", "/mnt/b/below"]), "tmpfs");
}

fn new_root() -> OwnedFd {
    let root = tmpfs();
    mount::attach(&root, dir("/mnt/root")).unwrap();
    fs::create_dir("/mnt/root/proc").unwrap();
    let proc = mount::clone_tree_at("/proc", false).unwrap();
    mount::attach(proc, dir("/mnt/root/proc")).unwrap();
    root
}

fn pivot_leaves_nothing_of_the_old_root() {
    let root = new_root();
    mount::pivot(&root).unwrap();
    assert_eq!(std::env::current_dir().unwrap().as_os_str(), "/");
    let mounts = linux::mountinfo::of_self().unwrap();
    let points: Vec<_> =
        mounts.iter().map(|mount| (mount.mount_point.to_str().unwrap(), &*mount.fstype)).collect();
    assert_eq!(points, [("/", "tmpfs"), ("/proc", "proc")]);
}

/// A mount below the old root that others share stays where they see it.
fn pivot_does_not_reach_the_peers_of_the_old_root() {
    mount::attach(tmpfs(), dir("/mnt/shared")).unwrap();
    mount::set_propagation("/mnt/shared", Propagation::Shared, false).unwrap();
    mount::attach(tmpfs(), dir("/mnt/shared/below")).unwrap();
    match linux::fork(CloneFlags::NEWNS, None).unwrap() {
        Forked::Child => {
            // As the root alone has to be: / and the parent of the new root.
            mount::set_propagation("/", Propagation::Private, false).unwrap();
            mount::set_propagation("/mnt", Propagation::Private, false).unwrap();
            mount::pivot(new_root()).unwrap();
            std::process::exit(0)
        }
        Forked::Parent { pidfd, .. } => assert!(pidfd.wait().unwrap().is_success()),
    }
    assert_eq!(tell("findmnt", &["-rno", "FSTYPE", "-M", "/mnt/shared/below"]), "tmpfs");
}

fn move_over_root_changes_root() {
    let root = new_root();
    mount::move_over_root(&root).unwrap();
    let mut names: Vec<_> =
        fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["proc"]);
    assert_eq!(fs::canonicalize("/../..").unwrap().as_os_str(), "/");
}

fn detach_by_descriptor() {
    let made = tmpfs();
    mount::attach(&made, dir("/mnt/a")).unwrap();
    assert_eq!(tell("findmnt", &["-rno", "FSTYPE", "-M", "/mnt/a"]), "tmpfs");
    mount::detach_fd(&made).unwrap();
    assert_eq!(tell("findmnt", &["-rno", "FSTYPE", "-M", "/mnt/a"]), "");
    // A link is not followed: what it names may be another's.
    mount::attach(tmpfs(), dir("/mnt/a")).unwrap();
    std::os::unix::fs::symlink("/mnt/a", "/mnt/link").unwrap();
    assert!(mount::detach("/mnt/link").unwrap_err().is(Errno::INVAL));
    mount::detach("/mnt/a").unwrap();
}

fn a_single_file_is_mounted() {
    fs::write("/mnt/source", "text").unwrap();
    fs::write("/mnt/target", "").unwrap();
    let tree = mount::clone_tree_at("/mnt/source", false).unwrap();
    mount::attach(&tree, File::open("/mnt/target").unwrap()).unwrap();
    assert_eq!(tell("cat", &["/mnt/target"]), "text");
}

/// By statmount(2) where the kernel has it: the same as the text says, whatever they are called.
fn hierarchies_are_found_as_mountinfo_has_them() {
    let found = || linux::mountinfo::cgroups_of_self().unwrap();
    let top = found().remove(0).mount_point;
    let propagations = [Propagation::Private, Propagation::Shared, Propagation::Slave];
    for (name, propagation) in ["/mnt/a b", "/mnt/c\\040d", "/mnt/e\tf\n"].iter().zip(propagations)
    {
        let copy = mount::clone_tree_at(&top, false).unwrap();
        let attributes = Attributes {
            set: Flags::READ_ONLY | Flags::NOSUID,
            atime: Some(Atime::Never),
            propagation: Some(propagation),
            ..Attributes::default()
        };
        mount::set_attributes(&copy, &attributes, false).unwrap();
        mount::attach(&copy, dir(name)).unwrap();
    }
    mount::attach(tmpfs(), dir("/mnt/a b")).unwrap();
    let sorted = |mut mounts: Vec<linux::mountinfo::MountInfo>| {
        mounts.retain(|mount| mount.fstype.starts_with("cgroup"));
        mounts.sort_by_key(|mount| mount.id);
        mounts
    };
    assert_eq!(sorted(found()), sorted(linux::mountinfo::of_self().unwrap()));
    let layout = linux::cgroup::Layout::detect().unwrap();
    let dirs: Vec<_> = layout.hierarchies().iter().map(|one| one.mount_point.clone()).collect();
    assert!(dirs.contains(&top), "{dirs:?}");
    let hidden = Vec::from_iter(dirs.iter().filter(|dir| dir.starts_with("/mnt")));
    assert!(hidden.is_empty(), "of one hierarchy the writable mount is taken: {hidden:?}");
}
