use std::path::Path;

use expect_test::expect;
use proptest::prelude::*;

use super::*;

fn one(line: &str) -> MountInfo {
    parse(line).unwrap().pop().unwrap()
}

#[test]
fn all_fields_of_a_line() {
    let mount = one(
        "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime shared:3 master:1 propagate_from:2 unbindable \
         future:9 - ext3 /dev/root ro,errors=continue\n",
    );
    assert_eq!((mount.id, mount.parent), (36, 35));
    assert_eq!(mount.dev.to_string(), "98:0");
    assert_eq!(mount.root, Path::new("/mnt1"));
    assert_eq!(mount.mount_point, Path::new("/mnt 2"));
    assert!(mount.has_option("noatime") && !mount.has_option("ro"));
    assert!(mount.has_super_option("errors=continue") && mount.is_read_only());
    let tags = Tags { shared: Some(3), master: Some(1), propagate_from: Some(2), unbindable: true };
    assert_eq!(mount.propagation, tags);
    assert_eq!((&*mount.fstype, &*mount.source), ("ext3", "/dev/root"));
}

#[test]
fn no_tags_and_odd_sources() {
    let mount = one("1 0 0:5 / / rw - tmpfs  rw");
    assert_eq!((&*mount.source, mount.propagation), ("", Tags::default()));
    assert_eq!(one("1 0 0:5 / / rw - fuse.x a b rw").source, "a b");
    assert_eq!(
        one("1 0 0:5 net:[402653] /run/ns rw - nsfs nsfs rw").root,
        Path::new("net:[402653]")
    );
}

#[test]
fn a_broken_line_is_named() {
    expect![[r#"parse mountinfo line "36 35 98:0 / /": invalid argument (EINVAL)"#]]
        .assert_eq(&parse("36 35 98:0 / /").unwrap_err().to_string());
}

#[test]
fn our_own_has_a_root_and_proc() {
    let mounts = of_self().unwrap();
    assert!(mounts.iter().any(|mount| mount.mount_point == Path::new("/")));
    assert!(mounts.iter().any(|mount| mount.fstype == "proc"));
    assert_eq!(of(Pid::current()).unwrap(), mounts);
}

#[test]
fn the_kernel_says_the_same_in_both_ways() {
    let asked = statmount::of_self_with(None, |_| true);
    if crate::kernel::version() < (6, 13) {
        asked.unwrap_err();
        return;
    }
    let asked = asked.unwrap();
    let told = of_self().unwrap();
    for mount in &asked {
        let same = told.iter().find(|other| other.id == mount.id).unwrap();
        assert_eq!(mount, same);
    }
    // But for the one on which everything else is.
    let missing = told.iter().filter(|mount| asked.iter().all(|other| other.id != mount.id));
    assert!(missing.count() <= 1, "{asked:?}");
}

proptest! {
    #[test]
    fn unescape_is_the_inverse_of_the_kernels_escape(path: Vec<u8>) {
        let mut escaped = Vec::new();
        for &byte in &path {
            if b" \t\n\\#".contains(&byte) {
                escaped.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            } else {
                escaped.push(byte);
            }
        }
        prop_assert_eq!(unescape(&escaped), path);
    }
}
