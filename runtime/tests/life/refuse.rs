//! Bundles that are wrong: what is said, and that nothing is left.

use std::fs;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::world::{Bundle, World, bind, mount};

crate::cases!(
    a_bundle_that_cannot_be_read,
    what_a_mount_cannot_be,
    what_a_container_cannot_have,
    an_unknown_member_is_passed_over,
);

fn refused(change: impl FnOnce(&mut Bundle), expected: Expect) {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    change(&mut bundle);
    expected.assert_eq(&world.refuses(&bundle));
    fs::remove_dir_all(&bundle.directory).unwrap();
}

fn set(path: &'static str, value: Value) -> impl FnOnce(&mut Bundle) {
    move |bundle| *bundle.spec.pointer_mut(path).unwrap() = value
}

fn a_bundle_that_cannot_be_read() {
    let world = World::new();
    let bundle = Bundle::script("web", "true");
    let create = || {
        let request = runtime::CreateRequest::new("web", &bundle.directory);
        world.runtime.create(request).unwrap_err().flatten()
    };
    expect!["read /mnt/web/config.json: no such file or directory (ENOENT)"].assert_eq(&create());
    fs::write(bundle.directory.join("config.json"), "{ \"ociVersion\": 1 }").unwrap();
    expect!["parse /mnt/web/config.json: invalid type: integer `1`, expected a string at line 1 column 17"]
        .assert_eq(&create());
    fs::write(bundle.directory.join("config.json"), "{ \"ociVersion\": \"1.0.0\" } x").unwrap();
    expect!["parse /mnt/web/config.json: trailing characters at line 1 column 27"]
        .assert_eq(&create());
    world.assert_nothing_left(&bundle);
}

fn what_a_mount_cannot_be() {
    refused(
        |bundle| bundle.add_mount(bind("/mnt/nowhere", "/v", &[])),
        expect![
            "bind /mnt/nowhere on /v: clone the mount at /mnt/nowhere: no such file or directory (ENOENT)"
        ],
    );
    refused(
        |bundle| bundle.add_mount(bind("/mnt", "/v", &["size=5"])),
        expect![[
            r#"config.json: mounts[4] (/v): option "size" means nothing to a bind mount; leave it out"#
        ]],
    );
    refused(
        |bundle| bundle.add_mount(mount("/v", "nosuchfs", &[])),
        expect![
            "mount nosuchfs on /v: open filesystem nosuchfs: no such device (ENODEV); the kernel has no such filesystem; load its module"
        ],
    );
    refused(
        |bundle| bundle.add_mount(mount("/v", "tmpfs", &["nosuchoption=1"])),
        expect![
            "mount /v: set nosuchoption=1 of tmpfs: tmpfs: Unknown parameter 'nosuchoption': invalid argument (EINVAL)"
        ],
    );
    refused(
        |bundle| bundle.add_mount(mount("/v", "tmpfs", &["rro"])),
        expect!["config.json: mounts[4] (/v): options for a whole tree are for bind mounts"],
    );
    refused(
        |bundle| bundle.add_mount(mount("/v", "tmpfs", &["idmap"])),
        expect!["config.json: mounts[4] (/v): only a bind mount can be idmapped; add bind"],
    );
    refused(
        |bundle| {
            fs::write(bundle.rootfs().join("file"), "").unwrap();
            bundle.add_mount(mount("/file", "tmpfs", &[]));
        },
        expect!["mount /file: make directory \"/file\": not a directory (ENOTDIR)"],
    );
}

fn what_a_container_cannot_have() {
    refused(
        |bundle| bundle.namespace("mount", None),
        expect![
            "config.json: linux.namespaces: a container needs a mount namespace of its own; add {\"type\": \"mount\"}"
        ],
    );
    refused(
        |bundle| bundle.spec["linux"]["sysctl"] = json!({ "vm.swappiness": "1" }),
        expect![
            "config.json: linux.sysctl.vm.swappiness: belongs to the whole host; set it there, not in a container"
        ],
    );
    refused(
        |bundle| {
            bundle.namespace("network", None);
            bundle.spec["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        },
        expect![
            "config.json: linux.sysctl.net.ipv4.ip_forward: needs a net namespace that is not the host's"
        ],
    );
    refused(
        |bundle| bundle.spec["linux"]["sysctl"] = json!({ "net.ipv4.nosuch": "1" }),
        expect![[
            r#"set sysctl net/ipv4/nosuch to "1": open /proc/sys/net/ipv4/nosuch: no such file or directory (ENOENT)"#
        ]],
    );
    refused(
        |bundle| bundle.spec["linux"]["sysctl"] = json!({ "net.../../kernel/panic": "1" }),
        expect![
            "config.json: linux.sysctl.net.../../kernel/panic: is no name of a kernel parameter"
        ],
    );
    refused(
        set("/process/cwd", json!("relative")),
        expect!["config.json: process.cwd: \"relative\" is not an absolute path"],
    );
}

fn an_unknown_member_is_passed_over() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "echo fine");
    bundle.spec["fromTheFuture"] = json!({ "a": 1 });
    bundle.spec["linux"]["alsoNew"] = json!([1]);
    assert_eq!(world.says(&bundle), "fine\n");
}
