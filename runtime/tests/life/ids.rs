//! User namespaces and the owners of files.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use expect_test::expect;
use serde_json::json;

use crate::world::{Bundle, World, bind};

crate::cases!(
    a_rootfs_of_the_host_is_shown_as_the_containers,
    a_rootfs_of_the_container_is_used_as_it_is,
    a_rootfs_of_somebody_else_is_refused,
    volumes_are_idmapped_where_asked,
    a_volume_with_a_map_of_its_own,
    a_rootfs_below_a_closed_directory,
    the_start_socket_answers_to_the_host,
    groups_and_umask,
);

const OWNERS: &str =
    "stat -c '%u:%g' /bin/busybox /etc; touch /etc/made; stat -c '%u:%g' /etc/made";

fn owner(path: impl AsRef<std::path::Path>) -> (u32, u32) {
    let stat = fs::metadata(path).unwrap();
    (stat.uid(), stat.gid())
}

fn a_rootfs_of_the_host_is_shown_as_the_containers() {
    let world = World::new();
    let mut bundle = Bundle::script("web", OWNERS);
    bundle.user_namespace();
    assert_eq!(world.says(&bundle), "0:0\n0:0\n0:0\n");
    assert_eq!(owner(bundle.rootfs().join("etc/made")), (0, 0));
}

fn chown_all(directory: &std::path::Path, id: u32) {
    chown(directory, Some(id), Some(id)).unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            chown_all(&path, id);
        } else if !path.is_symlink() {
            chown(path, Some(id), Some(id)).unwrap();
        }
    }
}

fn a_rootfs_of_the_container_is_used_as_it_is() {
    let world = World::new();
    let mut bundle = Bundle::script("web", OWNERS);
    bundle.user_namespace();
    chown_all(&bundle.rootfs(), 100_000);
    assert_eq!(world.says(&bundle), "0:0\n0:0\n0:0\n");
    assert_eq!(owner(bundle.rootfs().join("etc/made")), (100_000, 100_000));
}

fn a_rootfs_of_somebody_else_is_refused() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    bundle.user_namespace();
    chown(bundle.rootfs(), Some(5), Some(6)).unwrap();
    expect!["config.json: root.path: /mnt/web/rootfs belongs to 5:6, which the container's id maps do not cover; chown it to the container's root, or to 0:0 to have it shown as the container's"]
        .assert_eq(&world.refuses(&bundle));
}

fn volumes_are_idmapped_where_asked() {
    let world = World::new();
    fs::create_dir("/mnt/volume").unwrap();
    let mut bundle = Bundle::script(
        "web",
        "stat -c '%n %u:%g' /plain /shown; touch /shown/made && echo ok; touch /plain/made 2>&1",
    );
    bundle.user_namespace();
    bundle.add_mount(bind("/mnt/volume", "/plain", &[]));
    bundle.add_mount(bind("/mnt/volume", "/shown", &["idmap"]));
    let ended = world.run(&bundle).unwrap();
    expect![[r#"
        /plain 65534:65534
        /shown 0:0
        ok
        touch: /plain/made: Permission denied
    "#]]
    .assert_eq(&ended.text);
    assert_eq!(owner("/mnt/volume/made"), (0, 0));
    let mut bundle = Bundle::script("no-maps", "true");
    bundle.add_mount(bind("/mnt/volume", "/shown", &["idmap"]));
    let text = world.refuses(&bundle);
    assert!(text.contains("mounts[4]") && text.contains("idmap"), "{text}");
}

fn a_volume_with_a_map_of_its_own() {
    let world = World::new();
    fs::create_dir("/mnt/volume").unwrap();
    for user in [false, true] {
        let name = if user { "user" } else { "plain" };
        let mut bundle = Bundle::script(name, "stat -c '%u:%g' /v; touch /v/$(hostname)");
        let host = if user { 100_070 } else { 70 };
        let mut volume = bind("/mnt/volume", "/v", &["idmap"]);
        // Owner 0 on disk is shown as the container's 70, and its 0 is written as nobody's: so the
        // file is made by 70.
        volume["uidMappings"] = json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
        volume["gidMappings"] = json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
        bundle.add_mount(volume);
        bundle.spec["hostname"] = json!(name);
        bundle.spec["process"]["user"] = json!({ "uid": 70, "gid": 70 });
        if user {
            bundle.user_namespace();
        }
        assert_eq!(world.says(&bundle), "70:70\n");
        assert_eq!(owner(format!("/mnt/volume/{name}")), (0, 0));
    }
}

fn a_rootfs_below_a_closed_directory() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "echo inside");
    bundle.user_namespace();
    // Somebody's home: closed to everybody else, and to root of a user namespace.
    fs::create_dir("/mnt/home").unwrap();
    fs::rename(bundle.rootfs(), "/mnt/home/rootfs").unwrap();
    chown("/mnt/home", Some(1000), Some(1000)).unwrap();
    fs::set_permissions("/mnt/home", fs::Permissions::from_mode(0o700)).unwrap();
    bundle.spec["root"]["path"] = json!("/mnt/home/rootfs");
    bundle.spec["hooks"] = json!({ "createRuntime": [
        { "path": "/bin/busybox", "args": ["sh", "-c",
          "pid=$(grep -o '\"pid\":[0-9]*' | cut -d: -f2); \
           touch /proc/$pid/root/mnt/home/rootfs/dev/seen"] },
    ]});
    bundle.spec["process"]["args"][2] = json!("ls /dev | grep seen; echo inside");
    assert_eq!(world.says(&bundle), "seen\ninside\n");
}

fn the_start_socket_answers_to_the_host() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "echo started");
    bundle.user_namespace();
    assert_eq!(world.says(&bundle), "started\n");
}

fn groups_and_umask() {
    let world = World::new();
    for user in [false, true] {
        let mut bundle = Bundle::script(
            if user { "user" } else { "plain" },
            "id -u; id -g; id -G; umask; cat /proc/self/setgroups",
        );
        bundle.spec["process"]["user"] =
            json!({ "uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o27 });
        if user {
            bundle.user_namespace();
        }
        assert_eq!(world.says(&bundle), "5\n6\n6 7 8\n0027\nallow\n");
    }
}
