//! The cgroup mount: as the host's, from the container's own cgroup down.

use expect_test::expect;
use serde_json::json;

use crate::world::{Bundle, World, mount};

crate::cases!(
    cgroups_look_like_the_hosts,
    a_system_container_manages_its_tree,
    without_a_cgroup_namespace_only_its_own_cgroups_show,
);

fn with_cgroups(id: &str, script: &str, option: &str) -> Bundle {
    let mut bundle = Bundle::script(id, script);
    bundle.add_mount(mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", option]));
    bundle
}

fn cgroups_look_like_the_hosts() {
    let world = World::new();
    let text = world.says(&with_cgroups(
        "web",
        "mount | grep cgroup | cut -d' ' -f3,5,6; cat /proc/self/cgroup; \
         mkdir /sys/fs/cgroup/*/x 2>&1 | grep -v Read-only; true",
        "ro",
    ));
    let layout = linux::cgroup::Layout::detect().unwrap();
    for hierarchy in layout.hierarchies() {
        let name = match hierarchy.version {
            linux::cgroup::Version::V2 => "unified",
            linux::cgroup::Version::V1 => {
                hierarchy.mount_point.file_name().unwrap().to_str().unwrap()
            }
        };
        let place = match layout.kind() {
            linux::cgroup::Kind::Unified => "/sys/fs/cgroup cgroup2 (ro".to_owned(),
            _ => format!("/sys/fs/cgroup/{name} cgroup"),
        };
        assert!(text.contains(&place), "{place} is not in\n{text}");
    }
    assert!(!text.contains("(rw"), "{text}");
    // The container's own cgroup is the top of each.
    let memberships = text.lines().filter(|line| line.contains(":/"));
    assert!(memberships.clone().count() > 0);
    assert!(memberships.clone().all(|line| line.ends_with(":/")), "{text}");
}

fn a_system_container_manages_its_tree() {
    let world = World::new();
    let unified = linux::cgroup::Layout::detect().unwrap().kind() == linux::cgroup::Kind::Unified;
    for user in [false, true] {
        let script = if unified {
            "mkdir /sys/fs/cgroup/init.scope && echo made"
        } else {
            "cd /sys/fs/cgroup; mkdir systemd/init.scope unified/init.scope && echo made; \
             mkdir memory/x 2>&1; mkdir new 2>&1; echo 0 > systemd/init.scope/cgroup.procs; \
             grep systemd /proc/self/cgroup | cut -d: -f3"
        };
        let mut bundle = with_cgroups(if user { "user" } else { "plain" }, script, "rw");
        bundle.spec["annotations"] = json!({ "org.isula.system-container": "true" });
        if user {
            bundle.user_namespace();
        }
        let text = world.says(&bundle);
        if unified {
            assert_eq!(text, "made\n");
            continue;
        }
        expect![[r#"
            made
            mkdir: can't create directory 'memory/x': Read-only file system
            mkdir: can't create directory 'new': Read-only file system
            /init.scope
        "#]]
        .assert_eq(&text);
    }
}

fn without_a_cgroup_namespace_only_its_own_cgroups_show() {
    let world = World::new();
    let mut bundle = with_cgroups("web", "cat /sys/fs/cgroup/*/cgroup.procs | sort -u", "ro");
    bundle.spec["process"]["args"][2] = json!(
        "ls -d /sys/fs/cgroup/*/ | head -3 > /dev/null; \
         cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs 2> /dev/null | grep -c ^1$ > /n; \
         [ $(cat /n) -gt 0 ] && echo own; grep -c sysc-runtime /proc/self/cgroup > /m; \
         [ $(cat /m) -gt 0 ] && echo named"
    );
    bundle.namespace("cgroup", None);
    assert_eq!(world.says(&bundle), "own\nnamed\n");
}
