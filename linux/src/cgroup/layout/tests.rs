use expect_test::{Expect, expect};

use super::*;

fn check(mountinfo: &str, expect: Expect) {
    check_without(&[], mountinfo, expect);
}

fn check_without(hidden: &[u32], mountinfo: &str, expect: Expect) {
    let mounts = mountinfo::parse(mountinfo).unwrap();
    let is_in_sight = |mount: &MountInfo| !hidden.contains(&mount.id);
    let controllers_at = |top: &Path| vec![format!("<{}>", top.display())];
    let layout = Layout::from_mounts(&mounts, &is_in_sight, &controllers_at);
    let mut text = format!("{:?}\n", layout.kind());
    for hierarchy in layout.hierarchies() {
        text += &format!(
            "{:?} {} at {} root {}{}\n",
            hierarchy.version,
            hierarchy.controllers.join(","),
            hierarchy.mount_point.display(),
            hierarchy.root.display(),
            if hierarchy.nsdelegate { " nsdelegate" } else { "" },
        );
    }
    expect.assert_eq(&text);
}

#[test]
fn hybrid_with_co_mounted_controllers() {
    check(
        "\
23 1 254:0 / / rw - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct,release_agent=/bin/x
33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
",
        expect![[r#"
            Hybrid
            V1 cpu,cpuacct at /sys/fs/cgroup/cpu,cpuacct root /
            V1 name=systemd at /sys/fs/cgroup/systemd root /
            V2 </sys/fs/cgroup/unified> at /sys/fs/cgroup/unified root / nsdelegate
        "#]],
    );
}

#[test]
fn unified_and_legacy() {
    check(
        "23 1 254:0 / / rw - ext4 /dev/vda rw\n\
         31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        expect![[r#"
            Unified
            V2 </sys/fs/cgroup> at /sys/fs/cgroup root / nsdelegate
        "#]],
    );
    check(
        "23 1 254:0 / / rw - ext4 /dev/vda rw\n\
         31 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        expect![[r#"
            Legacy
            V1 memory at /sys/fs/cgroup/memory root /
        "#]],
    );
}

#[test]
fn of_two_mounts_the_whole_and_writable_one_is_taken() {
    check(
        "\
23 1 254:0 / / rw - ext4 /dev/vda rw
31 23 0:28 /docker/a /mnt/part rw - cgroup cgroup rw,memory
32 23 0:28 / /mnt/ro ro - cgroup cgroup rw,memory
33 23 0:28 / /mnt/with\\040blank rw - cgroup cgroup rw,memory
34 23 0:28 / /mnt/later rw - cgroup cgroup rw,memory
",
        expect![[r#"
            Legacy
            V1 memory at /mnt/with blank root /
        "#]],
    );
}

#[test]
fn a_hidden_mount_is_not_used() {
    // The v2 tree bound over the directory that all others are in.
    check_without(
        &[32, 33],
        "\
23 1 254:0 / / rw - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
40 31 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
",
        expect![[r#"
            Unified
            V2 </sys/fs/cgroup> at /sys/fs/cgroup root /
        "#]],
    );
}

#[test]
fn a_mount_from_outside_our_namespace_is_not_used() {
    check(
        "\
31 1 0:28 /../.. /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 1 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
",
        expect![[r#"
            Legacy
            V1 pids at /sys/fs/cgroup/pids root /
        "#]],
    );
}

#[test]
fn a_path_is_mapped_through_the_mount_root() {
    let hierarchy = Hierarchy::new(Version::V1, &["memory"], "/mnt/memory", "/docker/a");
    let dir = |path: &str| hierarchy.dir_of(Path::new(path));
    assert_eq!(dir("/docker/a"), Some("/mnt/memory".into()));
    assert_eq!(dir("/docker/a/isulad/x"), Some("/mnt/memory/isulad/x".into()));
    assert_eq!(dir("/docker/ab"), None);
    assert_eq!(dir("/"), None);
}

#[test]
fn this_host_has_a_layout() {
    // Every Linux that can run us has cgroups mounted; which, is not for a test to say.
    if let Ok(layout) = Layout::detect() {
        assert!(layout.hierarchies().iter().all(|hierarchy| hierarchy.mount_point.is_dir()));
    }
}
