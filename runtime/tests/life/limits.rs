//! What a container may use, from its configuration and by update; pause and resume.

use expect_test::expect;
use linux::cgroup::{Cgroup, CgroupPath, Layout};
use linux::signal::Signal;
use oci_spec::runtime::LinuxResources;
use runtime::Status;
use serde_json::{Value, json};

use crate::world::{Bundle, World};

crate::cases!(
    limits_come_from_the_configuration,
    a_limit_that_cannot_be_set_leaves_nothing,
    limits_are_changed_while_it_runs,
    a_paused_container_stands_still,
    devices_are_those_that_were_granted,
    everybody_in_it_is_listed,
);

fn resources(resources: Value) -> LinuxResources {
    serde_json::from_value(resources).unwrap()
}

fn cgroup(bundle: &Bundle) -> Cgroup {
    let layout = Layout::detect().unwrap();
    for controller in ["memory", "pids"] {
        if layout.with(controller).is_none() {
            crate::skip("no memory and pids controllers");
        }
    }
    Cgroup::open(&layout, &CgroupPath::parse(&bundle.cgroup()).unwrap()).unwrap()
}

fn end(world: &World, id: &str) {
    world.runtime.delete(id, true).unwrap_or_else(|error| panic!("{}", error.flatten()));
}

fn limits_come_from_the_configuration() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "sleep 1000");
    bundle.spec["linux"]["resources"] =
        json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 20 } });
    world.start(&bundle);
    let cgroup = cgroup(&bundle);
    assert_eq!(cgroup.memory_limit().unwrap(), Some(64 << 20));
    let pids = cgroup.pids().unwrap().unwrap();
    assert_eq!((pids.current, pids.limit), (1, Some(20)));
    end(&world, "web");
}

fn a_limit_that_cannot_be_set_leaves_nothing() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    bundle.spec["linux"]["resources"] = json!({ "cpu": { "cpus": "60000" } });
    let error = world.refuses(&bundle);
    assert!(error.contains("linux.resources.cpu.cpus: write \"60000\" to "), "{error}");
    bundle.spec["linux"]["resources"] =
        json!({ "hugepageLimits": [{ "pageSize": "x", "limit": 1 }] });
    let error = world.refuses(&bundle).replace(&bundle.cgroup(), "PATH");
    expect![[r#"set up cgroup PATH: linux.resources.hugepageLimits: page size "x": invalid argument (EINVAL); write it as in 2MB or 1GB"#]]
        .assert_eq(&error);
}

fn limits_are_changed_while_it_runs() {
    let world = World::new();
    let bundle = Bundle::script("web", "sleep 1000");
    world.start(&bundle);
    let cgroup = cgroup(&bundle);
    let update = |value| world.runtime.update("web", &resources(value));
    update(json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 20 } })).unwrap();
    assert_eq!(cgroup.memory_limit().unwrap(), Some(64 << 20));
    let error = update(json!({
        "memory": { "limit": 33_554_432 }, "unified": { "nonsense.max": "1" },
    }));
    assert!(
        error.unwrap_err().flatten().starts_with("update container web: linux.resources.unified")
    );
    assert_eq!(cgroup.memory_limit().unwrap(), Some(64 << 20));
    update(json!({ "memory": { "limit": -1 } })).unwrap();
    assert_eq!(cgroup.memory_limit().unwrap(), None);
    assert_eq!(cgroup.pids().unwrap().unwrap().limit, Some(20));
    end(&world, "web");
    let error = update(json!({})).unwrap_err();
    expect![[r#"container "web" does not exist"#]].assert_eq(&error.flatten());
}

fn a_paused_container_stands_still() {
    let world = World::new();
    let bundle = Bundle::script("web", "sleep 1000");
    let created = world.create(&bundle).unwrap();
    let error = world.runtime.pause("web").unwrap_err();
    expect![[r#"container "web" is created; only a running container can be paused"#]]
        .assert_eq(&error.flatten());
    world.runtime.start("web").unwrap();
    world.runtime.pause("web").unwrap();
    assert_eq!(world.runtime.state("web").unwrap().status, Status::Paused);
    let error = world.runtime.pause("web").unwrap_err();
    expect![[r#"container "web" is paused; only a running container can be paused"#]]
        .assert_eq(&error.flatten());
    world.runtime.resume("web").unwrap();
    assert_eq!(world.runtime.state("web").unwrap().status, Status::Running);
    let error = world.runtime.resume("web").unwrap_err();
    expect![[r#"container "web" is running; only a paused container can be resumed"#]]
        .assert_eq(&error.flatten());
    world.runtime.pause("web").unwrap();
    world.runtime.kill("web", Signal::KILL, false).unwrap();
    created.pidfd.exits_within(None).unwrap();
    let error = world.runtime.pause("web").unwrap_err();
    expect![[r#"container not running: "web" is stopped"#]].assert_eq(&error.flatten());
    end(&world, "web");
}

fn devices_are_those_that_were_granted() {
    let world = World::new();
    let script = "mknod /dev/x c 1 11 && cat /dev/x; cat /dev/zero | dd count=1 of=/dev/null; echo";
    let mut bundle = Bundle::script("web", &format!("{{ {script}; }} 2>&1 | grep -v records"));
    // A node of /dev/kmsg: it may be made by all, and opened by nobody.
    let text = world.says(&bundle);
    assert!(text.starts_with("cat: can't open '/dev/x': Operation not permitted\n"), "{text}");
    bundle =
        Bundle::script("granted", "mknod /dev/x c 1 7 && dd if=/dev/x bs=1 count=1 2>&1 | wc -c");
    bundle.spec["linux"]["resources"] = json!({ "devices": [
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm" },
    ] });
    assert_ne!(world.says(&bundle).trim(), "0");
}

fn everybody_in_it_is_listed() {
    let world = World::new();
    let bundle = Bundle::script("web", "sleep 1000 & sleep 1000 & wait");
    let created = world.start(&bundle);
    crate::world::until("three processes", || world.runtime.pids("web").unwrap().len() == 3);
    assert!(world.runtime.pids("web").unwrap().contains(&created.pid));
    world.runtime.kill("web", Signal::KILL, true).unwrap();
    assert_eq!(world.runtime.pids("web").unwrap(), []);
    end(&world, "web");
}
