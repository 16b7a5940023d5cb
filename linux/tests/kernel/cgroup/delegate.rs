use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use expect_test::expect;
use linux::cgroup::{Cgroup, Hierarchy, Layout, Lid, Membership, Version};
use linux::process::Signal;
use linux::{CloneFlags, Errno};

use super::{World, child, read, sleeper};

crate::cases![
    the_guest_owns_what_it_needs_and_no_limit,
    one_level_where_the_kernel_guards_the_border,
    a_guest_cannot_lift_its_limits,
    a_guest_with_ids_of_its_own_makes_cgroups,
    the_lid_holds,
    nobody_is_not_an_owner,
];

const GUEST: u32 = 123_456;

fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

/// Which files of the directory are the guest's, but for those that `known` names.
fn given_beyond(dir: &Path, known: &[&str]) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| owner(&dir.join(name)) == GUEST && !known.contains(&&**name)).collect()
}

fn the_guest_owns_what_it_needs_and_no_limit() {
    let world = World::new();
    let mut cgroup = world.create("a");
    cgroup.delegate(GUEST, GUEST, Lid::default()).unwrap();
    for tree in world.layout.hierarchies() {
        let dir = tree.mount_point.join(&world.name).join("a");
        match tree.version {
            Version::V2 if tree.nsdelegate => assert_eq!(owner(&dir), GUEST),
            Version::V1 if tree.has("name=systemd") => {
                assert_eq!(owner(&dir), GUEST);
                for file in ["cgroup.procs", "tasks"] {
                    assert_eq!(owner(&dir.join(file)), GUEST);
                }
                let known = ["cgroup.procs", "tasks", "cgroup.clone_children"];
                assert_eq!(given_beyond(&dir, &known), [] as [&str; 0]);
            }
            _ => {
                assert_eq!(owner(&dir), 0, "{}", dir.display());
                assert_eq!(given_beyond(&dir, &["payload"]), [] as [&str; 0]);
            }
        }
    }
    let Some(tree) = world.layout.unified() else { return };
    let mut inner = cgroup.unified_dir().unwrap().to_owned();
    if !tree.nsdelegate {
        inner.push("payload");
        // What the host hands down is there for the guest to hand on.
        assert_eq!(
            read(inner.join("cgroup.controllers")),
            read(inner.parent().unwrap().join("cgroup.controllers"))
        );
    }
    let files = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    let files: Vec<_> = files.lines().collect();
    for file in files.iter().filter(|file| inner.join(file).exists()) {
        assert_eq!(owner(&inner.join(file)), GUEST, "{file}");
    }
    assert_eq!(given_beyond(&inner, &files), [] as [&str; 0]);

    // Found again by its path, it is joined where the guest is.
    let again = Cgroup::open(&world.layout, &world.path("a")).unwrap();
    let (pid, pidfd) = sleeper(&again);
    let membership = Membership::of(pid).unwrap();
    assert_eq!(tree.dir_of(membership.path_in(tree).unwrap()).unwrap(), inner);
    assert_eq!(again.procs().unwrap(), [pid]);
    pidfd.signal(Signal::KILL).unwrap();
    pidfd.wait().unwrap();
}

fn one_level_where_the_kernel_guards_the_border() {
    let world = World::only(Version::V2);
    let guarded = world
        .layout
        .hierarchies()
        .iter()
        .map(|tree| Hierarchy { nsdelegate: true, ..tree.clone() });
    let layout = Layout::of(guarded.collect());
    let mut cgroup = Cgroup::create(&layout, &world.path("a")).unwrap();
    cgroup.delegate(GUEST, GUEST, Lid::default()).unwrap();
    let dir = cgroup.unified_dir().unwrap();
    assert_eq!(owner(dir), GUEST);
    assert!(!dir.join("payload").exists());
    assert_eq!(read(dir.join("cgroup.subtree_control")), "");
    // A cgroup of that name is the guest's own there and of no meaning.
    fs::create_dir(dir.join("payload")).unwrap();
    let again = Cgroup::open(&layout, &world.path("a")).unwrap();
    let (pid, pidfd) = sleeper(&again);
    assert!(read(format!("/proc/{pid}/cgroup")).ends_with("/a"));
    pidfd.signal(Signal::KILL).unwrap();
    pidfd.wait().unwrap();
}

/// What a guest that is root in its cgroup namespace finds at the top of its own v2 mount.
fn a_guest_cannot_lift_its_limits() {
    let world = World::only(Version::V2);
    let mut cgroup = world.create("a");
    cgroup.delegate(0, 0, Lid { descendants: Some(5), depth: None }).unwrap();
    let (_, pidfd) = child(&cgroup, CloneFlags::empty(), || {
        linux::ns::unshare(CloneFlags::NEWCGROUP).unwrap();
        let attributes = linux::mount::Attributes::default();
        let tree = linux::mount::new_filesystem("cgroup2", None, &[], &attributes).unwrap();
        linux::mount::attach(tree, fs::File::open("/mnt").unwrap()).unwrap();
        // Its own top, where it lives; what is above is out of reach, by mount and by "..".
        let alone = read("/mnt/cgroup.procs") == std::process::id().to_string();
        let bound = fs::write("/mnt/cgroup.max.descendants", "max");
        let above = fs::read_dir("/mnt/..").unwrap().flatten();
        let outside = above.filter(|entry| entry.file_name() == "payload").count();
        for one in 0..5 {
            fs::create_dir(format!("/mnt/{one}")).unwrap();
        }
        let sixth = fs::create_dir("/mnt/6").unwrap_err();
        let full = sixth.raw_os_error() == Some(Errno::AGAIN.raw_os_error());
        for one in 0..5 {
            fs::remove_dir(format!("/mnt/{one}")).unwrap();
        }
        let _ = bound;
        i32::from(!alone) | i32::from(outside > 0) << 1 | i32::from(!full) << 2
    });
    assert_eq!(pidfd.wait().unwrap().code(), 0);
}

fn a_guest_with_ids_of_its_own_makes_cgroups() {
    let world = World::new();
    let mut cgroup = world.create("a");
    cgroup.delegate(GUEST, GUEST, Lid::default()).unwrap();
    let managed: Vec<_> = [cgroup.controller_dir("name=systemd"), cgroup.unified_dir()]
        .into_iter()
        .flatten()
        .map(|dir| match dir.join("payload") {
            inner if inner.exists() => inner,
            _ => dir.to_owned(),
        })
        .collect();
    let limited: Vec<_> = cgroup.dirs().map(Path::to_owned).collect();
    let (_, pidfd) = child(&cgroup, CloneFlags::empty(), || {
        linux::ns::unshare(CloneFlags::NEWCGROUP).unwrap();
        rustix::thread::set_thread_res_gid(gid(), gid(), gid()).unwrap();
        rustix::thread::set_thread_res_uid(uid(), uid(), uid()).unwrap();
        let moves = managed.iter().all(|dir| {
            fs::create_dir(dir.join("init.scope")).is_ok()
                && fs::write(dir.join("init.scope/cgroup.procs"), "0").is_ok()
        });
        let elsewhere = limited.iter().filter(|dir| !managed.contains(dir));
        let kept_out = elsewhere.clone().all(|dir| fs::create_dir(dir.join("mine")).is_err());
        i32::from(!moves) | i32::from(!kept_out) << 1
    });
    assert_eq!(pidfd.wait().unwrap().code(), 0);
}

fn uid() -> rustix::fs::Uid {
    rustix::fs::Uid::from_raw(GUEST)
}

fn gid() -> rustix::fs::Gid {
    rustix::fs::Gid::from_raw(GUEST)
}

fn the_lid_holds() {
    let world = World::only(Version::V2);
    let mut cgroup = world.create("a");
    cgroup.delegate(0, 0, Lid { descendants: Some(3), depth: Some(2) }).unwrap();
    let dir = cgroup.unified_dir().unwrap();
    let inner = match dir.join("payload") {
        inner if inner.exists() => inner,
        _ => dir.to_owned(),
    };
    fs::create_dir_all(inner.join("one/two")).unwrap();
    assert!(fs::create_dir(inner.join("one/two/three")).is_err());
    fs::create_dir(inner.join("other")).unwrap();
    assert!(fs::create_dir(inner.join("another")).is_err());
}

fn nobody_is_not_an_owner() {
    let world = World::new();
    let mut cgroup = world.create("a");
    let error = cgroup.delegate(u32::MAX, 0, Lid::default()).unwrap_err();
    expect!["delegate cgroup to id 4294967295: invalid argument (EINVAL)"]
        .assert_eq(&error.to_string());
}
