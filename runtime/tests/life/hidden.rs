//! What of the file tree is hidden, and what is read-only.

use std::fs;

use expect_test::expect;
use serde_json::json;

use crate::world::{Bundle, World, mount};

crate::cases!(
    masked_paths_are_empty,
    read_only_paths_and_their_holes,
    ipc_holes_show_as_documented,
    a_read_only_rootfs,
    sysctl_is_set_in_the_container_alone,
);

fn masked_paths_are_empty() {
    let world = World::new();
    let mut bundle = Bundle::script(
        "web",
        "wc -c < /proc/timer_list; ls /proc/bus /sys/firmware /opt/a /opt/b | sort; \
         touch /opt/a/x 2>&1; cat /opt/file; echo secret > /opt/file; cat /opt/file",
    );
    for directory in ["opt/a", "opt/b"] {
        fs::create_dir_all(bundle.rootfs().join(directory).join("hidden")).unwrap();
    }
    fs::write(bundle.rootfs().join("opt/file"), "hidden").unwrap();
    bundle.spec["linux"]["maskedPaths"] = json!([
        "/proc/timer_list",
        "/proc/bus",
        "/sys/firmware",
        "/opt/a",
        "/opt/b",
        "/opt/file",
        "/nowhere",
        "/opt/file/nowhere"
    ]);
    for user in [false, true] {
        bundle.id = if user { "user".into() } else { "plain".into() };
        if user {
            bundle.user_namespace();
        }
        expect![[r#"
            0

            /opt/a:
            /opt/b:
            /proc/bus:
            /sys/firmware:
            touch: /opt/a/x: Read-only file system
        "#]]
        .assert_eq(&world.says(&bundle).replace("\n\n\n\n", "\n\n").replace("\n\n\n", "\n\n"));
    }
}

fn holes(paths: &[&str]) -> Vec<serde_json::Value> {
    let options = ["nosuid", "noexec", "nodev"];
    paths
        .iter()
        .map(|path| json!({ "destination": path, "type": "proc", "source": path, "options": options }))
        .collect()
}

fn read_only_paths_and_their_holes() {
    let world = World::new();
    for user in [false, true] {
        let mut bundle = Bundle::script(
            if user { "user" } else { "plain" },
            "mount | grep -e /proc/sys -e /proc/bus; echo 1 > /proc/sys/net/ipv4/ip_forward; \
             cat /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/kernel/panic",
        );
        bundle.spec["process"]["args"][2] = json!(
            "exec 2>&1; mount | grep -e /proc/sys -e /proc/bus; echo 1 > /proc/sys/net/ipv4/ip_forward; \
             cat /proc/sys/net/ipv4/ip_forward; (echo 1 > /proc/sys/kernel/panic) || true"
        );
        bundle.spec["linux"]["readonlyPaths"] = json!(["/proc/sys", "/proc/bus"]);
        bundle.capabilities(&["NET_ADMIN"]);
        holes(&["/proc/sys/net"]).into_iter().for_each(|hole| bundle.add_mount(hole));
        if user {
            bundle.user_namespace();
        }
        expect![[r#"
            proc on /proc/sys type proc (ro,nosuid,nodev,noexec,relatime)
            proc on /proc/bus type proc (ro,nosuid,nodev,noexec,relatime)
            proc on /proc/sys/net type proc (rw,nosuid,nodev,noexec,relatime)
            1
            sh: can't create /proc/sys/kernel/panic: Read-only file system
        "#]]
        .assert_eq(&world.says(&bundle));
    }
}

fn ipc_holes_show_as_documented() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "mount | grep /proc/sys/ | cut -d' ' -f3,6");
    bundle.spec["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    let names =
        ["shmmax", "shmmni", "shmall", "shm_rmid_forced", "msgmax", "msgmni", "msgmnb", "sem"];
    let paths: Vec<String> = names.iter().map(|name| format!("/proc/sys/kernel/{name}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    holes(&paths).into_iter().for_each(|hole| bundle.add_mount(hole));
    holes(&["/proc/sys/fs/mqueue"]).into_iter().for_each(|hole| bundle.add_mount(hole));
    let text = world.says(&bundle);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 9, "{text}");
    assert_eq!(lines[0], "/proc/sys/kernel/shmmax (rw,nosuid,nodev,noexec,relatime)");
    assert_eq!(lines[8], "/proc/sys/fs/mqueue (rw,nosuid,nodev,noexec,relatime)");
}

fn a_read_only_rootfs() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "touch /x 2>&1; touch /dev/x /new/x && echo ok");
    bundle.spec["root"]["readonly"] = json!(true);
    bundle.add_mount(mount("/new", "tmpfs", &[]));
    expect![[r#"
        touch: /x: Read-only file system
        ok
    "#]]
    .assert_eq(&world.says(&bundle));
}

fn sysctl_is_set_in_the_container_alone() {
    let world = World::new();
    let before = fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    for user in [false, true] {
        let mut bundle = Bundle::script(
            if user { "user" } else { "plain" },
            "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max",
        );
        bundle.spec["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "4711", "fs/mqueue/msg_max": "9" });
        bundle.spec["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
        if user {
            bundle.user_namespace();
        }
        assert_eq!(world.says(&bundle), "1\n4711\n9\n");
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), before);
}
