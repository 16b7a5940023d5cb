//! Namespaces that are new, the host's, or another container's.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use expect_test::expect;
use serde_json::json;

use crate::world::{Bundle, World};

crate::cases!(
    each_new_namespace_is_another_one,
    namespaces_left_out_are_the_hosts,
    namespaces_of_another_container_are_joined,
    a_user_namespace_is_joined,
    a_user_namespace_is_joined_with_its_pid_namespace,
    a_joined_network_with_a_new_user_namespace,
    the_hosts_namespaces_with_a_new_user_namespace,
    clocks_are_shifted,
    the_loopback_interface_is_up,
    names_are_set,
    a_path_must_be_of_its_kind,
);

const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("network", "net"),
    ("cgroup", "cgroup"),
];

fn inode(pid: &str, name: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/{name}")).unwrap().ino()
}

fn each_new_namespace_is_another_one() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "sleep 1000");
    bundle.namespaces().push(json!({ "type": "time" }));
    bundle.user_namespace();
    let created = world.start(&bundle);
    let pid = created.pid.to_string();
    for (_, name) in KINDS.into_iter().chain([("user", "user"), ("time", "time")]) {
        assert_ne!(inode(&pid, name), inode("self", name), "{name}");
    }
    assert_eq!(inode("self", "time"), inode("self", "time_for_children"), "we are back home");
    world.runtime.delete("web", true).unwrap();
    created.pidfd.wait().unwrap();
}

fn namespaces_left_out_are_the_hosts() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "sleep 1000");
    for (kind, _) in KINDS {
        if kind != "mount" {
            bundle.namespace(kind, None);
        }
    }
    let created = world.start(&bundle);
    let pid = created.pid.to_string();
    for (kind, name) in KINDS {
        assert_eq!(inode(&pid, name) == inode("self", name), kind != "mount", "{name}");
    }
    world.runtime.delete("web", true).unwrap();
    created.pidfd.wait().unwrap();
}

fn namespaces_of_another_container_are_joined() {
    let world = World::new();
    let first = Bundle::script("first", "sleep 1000");
    let one = world.start(&first);
    let mut second = Bundle::script("second", "sleep 1000");
    for (kind, name) in KINDS {
        if kind != "mount" {
            second.namespace(kind, Some(&format!("/proc/{}/ns/{name}", one.pid)));
        }
    }
    let two = world.start(&second);
    for (kind, name) in KINDS {
        let same = inode(&one.pid.to_string(), name) == inode(&two.pid.to_string(), name);
        assert_eq!(same, kind != "mount", "{name}");
        assert_eq!(
            inode("self", name),
            inode(&std::process::id().to_string(), name),
            "we are back home"
        );
    }
    assert_eq!(inode("self", "pid"), inode("self", "pid_for_children"));
    for created in [(&second, two), (&first, one)] {
        world.runtime.delete(&created.0.id, true).unwrap();
        created.1.pidfd.wait().unwrap();
    }
}

/// A first container in a user namespace, and a second that joins `kinds` of it.
fn join_user_namespace(kinds: &[(&str, &str)], script: &str) -> String {
    let world = World::new();
    let mut first = Bundle::script("first", "sleep 1000");
    first.user_namespace();
    let one = world.start(&first);
    let mut second = Bundle::script("second", script);
    for (kind, name) in kinds {
        second.namespace(kind, Some(&format!("/proc/{}/ns/{name}", one.pid)));
    }
    let text = world.says(&second);
    world.runtime.delete("first", true).unwrap();
    one.pidfd.wait().unwrap();
    world.assert_nothing_left(&second);
    text
}

const SHOW: &str = "cat /proc/self/uid_map | tr -s ' '; id -u; echo $$; touch /made; \
    stat -c '%u:%g' / /dev/null; ip link | grep -c lo:; cat /proc/1/cgroup | grep -c -v ':/$'";

fn a_user_namespace_is_joined() {
    expect![[r#"
         0 100000 65536
        0
        1
        0:0
        0:0
        1
        0
    "#]]
    .assert_eq(&join_user_namespace(
        &[("user", "user")],
        &SHOW.replace(
            "/proc/1/cgroup | grep -c -v ':/$'",
            "/proc/self/cgroup | grep -c -v ':/$' || true",
        ),
    ));
}

fn a_user_namespace_is_joined_with_its_pid_namespace() {
    let kinds =
        [("user", "user"), ("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("network", "net")];
    let text = join_user_namespace(&kinds, "id -u; [ $$ -gt 1 ] && ps | grep -c 'sleep 1000'");
    assert_eq!(text.lines().next(), Some("0"));
    assert_ne!(text.lines().nth(1), Some("0"), "{text}");
}

fn a_joined_network_with_a_new_user_namespace() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "ip link | grep -c test0:; ls -1 /sys/class/net");
    bundle.user_namespace();
    // Ours, with an interface of ours.
    let made = std::process::Command::new("ip")
        .args(["link", "add", "test0", "type", "veth", "peer", "test1"])
        .status()
        .unwrap();
    assert!(made.success());
    bundle.namespace("network", Some("/proc/self/ns/net"));
    let text = world.says(&bundle);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, ["1", "lo", "test0", "test1"], "a /sys of that namespace");
}

fn the_hosts_namespaces_with_a_new_user_namespace() {
    let world = World::new();
    let mut bundle = Bundle::script(
        "web",
        "ls -1 /sys/class/net; grep -c mqueue /proc/mounts; ls /sys/fs/cgroup",
    );
    bundle.add_mount(crate::world::mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    bundle.user_namespace();
    bundle.namespace("network", None);
    bundle.namespace("ipc", None);
    assert_eq!(world.says(&bundle), "lo\n1\n", "nothing that is mounted on the host's /sys");
}

fn clocks_are_shifted() {
    let world = World::new();
    for user in [false, true] {
        let mut bundle = Bundle::script(
            if user { "user" } else { "plain" },
            "cat /proc/uptime /proc/self/timens_offsets",
        );
        bundle.namespaces().push(json!({ "type": "time" }));
        bundle.spec["linux"]["timeOffsets"] = json!({
            "boottime": { "secs": 1_000_000 }, "monotonic": { "secs": 5, "nanosecs": 7 },
        });
        if user {
            bundle.user_namespace();
        }
        let text = world.says(&bundle);
        let uptime: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
        assert!(uptime > 1_000_000.0, "{text}");
        assert!(text.split_whitespace().any(|word| word == "1000000"), "{text}");
    }
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    assert!(uptime.split('.').next().unwrap().parse::<u64>().unwrap() < 1_000_000);
}

fn the_loopback_interface_is_up() {
    let world = World::new();
    let bundle = Bundle::script("web", "ip addr show lo | grep -c -e 127.0.0.1 -e LOWER_UP");
    assert_eq!(world.says(&bundle), "2\n");
}

fn names_are_set() {
    let world = World::new();
    let host = rustix::system::uname().nodename().to_owned();
    let mut bundle = Bundle::script("web", "hostname; cat /proc/sys/kernel/domainname");
    bundle.spec["hostname"] = json!("web1");
    bundle.spec["domainname"] = json!("example.org");
    assert_eq!(world.says(&bundle), "web1\nexample.org\n");
    assert_eq!(rustix::system::uname().nodename().to_owned(), host);
}

fn a_path_must_be_of_its_kind() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    bundle.namespace("network", Some("/proc/self/ns/ipc"));
    expect!["join net namespace /proc/self/ns/ipc: use /proc/self/ns/ipc as net namespace: invalid argument (EINVAL); give a file of that name below /proc/PID/ns, or a bind mount of one"]
        .assert_eq(&world.refuses(&bundle));
    bundle.namespace("network", Some("/proc/self/ns/nosuch"));
    expect!["join net namespace /proc/self/ns/nosuch: open /proc/self/ns/nosuch: no such file or directory (ENOENT)"]
        .assert_eq(&world.refuses(&bundle));
}
