//! Hooks of every kind: when, where, with what, and what their failure does.

use std::fs;
use std::path::Path;

use expect_test::expect;
use serde_json::{Value, json};

use crate::world::{Bundle, World};

crate::cases!(
    every_kind_runs_in_its_place_and_order,
    runtime_hooks_see_the_mounts_below_the_rootfs,
    hooks_in_the_container_are_as_confined_as_its_program,
    a_failing_hook_before_the_start_undoes_everything,
    a_failing_start_container_hook_stops_it,
    a_failing_poststart_hook_stops_it,
    a_failing_poststop_hook_changes_nothing,
    a_hook_that_takes_too_long_dies_with_its_children,
    what_a_hook_leaves_running_does_not_hold_us,
    a_hook_has_the_environment_it_names,
    hooks_are_checked_before_anything_is_made,
);

const LOG: &str = "/mnt/log";

/// A hook of the host that runs a script of busybox.
fn hook(script: &str) -> Value {
    json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] })
}

/// Writes a line with what it reads from the state on its stdin.
fn telling(kind: &str) -> Value {
    let script = format!(
        "s=$(cat); echo {kind} $(echo $s | grep -o '\"status\":\"[a-z]*\"' | cut -d: -f2) \
         $(readlink /proc/self/ns/mnt | md5sum | cut -c1-4) >> {LOG}"
    );
    hook(&script)
}

fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

fn every_kind_runs_in_its_place_and_order() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "echo program >> /log");
    let inside = json!({ "path": "/bin/sh", "args": ["sh", "-c",
        "s=$(cat); echo startContainer $(echo $s | grep -o '\"status\":\"[a-z]*\"') \
         $(echo $s | grep -o '\"pid\":[0-9]*') >> /log"] });
    bundle.spec["hooks"] = json!({
        "prestart": [telling("prestart")],
        "createRuntime": [telling("createRuntime"), telling("createRuntime2")],
        "createContainer": [telling("createContainer")],
        "startContainer": [inside],
        "poststart": [telling("poststart")],
        "poststop": [telling("poststop")],
    });
    world.says(&bundle);
    let text = log();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let said: Vec<String> = lines.iter().map(|line| line[..2].join(" ")).collect();
    assert_eq!(
        said,
        [
            r#"prestart "creating""#,
            r#"createRuntime "creating""#,
            r#"createRuntime2 "creating""#,
            r#"createContainer "creating""#,
            r#"poststart "running""#,
            r#"poststop "stopped""#,
        ]
    );
    // The runtime's mount namespace, but for createContainer.
    let place = |index: usize| lines[index][2];
    assert_eq!(place(0), place(5));
    assert_ne!(place(3), place(0));
    expect![[r#"
        startContainer "status":"created" "pid":1
        program
    "#]]
    .assert_eq(&fs::read_to_string(bundle.rootfs().join("log")).unwrap());
}

fn runtime_hooks_see_the_mounts_below_the_rootfs() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "cat /dev/made /etc/made; stat -c %t:%T /dev/node");
    let script = "s=$(cat); pid=$(echo $s | grep -o '\"pid\":[0-9]*' | cut -d: -f2); \
         root=$(echo $s | grep -o '\"root\":\"[^\"]*\"' | cut -d'\"' -f4); \
         echo by-hook > /proc/$pid/root$root/dev/made; \
         mknod /proc/$pid/root$root/dev/node c 1 3; \
         echo in-etc > /proc/$pid/root$root/etc/made";
    bundle.spec["hooks"] = json!({ "prestart": [hook(script)] });
    expect![[r#"
        by-hook
        in-etc
        1:3
    "#]]
    .assert_eq(&world.says(&bundle));
    assert!(!bundle.rootfs().join("dev/made").exists(), "it went to the container's own /dev");
}

fn hooks_in_the_container_are_as_confined_as_its_program() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "cat /hook; grep CapEff /proc/self/status");
    bundle.capabilities(&["CHOWN"]);
    let script = "grep CapEff /proc/self/status > /hook; ls /proc/self/fd | wc -l >> /hook";
    bundle.spec["hooks"] =
        json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    // 0, 1, 2, and ls's own.
    expect![[r#"
        CapEff:	0000000000000001
        4
        CapEff:	0000000000000001
    "#]]
    .assert_eq(&world.says(&bundle));
}

fn a_failing_hook_before_the_start_undoes_everything() {
    let world = World::new();
    for (kind, expected) in [
        ("prestart", expect!["prestart hook /bin/busybox: exited with status 3: no luck"]),
        (
            "createRuntime",
            expect!["createRuntime hook /bin/busybox: exited with status 3: no luck"],
        ),
        (
            "createContainer",
            expect!["createContainer hook /bin/busybox: exited with status 3: no luck"],
        ),
    ] {
        let mut bundle = Bundle::script(kind, "true");
        let poststop = hook(&format!("echo poststop >> {LOG}"));
        bundle.spec["hooks"] =
            json!({ kind: [hook("echo no luck; exit 3")], "poststop": [poststop] });
        expected.assert_eq(&world.refuses(&bundle));
    }
}

fn a_failing_start_container_hook_stops_it() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "echo never");
    bundle.spec["hooks"] = json!({ "startContainer": [{ "path": "/bin/nosuch" }] });
    expect!["startContainer hook /bin/nosuch: exited with status 127: exec /bin/nosuch: no such file or directory (ENOENT)"]
        .assert_eq(&world.refuses(&bundle));
}

fn a_failing_poststart_hook_stops_it() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "sleep 1000");
    bundle.spec["hooks"] = json!({ "poststart": [hook("kill -TERM $$")] });
    expect!["poststart hook /bin/busybox: killed by SIGTERM"].assert_eq(&world.refuses(&bundle));
}

fn a_failing_poststop_hook_changes_nothing() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    let second = hook(&format!("echo second >> {LOG}"));
    bundle.spec["hooks"] = json!({ "poststop": [hook("exit 1"), second] });
    world.says(&bundle);
    world.assert_nothing_left(&bundle);
    assert_eq!(log(), "second\n");
}

fn a_hook_that_takes_too_long_dies_with_its_children() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    let mut slow = hook("echo waiting; sleep 1000 & echo $! > /mnt/child; wait");
    slow["timeout"] = json!(1);
    bundle.spec["hooks"] = json!({ "createRuntime": [slow] });
    expect!["createRuntime hook /bin/busybox: killed after 1 s: waiting"]
        .assert_eq(&world.refuses(&bundle));
    let child = fs::read_to_string("/mnt/child").unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

fn what_a_hook_leaves_running_does_not_hold_us() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    let daemon = hook("(while :; do echo noise; sleep 0.01; done) & echo $! > /mnt/child");
    bundle.spec["hooks"] = json!({ "createRuntime": [daemon] });
    world.says(&bundle);
    let child: i32 = fs::read_to_string("/mnt/child").unwrap().trim().parse().unwrap();
    let child = linux::process::Pid::new(child).unwrap();
    linux::process::PidFd::open(child).unwrap().signal(linux::signal::Signal::KILL).unwrap();
}

fn a_hook_has_the_environment_it_names() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    let mut named =
        hook(&format!("env | grep -v -e PATH -e PWD -e SHLVL -e ^_ >> {LOG}; pwd >> {LOG}"));
    named["env"] = json!(["A=1"]);
    bundle.spec["hooks"] = json!({ "createRuntime": [named] });
    world.says(&bundle);
    assert_eq!(log(), format!("A=1\n{}\n", bundle.directory.display()));
}

fn hooks_are_checked_before_anything_is_made() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    bundle.spec["hooks"] = json!({ "poststop": [{ "path": "relative" }] });
    expect!["config.json: hooks.poststop[0]: path relative is not absolute"]
        .assert_eq(&world.refuses(&bundle));
    bundle.spec["hooks"] = json!({ "prestart": [{ "path": "/bin/true", "timeout": 0 }] });
    let text = world.refuses(&bundle);
    assert!(text.contains("hooks.prestart[0]") && text.contains("timeout"), "{text}");
    assert!(!Path::new(LOG).exists());
}
