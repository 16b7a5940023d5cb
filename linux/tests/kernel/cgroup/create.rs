use expect_test::expect;
use linux::cgroup::{Cgroup, Version};

use super::{World, read, sleeper};

crate::cases![
    every_hierarchy_has_it_with_its_parents,
    one_that_is_there_is_taken_if_it_is_empty,
    nothing_is_left_of_one_that_could_not_be_made,
    a_threaded_parent_is_refused,
    a_tree_of_cgroups_that_is_full_is_refused,
];

fn every_hierarchy_has_it_with_its_parents() {
    let world = World::new();
    let cgroup = world.create("a/b");
    let trees = world.layout.hierarchies();
    assert_eq!(cgroup.dirs().count(), trees.len());
    assert_eq!(cgroup.made().len(), 3 * trees.len());
    for (dir, tree) in cgroup.dirs().zip(trees) {
        assert_eq!(dir, tree.mount_point.join(&world.name).join("a/b"));
        assert!(dir.is_dir());
    }
    let cpuset = world.layout.with("cpuset").filter(|tree| tree.version == Version::V1);
    if let (Some(tree), Some(dir)) = (cpuset, cgroup.controller_dir("cpuset")) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let whole = read(tree.mount_point.join(file));
            assert_eq!(read(dir.join(file)), whole);
            assert_eq!(read(dir.parent().unwrap().join(file)), whole);
        }
    }
    if let (Some(tree), Some(dir)) = (world.layout.unified(), cgroup.unified_dir()) {
        // Handed down to it, and by it to nobody.
        let controllers = read(dir.join("cgroup.controllers"));
        let mut controllers: Vec<_> = controllers.split_whitespace().collect();
        controllers.sort_unstable();
        let mut expected: Vec<_> = tree.controllers.iter().map(String::as_str).collect();
        expected.sort_unstable();
        assert_eq!(controllers, expected);
        assert_eq!(read(dir.join("cgroup.subtree_control")), "");
    }
}

fn one_that_is_there_is_taken_if_it_is_empty() {
    let world = World::new();
    let first = world.create("a");
    for dir in first.dirs() {
        std::fs::create_dir_all(dir.join("left/behind")).unwrap();
    }
    let again = world.create("a");
    assert_eq!(again.made(), [] as [std::path::PathBuf; 0]);
    for dir in again.dirs() {
        assert!(!dir.join("left").exists());
    }
    let (pid, pidfd) = sleeper(&again);
    let error = Cgroup::create(&world.layout, &world.path("a")).unwrap_err();
    expect!["take cgroup TOP/TEST/a: process PID is in it: device or resource busy (EBUSY); choose another cgroup path"]
        .assert_eq(&world.plain(&error).replace(&pid.to_string(), "PID"));
    pidfd.signal(linux::signal::Signal::KILL).unwrap();
    pidfd.wait().unwrap();
}

fn nothing_is_left_of_one_that_could_not_be_made() {
    let world = World::new();
    // In the way in every tree.
    let error = Cgroup::create(&world.layout, &world.path("a/cgroup.procs")).unwrap_err();
    expect!["make cgroup TOP/TEST/a/cgroup.procs: file exists (EEXIST); a control file has that name; choose another"]
        .assert_eq(&world.plain(&error));
    for tree in world.layout.hierarchies() {
        assert!(!tree.mount_point.join(&world.name).exists());
    }
    let made = world.create("a/b");
    made.discard();
    for tree in world.layout.hierarchies() {
        assert!(!tree.mount_point.join(&world.name).exists());
    }
}

fn a_threaded_parent_is_refused() {
    let world = World::only(Version::V2);
    let parent = world.create("a");
    let dir = parent.unified_dir().unwrap();
    // A domain with such controllers enabled cannot become threaded.
    let top = dir.parent().unwrap();
    for name in read(top.join("cgroup.subtree_control")).split_whitespace() {
        std::fs::write(top.join("cgroup.subtree_control"), format!("-{name}")).unwrap();
    }
    std::fs::write(dir.join("cgroup.type"), "threaded").unwrap();
    let error = Cgroup::create(&world.layout, &world.path("a/b")).unwrap_err();
    expect![[r#"make cgroup TOP/TEST/a/b: it is "domain invalid": operation not supported (EOPNOTSUPP); its parent is a threaded cgroup; choose one whose cgroup.type is domain"#]]
        .assert_eq(&world.plain(&error));
    assert!(!dir.join("b").exists());
}

fn a_tree_of_cgroups_that_is_full_is_refused() {
    let world = World::only(Version::V2);
    let parent = world.create("a");
    std::fs::write(parent.unified_dir().unwrap().join("cgroup.max.descendants"), "0").unwrap();
    let error = Cgroup::create(&world.layout, &world.path("a/b")).unwrap_err();
    expect!["make cgroup TOP/TEST/a/b: resource temporarily unavailable (EAGAIN); cgroup.max.descendants or cgroup.max.depth of a parent is reached"]
        .assert_eq(&world.plain(&error));
}
