//! The file tree: mounts of every kind, devices.

use std::fs;
use std::os::unix::fs::symlink;

use expect_test::expect;
use serde_json::json;

use crate::world::{Bundle, World, bind, mount};

crate::cases!(
    default_devices_and_links_are_there,
    devices_of_the_bundle_win_and_may_lie_anywhere,
    without_a_dev_mount_the_nodes_are_bound,
    a_bound_dev_is_left_alone,
    binds_keep_or_change_attributes,
    recursive_attributes_reach_the_mounts_below,
    a_file_is_bound_on_a_file,
    targets_are_made_inside_the_rootfs,
    links_of_the_rootfs_lead_nowhere_else,
    proc_sys_and_dev_are_real_directories,
    a_filesystem_of_the_host_is_mounted,
    nothing_shows_on_the_host,
    propagation_follows_the_options,
    the_hosts_root_as_rootfs,
    without_pivot_root,
);

fn default_devices_and_links_are_there() {
    let world = World::new();
    let bundle = Bundle::script(
        "web",
        "cd /dev; stat -c '%n %F %t:%T %a %u' null zero full random urandom tty; \
         for l in fd stdin stdout stderr core ptmx; do readlink $l; done; echo x > null && echo ok",
    );
    expect![[r#"
        null character special file 1:3 666 0
        zero character special file 1:5 666 0
        full character special file 1:7 666 0
        random character special file 1:8 666 0
        urandom character special file 1:9 666 0
        tty character special file 5:0 666 0
        /proc/self/fd
        /proc/self/fd/0
        /proc/self/fd/1
        /proc/self/fd/2
        /proc/kcore
        pts/ptmx
        ok
    "#]]
    .assert_eq(&world.says(&bundle));
}

fn more_devices() -> serde_json::Value {
    json!([
        { "path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o620,
          "uid": 3, "gid": 4 },
        { "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640 },
        { "path": "/opt/pipe", "type": "p", "major": 0, "minor": 0 },
        { "path": "/opt/zero", "type": "u", "major": 1, "minor": 5 },
    ])
}

const SHOW: &str = "stat -c '%n %F %t:%T %a %u:%g' /dev/net/tun /dev/null /opt/pipe /opt/zero; \
    head -c 1 /opt/zero | od -An -tx1; ls /";

fn devices_of_the_bundle_win_and_may_lie_anywhere() {
    let world = World::new();
    for user in [false, true] {
        let mut bundle = Bundle::script(if user { "user" } else { "plain" }, SHOW);
        bundle.spec["linux"]["devices"] = more_devices();
        bundle.spec["linux"]["resources"] =
            json!({ "devices": [{ "allow": true, "access": "rwm" }] });
        if user {
            bundle.user_namespace();
        }
        expect![[r#"
            /dev/net/tun character special file a:c8 620 3:4
            /dev/null character special file 1:3 640 0:0
            /opt/pipe fifo 0:0 666 0:0
            /opt/zero character special file 1:5 666 0:0
             00
            bin
            dev
            etc
            opt
            proc
            sys
            tmp
        "#]]
        .assert_eq(&world.says(&bundle));
    }
}

fn without_a_dev_mount_the_nodes_are_bound() {
    let world = World::new();
    let mut bundle =
        Bundle::script("web", "stat -c '%t:%T' /dev/null /dev/urandom; echo x > /dev/null");
    bundle.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] == "/proc");
    bundle.user_namespace();
    expect![[r#"
        1:3
        1:9
    "#]]
    .assert_eq(&world.says(&bundle));
    let stat = fs::metadata(bundle.rootfs().join("dev/null")).unwrap();
    assert!(stat.is_file(), "only the mount point is left on the host");
}

fn a_bound_dev_is_left_alone() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "ls /dev");
    fs::create_dir("/mnt/dev").unwrap();
    fs::write("/mnt/dev/mine", "").unwrap();
    bundle.spec["mounts"] = json!([bind("/mnt/dev", "/dev", &[])]);
    assert_eq!(world.says(&bundle), "mine\n");
}

fn binds_keep_or_change_attributes() {
    let world = World::new();
    let mut bundle = Bundle::script(
        "web",
        "grep -e /a -e /b -e /c /proc/self/mountinfo | cut -d' ' -f5,6; \
         touch /a/x; touch /b/x 2>&1; ls /a",
    );
    fs::create_dir("/mnt/volume").unwrap();
    bundle.add_mount(bind("/mnt/volume", "/a", &[]));
    bundle.add_mount(bind("/mnt/volume", "/b", &["ro", "nosuid", "noexec"]));
    bundle.add_mount(bind("/mnt/volume", "/c", &["nodev", "noatime", "nosymfollow"]));
    expect![[r#"
        /a rw,relatime
        /b ro,nosuid,noexec,relatime
        /c rw,nodev,noatime,nosymfollow
        touch: /b/x: Read-only file system
        x
    "#]]
    .assert_eq(&world.says(&bundle));
}

fn recursive_attributes_reach_the_mounts_below() {
    let world = World::new();
    fs::create_dir_all("/mnt/volume/below").unwrap();
    let below = linux::mount::new_filesystem("tmpfs", None, &[], &Default::default()).unwrap();
    linux::mount::attach(below, fs::File::open("/mnt/volume/below").unwrap()).unwrap();
    let show = "grep -e /v /proc/self/mountinfo | cut -d' ' -f5,6";
    let mut single = Bundle::script("single", show);
    single.add_mount(bind("/mnt/volume", "/v", &["rbind", "ro"]));
    expect![[r#"
        /v ro,relatime
        /v/below rw,relatime
    "#]]
    .assert_eq(&world.says(&single));
    let mut all = Bundle::script("all", show);
    all.add_mount(bind("/mnt/volume", "/v", &["rbind", "rro", "rnosuid"]));
    expect![[r#"
        /v ro,nosuid,relatime
        /v/below ro,nosuid,relatime
    "#]]
    .assert_eq(&world.says(&all));
    let mut none = Bundle::script("none", show);
    none.add_mount(bind("/mnt/volume", "/v", &[]));
    assert_eq!(world.says(&none), "/v rw,relatime\n");
}

fn a_file_is_bound_on_a_file() {
    let world = World::new();
    fs::write("/mnt/hosts", "127.0.0.1 web\n").unwrap();
    let mut bundle = Bundle::script("web", "cat /etc/new/hosts");
    bundle.add_mount(bind("/mnt/hosts", "/etc/new/hosts", &["ro"]));
    assert_eq!(world.says(&bundle), "127.0.0.1 web\n");
    assert_eq!(fs::read_to_string(bundle.rootfs().join("etc/new/hosts")).unwrap(), "");
}

fn targets_are_made_inside_the_rootfs() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "stat -c '%a %u' /very/deep/target");
    bundle.add_mount(mount("/very/deep/target", "tmpfs", &["mode=711"]));
    bundle.user_namespace();
    assert_eq!(world.says(&bundle), "711 0\n");
    let made = fs::metadata(bundle.rootfs().join("very/deep")).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(made.uid(), 0, "the rootfs is idmapped: on disk the files are the host's");
}

fn links_of_the_rootfs_lead_nowhere_else() {
    let world = World::new();
    fs::create_dir("/mnt/outside").unwrap();
    for user in [false, true] {
        let mut bundle =
            Bundle::script(if user { "u" } else { "p" }, "grep /mnt/outside /proc/mounts");
        symlink("/mnt/outside", bundle.rootfs().join("volume")).unwrap();
        symlink("../../../../../../mnt/outside", bundle.rootfs().join("climbing")).unwrap();
        bundle.add_mount(mount("/volume/one", "tmpfs", &[]));
        bundle.add_mount(mount("/climbing/two", "tmpfs", &[]));
        if user {
            bundle.user_namespace();
        }
        let text = world.says(&bundle);
        assert!(text.contains("/mnt/outside/one") && text.contains("/mnt/outside/two"), "{text}");
        assert!(bundle.rootfs().join("mnt/outside/one").is_dir());
    }
    assert_eq!(fs::read_dir("/mnt/outside").unwrap().count(), 0);
}

fn proc_sys_and_dev_are_real_directories() {
    let world = World::new();
    fs::create_dir("/mnt/outside").unwrap();
    for name in ["proc", "sys", "dev"] {
        let bundle = Bundle::script(name, "true");
        fs::remove_dir(bundle.rootfs().join(name)).unwrap();
        symlink("/mnt/outside", bundle.rootfs().join(name)).unwrap();
        assert_eq!(
            world.refuses(&bundle),
            format!(
                "mount /{name}: open /{name} of the rootfs: too many levels of symbolic links \
                 (ELOOP); it is a link; make it a directory"
            )
        );
    }
    assert_eq!(fs::read_dir("/mnt/outside").unwrap().count(), 0);
}

fn a_filesystem_of_the_host_is_mounted() {
    let world = World::new();
    for directory in ["lower", "upper", "work"] {
        fs::create_dir_all(format!("/mnt/o/{directory}")).unwrap();
    }
    fs::write("/mnt/o/lower/file", "below\n").unwrap();
    let mut bundle = Bundle::script("web", "cat /v/file; echo new > /v/other");
    bundle.add_mount(json!({
        "destination": "/v", "type": "overlay", "source": "overlay",
        "options": ["lowerdir=/mnt/o/lower", "upperdir=/mnt/o/upper", "workdir=/mnt/o/work"],
    }));
    assert_eq!(world.says(&bundle), "below\n");
    assert_eq!(fs::read_to_string("/mnt/o/upper/other").unwrap(), "new\n");
}

fn nothing_shows_on_the_host() {
    let world = World::new();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let bundle = Bundle::script("web", "sleep 1000");
    let created = world.start(&bundle);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    let inside = fs::read_to_string(format!("/proc/{}/mountinfo", created.pid)).unwrap();
    assert_eq!(inside.lines().count(), 5, "nothing of the host is left inside:\n{inside}");
    world.runtime.delete("web", true).unwrap();
    created.pidfd.wait().unwrap();
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}

fn propagation_follows_the_options() {
    let world = World::new();
    linux::mount::set_propagation("/mnt", linux::mount::Propagation::Shared, false).unwrap();
    fs::create_dir_all("/mnt/volume/late").unwrap();
    let show = "grep -e ' /[a-d] ' /proc/self/mountinfo | cut -d' ' -f5,7 | sed 's/:.*//'";
    let mut bundle = Bundle::script("web", show);
    bundle.add_mount(bind("/mnt/volume", "/a", &[]));
    bundle.add_mount(bind("/mnt/volume", "/b", &["rslave"]));
    bundle.add_mount(bind("/mnt/volume", "/c", &["rshared"]));
    bundle.add_mount(bind("/mnt/volume", "/d", &["private"]));
    expect![[r#"
        /a -
        /b master
        /c shared
        /d -
    "#]]
    .assert_eq(&world.says(&bundle));
    for (propagation, expected) in [("shared", "/ shared"), ("rslave", "/ -"), ("rprivate", "/ -")]
    {
        let mut bundle = Bundle::script(
            propagation,
            "grep ' / / \\|rootfs / ' /proc/self/mountinfo | cut -d' ' -f5,7 | sed 's/:.*//'",
        );
        bundle.spec["linux"]["rootfsPropagation"] = json!(propagation);
        let text = world.says(&bundle);
        if propagation == "rslave" {
            assert_eq!(text, "/ master\n");
        } else {
            assert_eq!(text.trim_end(), expected, "{propagation}");
        }
    }
    assert_eq!(fs::read_dir("/mnt/volume/late").unwrap().count(), 0);
}

fn the_hosts_root_as_rootfs() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "exit 5");
    bundle.spec["process"]["args"] = json!(["/bin/busybox", "sh", "-c", "echo $$; exit 5"]);
    bundle.spec["root"]["path"] = json!("/");
    let ended = world.run(&bundle).unwrap();
    assert_eq!((ended.status.code(), ended.text.as_str()), (5, "1\n"));
}

fn without_pivot_root() {
    let world = World::new();
    let bundle = Bundle::script("web", "ls /; cd ..; pwd");
    bundle.write();
    let output = crate::world::output_file();
    let mut request = runtime::CreateRequest::new("web", &bundle.directory);
    request.no_pivot = true;
    use std::os::fd::AsFd as _;
    request.stdio = runtime::Stdio::Use {
        stdin: output.as_fd(),
        stdout: output.as_fd(),
        stderr: output.as_fd(),
    };
    let created = world.runtime.create(request).unwrap();
    world.runtime.start("web").unwrap();
    created.pidfd.wait().unwrap();
    assert_eq!(crate::world::read_all(output), "bin\ndev\netc\nproc\nsys\ntmp\n/\n");
    world.runtime.delete("web", false).unwrap();
}
