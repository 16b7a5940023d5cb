//! Devices into running containers, as the user guide has it and as the predecessor had not.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::need::{BUSYBOX, IDMAP_TMPFS, ROOT};
use tests::{Container, Story, World, story};

use crate::added::{nodes, sh};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_device::a_character_device_comes_and_goes", &[ROOT, BUSYBOX], character),
        story("hotplug_device::a_stopped_container_is_recorded", &[ROOT, BUSYBOX], stopped),
        story("hotplug_device::a_file_in_the_way", &[ROOT, BUSYBOX], in_the_way),
        story("hotplug_device::some_of_several", &[ROOT, BUSYBOX], partly),
        story("hotplug_device::what_the_bundle_grants_stays", &[ROOT, BUSYBOX], granted_twice),
        story("hotplug_device::exit_codes_and_json", &[ROOT, BUSYBOX], codes),
        story("hotplug_device::links_lead_nowhere_else", &[ROOT, BUSYBOX], hostile),
        story("hotplug_device::with_root_mapped", &[ROOT, BUSYBOX, IDMAP_TMPFS], mapped),
        story("hotplug_device::many_at_once_lose_nothing", &[ROOT, BUSYBOX], at_once),
        story("hotplug_device::a_torn_record_is_recovered", &[ROOT, BUSYBOX], torn),
        story("hotplug_device::a_signal_in_the_middle", &[ROOT, BUSYBOX], signal),
    ]
}

/// What is recorded of a container's devices.
pub(crate) fn listed(world: &World, container: &Container<'_>) -> Result<Vec<Value>> {
    let output = world.tools(["list-device", "--sub-partition", container.id()]).ok()?;
    serde_json::from_str(&output.stdout).with_context(|| output.to_string())
}

fn character(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "web"])?;
    world
        .tools(["add-device", "web", "/dev/fuse:/dev/n1:rw"])
        .ok()?
        .expect_stdout("Add device (/dev/fuse) to container(web,/dev/n1) done.\n")?;
    let stat = sh(&container, "stat -c '%F %t:%T' /dev/n1; : < /dev/n1 && : > /dev/n1 && echo ok")?;
    ensure!(stat.stdout == "character special file a:e5\nok\n", "{stat}");
    world.tools(["list-device", "web"]).ok()?.expect_stdout(concat!(
        r#"[{"Type":"c","Minor":229,"Major":10,"PathOnHost":"/dev/fuse","#,
        r#""PathInContainer":"/dev/n1","CgroupPermissions":"rw","Parent":""}]"#,
        "\n"
    ))?;
    let pretty = world.tools(["list-device", "web", "--pretty"]).ok()?;
    ensure!(pretty.stdout.starts_with("[\n\t{\n\t\t\"Type\": \"c\",\n"), "{pretty}");
    // Again is a conflict, and changes nothing.
    world.tools(["add-device", "web", "/dev/fuse:/dev/n1:rw"]).code(4)?.expect_stderr(
        "Failed to add device: device /dev/fuse:/dev/n1 has been already added into container",
    )?;
    world
        .tools(["remove-device", "web", ":/dev/n1"])
        .ok()?
        .expect_stdout("Remove device (/dev/fuse) from container(web,/dev/n1) done.\n")?;
    let gone = sh(&container, "test -e /dev/n1 || mknod /dev/n2 c 10 229; : < /dev/n2")?;
    ensure!(gone.code() != 0 && gone.stderr.contains("Operation not permitted"), "{gone}");
    world.tools(["list-device", "web"]).ok()?.expect_stdout("[]\n")?;
    container.remove()
}

fn stopped(world: &World) -> Result<()> {
    let container = world.create(&["--name", "web"], &world.busybox()?, &["sleep", "1000"])?;
    world.tools(["add-device", "web", "/dev/fuse"]).ok()?;
    ensure!(listed(world, &container)?.len() == 1, "it is recorded");
    // The same checks as for a running one.
    world
        .tools(["add-device", "web", "/dev/fuse:/proc/x"])
        .code(2)?
        .expect_stderr("it belongs to the kernel")?;
    container.isula("start", [""; 0]).ok()?;
    world.tools(["add-device", "--update-config-only", "web", "/dev/full:/dev/f2"]).ok()?;
    ensure!(listed(world, &container)?.len() == 2, "it is recorded, too");
    let none = sh(&container, "test -e /dev/f2")?;
    ensure!(none.code() == 1, "it is not in the container: {none}");
    container.remove()
}

fn in_the_way(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "web"])?;
    sh(&container, "echo mine > /dev/x; mkdir /dev/dir; ln -s /etc/passwd /dev/link")?;
    let add = |path: &str, force: bool| {
        let force: &[&str] = if force { &["--force"] } else { &[] };
        let device = format!("/dev/fuse:{path}");
        world.tools([&["add-device"], force, &["web", &device]].concat())
    };
    add("/dev/x", false)
        .code(4)?
        .expect_stderr("/dev/x exists in the container (regular file); use --force")?;
    ensure!(sh(&container, "cat /dev/x")?.stdout == "mine\n", "the file is as it was");
    ensure!(listed(world, &container)?.is_empty(), "nothing is recorded");
    add("/dev/x", true).ok()?;
    let look = sh(&container, "stat -c %F /dev/x; ls -A /dev | grep -c isulad")?;
    ensure!(look.stdout == "character special file\n0\n", "{look}");
    add("/dev/dir", true).code(4)?.expect_stderr("a directory or a mount point")?;
    add("/dev/shm", true).code(4)?.expect_stderr("a directory or a mount point")?;
    add("/dev/link", false).code(4)?.expect_stderr("symbolic link")?;
    ensure!(sh(&container, "readlink /dev/link")?.stdout == "/etc/passwd\n", "the link stays");
    container.remove()
}

fn partly(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "web"])?;
    sh(&container, "echo > /dev/x")?;
    let output = world
        .tools(["add-device", "web", "/dev/fuse:/dev/x", "/dev/fuse:/dev/y"])
        .code(6)?
        .expect_stdout("Add device (/dev/fuse) to container(web,/dev/y) done.\n")?;
    ensure!(output.stderr.contains("/dev/x exists"), "{output}");
    let devices = listed(world, &container)?;
    ensure!(devices.len() == 1 && devices[0]["PathInContainer"] == "/dev/y", "{devices:?}");
    container.remove()
}

/// Removing a device does not take what its bundle or another record grants.
fn granted_twice(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "web", "--device", "/dev/fuse:/dev/own:r"])?;
    let can = |access: &str| -> Result<bool> {
        Ok(sh(&container, &format!("[ -e /dev/t ] || mknod /dev/t c 10 229; : {access} /dev/t"))?
            .code()
            == 0)
    };
    ensure!(can("<")? && !can(">")?, "the bundle lets it read");
    world.tools(["add-device", "web", "/dev/fuse:/dev/a:rw", "/dev/fuse:/dev/b:w"]).ok()?;
    ensure!(can(">")?, "and now write");
    world.tools(["remove-device", "web", ":/dev/a"]).ok()?;
    ensure!(can("<")? && can(">")?, "the other record and the bundle still let it");
    world.tools(["remove-device", "web", ":/dev/b"]).ok()?;
    ensure!(can("<")? && !can(">")?, "it is as it was");
    container.remove()
}

fn codes(world: &World) -> Result<()> {
    let one = world.sleeper(&["--name", "web"])?;
    let tools = |line: &str| world.tools(line.split(' '));
    tools("list-device nobody").code(3)?.expect_stderr("no container matches \"nobody\"")?;
    tools("add-device web").code(2)?;
    tools("add-device web /dev/nonexistent")
        .code(2)?
        .expect_stderr("Failed to parse device: /dev/nonexistent, lstat /dev/nonexistent")?;
    tools("nonsense web").code(2)?.expect_stderr("nonsense")?;
    tools("--log-level loud list-device web").code(2)?.expect_stderr("--log-level")?;
    tools("relabel --rootfs /x").code(8)?.expect_stderr("label the rootfs of the container")?;
    // A prefix of one character means the container when it is the only one.
    tools(&format!("list-device {}", &one.id()[..1])).ok()?;
    let output = tools("--json add-device web /dev/null:/proc/x").code(2)?;
    let document: Value =
        serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
    ensure!(document["errors"][0]["kind"] == "usage" && document["code"] == 2, "{document}");
    let output = tools("add-device web /dev/fuse --json").ok()?;
    let document: Value =
        serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
    ensure!(document["done"][0]["container"] == "/dev/fuse", "{document}");
    tools("--dry-run remove-device web /dev/fuse")
        .ok()?
        .expect_stdout("Remove device (/dev/fuse) from container(web,/dev/fuse) done.\n")?;
    ensure!(listed(world, &one)?.len() == 1, "a dry run does nothing");
    let link = world.path("syscontainer-tools");
    std::os::unix::fs::symlink(tests::world::binaries()?.join("isulad-tools"), &link)?;
    let version = world.tool(&link.to_string_lossy()).arg("--version").ok()?;
    ensure!(version.stdout.contains("tools "), "{version}");
    one.remove()
}

/// Links of the rootfs that lead to the host's files lead to the container's.
fn hostile(world: &World) -> Result<()> {
    let victim = world.new_directory("victim")?;
    let container = world.sleeper(&["--name", "web"])?;
    let outside = victim.display();
    sh(&container, &format!("ln -s {outside} /esc; ln -s loop /loop; ln -s ../../../../.. /up"))?;
    world.tools(["add-device", "web", "/dev/fuse:/esc/node"]).ok()?;
    ensure!(victim.read_dir()?.next().is_none(), "nothing appeared on the host");
    let inside = sh(&container, &format!("test -c {outside}/node && test -c /esc/node"))?;
    ensure!(inside.code() == 0, "it is where the link leads inside: {inside}");
    world.tools(["add-device", "web", "/dev/fuse:/up/tmp/node"]).ok()?;
    ensure!(sh(&container, "test -c /tmp/node")?.code() == 0, "`..` ends at the root");
    world.tools(["add-device", "web", "/dev/fuse:/loop/node"]).code(1)?.expect_stderr("ELOOP")?;
    sh(&container, "ln -s /proc/self /p")?;
    world
        .tools(["add-device", "web", "/dev/fuse:/p/node"])
        .output()?
        .expect_stderr("Failed to add device")?;
    // The lock is free, the next command works.
    world.tools(["remove-device", "web", ":/esc/node", ":/up/tmp/node"]).ok()?;
    container.remove()
}

fn mapped(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.run(
        &["--system-container", "--name", "web", "--user-remap", "100000:100000:65536"],
        &rootfs,
        &["sleep", "1000"],
    )?;
    // On the /dev that isula made; in the id-mapped rootfs; on a filesystem of the container's own.
    sh(&container, "mkdir /own && mount -t tmpfs tmpfs /own")?;
    for path in ["/dev/n1", "/srv/deep/n1", "/own/n1"] {
        world.tools(["add-device", "web", &format!("/dev/fuse:{path}:rw")]).ok()?;
        let look = sh(&container, &format!("stat -c '%F %u' {path} && : < {path} && echo ok"))?;
        ensure!(look.stdout == "character special file 0\nok\n", "{path}: {look}");
    }
    for path in ["/dev/n1", "/srv/deep/n1", "/own/n1"] {
        world.tools(["remove-device", "web", &format!(":{path}")]).ok()?;
        let look = sh(&container, &format!("test -e {path} || grep -c n1 /proc/mounts"))?;
        let count: usize = look.stdout.trim().parse().unwrap_or(9);
        ensure!(count <= 2, "{path} is gone: {look}");
    }
    ensure!(sh(&container, "grep -c n1 /proc/mounts")?.stdout == "0\n", "no mount is left");
    container.remove()
}

fn at_once(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "web"])?;
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let call = world.tools(["add-device", "web", &format!("/dev/fuse:/dev/n{number}")]);
            std::thread::spawn(move || call.ok())
        })
        .collect();
    let path = world.root().join("engines/isula").join(container.id()).join("device_hook.json");
    while calls.iter().any(|call| !call.is_finished()) {
        if let Ok(text) = std::fs::read(&path) {
            serde_json::from_slice::<Value>(&text).context("valid at every moment")?;
        }
    }
    for call in calls {
        call.join().map_err(|_| anyhow::anyhow!("a panic"))??;
    }
    ensure!(listed(world, &container)?.len() == 20, "every one is recorded");
    let nodes = sh(&container, "ls /dev | grep -c '^n[0-9]'")?;
    ensure!(nodes.stdout == "20\n", "{nodes}");
    container.remove()
}

fn torn(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "web"])?;
    world.tools(["add-device", "web", "/dev/fuse:/dev/a", "/dev/fuse:/dev/b"]).ok()?;
    let path = world.root().join("engines/isula").join(container.id()).join("device_hook.json");
    std::fs::write(&path, "{\"version\":2,")?;
    let refused = world.tools(["add-device", "web", "/dev/fuse:/dev/c"]).code(1)?;
    let named = format!("read the record {}", path.display());
    refused.expect_stderr(&named)?.expect_stderr("put it back with isulad-tools recover")?;
    world.tools(["list-device", "web"]).code(1)?;
    world.tools(["recover", "web"]).ok()?;
    ensure!(listed(world, &container)?.len() == 1, "the generation before has one");
    // What was announced and half done by a killed command is taken back by the next.
    let next = path.with_extension("json.next");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&next, text.replace("/dev/a", "/dev/c"))?;
    sh(&container, "mknod /dev/c c 10 229; rm /dev/a")?;
    world
        .tools(["recover", "web"])
        .ok()?
        .expect_stdout("Take back a change of container(web) that was cut short done.\n")?;
    let look = sh(&container, "test -c /dev/a && ! test -e /dev/c && : < /dev/a && echo ok")?;
    ensure!(look.stdout == "ok\n" && !next.exists(), "{look}");
    container.remove()
}

/// A command that is asked to end while it waits for the container undoes what it did.
fn signal(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "web"])?;
    let lock = world.root().join("engines/isula").join(container.id()).join(".device_hook.lock");
    let held = linux::lock::Lock::exclusive(&lock)?;
    let mut waiting = world.tools(["add-device", "web", "/dev/fuse:/dev/n1"]).command().spawn()?;
    let pid = i32::try_from(waiting.id()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.context("a pid")?, rustix::process::Signal::TERM)?;
    ensure!(!waiting.wait()?.success(), "it did not succeed");
    drop(held);
    ensure!(
        nodes(&container, "n1")?.is_empty() && listed(world, &container)?.is_empty(),
        "nothing"
    );
    world.tools(["add-device", "web", "/dev/fuse:/dev/n1"]).ok()?;
    container.remove()
}
