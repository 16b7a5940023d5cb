use oci_spec::runtime::{LinuxBuilder, MountBuilder};

use super::*;

fn entry(destination: &str, typ: &str, source: &str) -> Mount {
    MountBuilder::default().destination(destination).typ(typ).source(source).build().unwrap()
}

#[test]
fn a_hole_is_a_proc_path_mounted_on_itself() {
    assert!(is_hole(&entry("/proc/sys/net", "proc", "/proc/sys/net")));
    assert!(!is_hole(&entry("/proc", "proc", "proc")));
    assert!(!is_hole(&entry("/proc/sys/net", "proc", "proc")));
    assert!(!is_hole(&entry("/proc/sys/net", "bind", "/proc/sys/net")));
    assert!(!is_hole(&entry("/sys/net", "proc", "/sys/net")));
}

#[test]
fn a_destination_is_a_plain_path_below_the_root() {
    let of = |path: &str| destination(&entry(path, "tmpfs", "tmpfs"), 0);
    assert_eq!(of("/dev/").unwrap(), Path::new("/dev"));
    assert_eq!(of("run//lock/.").unwrap(), Path::new("/run/lock"));
    assert!(of("/").is_err());
    assert!(of("/a/../b").is_err());
}

#[test]
fn propagation_of_the_rootfs_by_its_words() {
    let of = |word: &str| {
        rootfs_propagation(&LinuxBuilder::default().rootfs_propagation(word).build().unwrap())
    };
    assert_eq!(of("").unwrap(), None);
    assert_eq!(of("rslave").unwrap(), Some((Propagation::Slave, Recursion::Recursive)));
    assert_eq!(of("shared").unwrap(), Some((Propagation::Shared, Recursion::Single)));
    assert!(of("rslaves").is_err());
}
