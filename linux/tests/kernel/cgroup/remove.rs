use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use expect_test::expect;
use rustix::fs::{Mode, OFlags, mkdirat, openat};

use linux::cgroup::Lid;
use linux::process::Signal;

use super::{PATIENCE, World, sleeper};

crate::cases![
    a_delegated_one_goes_with_what_was_made_for_it,
    a_nest_deeper_than_a_path_is_removed,
    many_beside_each_other_are_removed,
    one_in_use_is_kept_and_its_process_named,
    only_an_empty_one_goes_at_once,
    what_is_beside_it_stays,
];

const DEPTH: usize = 1500;

/// Makes `depth` cgroups one in another, more than a process may have files open.
fn nest(top: &Path, depth: usize) {
    let mut dir: OwnedFd = File::open(top).unwrap().into();
    for level in 0..depth {
        let name = CString::new(format!("level-{level}")).unwrap();
        mkdirat(&dir, &name, Mode::from_raw_mode(0o755)).unwrap();
        dir = openat(&dir, &name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
}

fn a_nest_deeper_than_a_path_is_removed() {
    let world = World::new();
    let cgroup = world.create("a");
    let managed = [cgroup.controller_dir("name=systemd"), cgroup.unified_dir()];
    for dir in managed.into_iter().flatten() {
        nest(dir, DEPTH);
    }
    assert_eq!(cgroup.procs().unwrap(), []);
    cgroup.remove(PATIENCE).unwrap();
    assert!(cgroup.dirs().all(|dir| !dir.exists()));
}

fn many_beside_each_other_are_removed() {
    let world = World::new();
    let cgroup = world.create("a");
    for dir in cgroup.dirs().take(2) {
        for one in 0..100 {
            fs::create_dir_all(dir.join(format!("{one} with blank/b/c"))).unwrap();
            fs::create_dir_all(dir.join(format!("{one} with blank/d"))).unwrap();
        }
    }
    cgroup.remove(PATIENCE).unwrap();
    assert!(cgroup.dirs().all(|dir| !dir.exists()));
}

fn one_in_use_is_kept_and_its_process_named() {
    let world = World::new();
    let cgroup = world.create("a");
    let (pid, pidfd) = sleeper(&cgroup);
    let error = cgroup.remove(Duration::from_millis(20)).unwrap_err();
    expect!["remove cgroup TOP/TEST/a: process PID in it: device or resource busy (EBUSY)"]
        .assert_eq(&world.plain(&error).replace(&pid.to_string(), "PID"));
    pidfd.signal(Signal::KILL).unwrap();
    // Not waited for: a zombie is no obstacle.
    cgroup.remove(PATIENCE).unwrap();
    pidfd.wait().unwrap();
}

fn only_an_empty_one_goes_at_once() {
    let world = World::new();
    let cgroup = world.create("a");
    let (_, pidfd) = sleeper(&cgroup);
    assert!(!cgroup.remove_if_empty().unwrap(), "a process lives in it");
    pidfd.signal(Signal::KILL).unwrap();
    pidfd.wait().unwrap();
    let below = cgroup.dirs().next().unwrap().join("b");
    fs::create_dir(&below).unwrap();
    assert!(!cgroup.remove_if_empty().unwrap(), "it has a child");
    assert!(below.exists());
    fs::remove_dir(&below).unwrap();
    assert!(cgroup.remove_if_empty().unwrap());
    assert!(cgroup.dirs().all(|dir| !dir.exists()));
    assert!(cgroup.remove_if_empty().unwrap(), "what is gone is no error");
}

fn a_delegated_one_goes_with_what_was_made_for_it() {
    let world = World::new();
    let mut cgroup = world.create("a");
    cgroup.delegate(0, 0, Lid::default()).unwrap();
    let dir = cgroup.unified_dir().unwrap().to_owned();
    assert!(cgroup.remove_if_empty().unwrap());
    assert!(cgroup.dirs().all(|dir| !dir.exists()) && !dir.exists());
}

fn what_is_beside_it_stays() {
    let world = World::new();
    let (one, other) = (world.create("a"), world.create("ab"));
    one.remove(PATIENCE).unwrap();
    assert!(one.dirs().all(|dir| !dir.exists()));
    assert!(other.dirs().all(Path::is_dir));
}
