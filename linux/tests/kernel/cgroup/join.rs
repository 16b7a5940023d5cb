use std::fs;

use expect_test::expect;
use linux::CloneFlags;
use linux::cgroup::{Cgroup, CgroupPath, Membership};
use linux::process::{Pid, Signal};

use super::{World, child, read, sleeper};

crate::cases![
    a_child_is_in_it_in_every_hierarchy,
    its_cgroup_namespace_has_it_as_the_top,
    who_moved_inside_is_followed,
    a_cgroup_is_found_by_path_or_missing,
    a_child_below_the_container_where_there_is_such_a_cgroup,
];

fn a_child_is_in_it_in_every_hierarchy() {
    let world = World::new();
    let cgroup = world.create("a");
    let (pid, pidfd) = sleeper(&cgroup);
    let membership = Membership::of(pid).unwrap();
    for tree in world.layout.hierarchies() {
        let path = membership.path_in(tree).unwrap();
        assert_eq!(tree.dir_of(path).unwrap(), tree.mount_point.join(&world.name).join("a"));
    }
    assert_eq!(cgroup.procs().unwrap(), [pid]);
    let found = Cgroup::of(&world.layout, pid).unwrap();
    assert!(found.dirs().eq(cgroup.dirs()));
    assert!(cgroup.contains(&found));
    assert!(!cgroup.contains(&Cgroup::of(&world.layout, Pid::current()).unwrap()));
    pidfd.signal(Signal::KILL).unwrap();
    pidfd.wait().unwrap();
    assert_eq!(cgroup.procs().unwrap(), []);
}

fn its_cgroup_namespace_has_it_as_the_top() {
    let world = World::new();
    let cgroup = world.create("a");
    let (_, pidfd) = child(&cgroup, CloneFlags::empty(), || {
        linux::ns::unshare(CloneFlags::NEWCGROUP).unwrap();
        let own = Membership::of(Pid::current()).unwrap();
        i32::from(!own.entries().iter().all(|entry| entry.path.as_os_str() == "/"))
    });
    assert!(pidfd.wait().unwrap().is_success(), "every hierarchy, also those without a controller");
}

fn who_moved_inside_is_followed() {
    let world = World::new();
    let cgroup = world.create("a");
    let (init, init_fd) = sleeper(&cgroup);
    // As systemd does: itself into init.scope, in the trees it manages.
    for dir in [cgroup.controller_dir("name=systemd"), cgroup.unified_dir()].into_iter().flatten() {
        fs::create_dir(dir.join("init.scope")).unwrap();
        fs::write(dir.join("init.scope/cgroup.procs"), init.to_string()).unwrap();
    }
    if let Some(dir) = cgroup.unified_dir() {
        for name in read(dir.join("cgroup.controllers")).split_whitespace() {
            fs::write(dir.join("cgroup.subtree_control"), format!("+{name}")).unwrap();
        }
    }
    let found = Cgroup::of(&world.layout, init).unwrap();
    assert!(cgroup.contains(&found));
    let (pid, pidfd) = sleeper(&found);
    assert_eq!(
        fs::read(format!("/proc/{pid}/cgroup")).unwrap(),
        fs::read(format!("/proc/{init}/cgroup")).unwrap()
    );
    for process in [pidfd, init_fd] {
        process.signal(Signal::KILL).unwrap();
        process.wait().unwrap();
    }
}

fn a_cgroup_is_found_by_path_or_missing() {
    let world = World::new();
    let error = Cgroup::open(&world.layout, &world.path("nowhere")).unwrap_err();
    expect!["open cgroup TEST/nowhere: no such file or directory (ENOENT)"]
        .assert_eq(&world.plain(&error));
    let made = world.create("a");
    assert!(Cgroup::open(&world.layout, &world.path("a")).unwrap().dirs().eq(made.dirs()));
    let gone = Pid::new(i32::MAX).unwrap();
    expect!["read /proc/2147483647/cgroup: no such file or directory (ENOENT)"]
        .assert_eq(&Cgroup::of(&world.layout, gone).unwrap_err().to_string());
}

fn a_child_below_the_container_where_there_is_such_a_cgroup() {
    let world = World::new();
    let outer = world.create("a");
    let (pid, pidfd) = sleeper(&outer);
    let own = || Cgroup::of(&world.layout, pid).unwrap();
    let sub = CgroupPath::parse("jobs/one").unwrap();
    let error = outer.below(&sub, own()).unwrap_err();
    expect!["open cgroup jobs/one in the cgroup: no such file or directory (ENOENT)"]
        .assert_eq(&error.to_string());
    let first = outer.dirs().next().unwrap();
    fs::create_dir_all(first.join("jobs/one")).unwrap();
    let below = outer.below(&sub, own()).unwrap();
    assert_eq!(below.dirs().next().unwrap(), first.join("jobs/one"));
    assert!(below.dirs().skip(1).eq(outer.dirs().skip(1)));
    pidfd.signal(Signal::KILL).unwrap();
    pidfd.wait().unwrap();
}
