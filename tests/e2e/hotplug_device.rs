//! Devices into running containers, as the user guide has it and as the predecessor had not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::need::{BUSYBOX, DEBIAN, IDMAP_TMPFS, ROOT};
use tests::{Container, Disk, Output, Story, World, story};

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
        story("hotplug_device::every_service_can_open_it", &[ROOT, DEBIAN], services),
        story("hotplug_device::limits_are_in_force", &[ROOT, BUSYBOX], limits),
        story("hotplug_device::many_at_once_lose_nothing", &[ROOT, BUSYBOX], at_once),
        story("hotplug_device::a_torn_record_is_recovered", &[ROOT, BUSYBOX], torn),
        story("hotplug_device::a_disk_with_its_partitions", &[ROOT, BUSYBOX], partitions),
        story("hotplug_device::partitions_that_come_later", &[ROOT, BUSYBOX], watch),
        story("hotplug_device::another_disk_of_that_name", &[ROOT, BUSYBOX], identity),
        story("hotplug_device::the_guests_udev_hears_of_it", &[ROOT, BUSYBOX], uevent),
        story("hotplug_device::a_signal_in_the_middle", &[ROOT, BUSYBOX], signal),
    ]
}

/// What is recorded of a container's devices.
fn listed(world: &World, container: &Container<'_>) -> Result<Vec<Value>> {
    let output = world.tools(["list-device", "--sub-partition", container.id()]).ok()?;
    serde_json::from_str(&output.stdout).with_context(|| output.to_string())
}

fn sh(container: &Container<'_>, script: &str) -> Result<Output> {
    container.exec(["sh", "-c", script]).output()
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

/// A service that runs already opens the device; so does one that starts later.
fn services(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    let container = world.boot(&["--name", "web"], &world.debian()?)?;
    let unit = "while ! dd if=/dev/xvdb of=/dev/null bs=4k count=1 2>/run/why; do \
                sleep 0.1; done; touch /run/opened";
    container.exec(["systemd-run", "--unit", "before", "sh", "-c", unit]).ok()?;
    world.tools(["add-device", "web", &format!("{}:/dev/xvdb", disk.path)]).ok()?;
    world.until("a service opens the disk", Duration::from_secs(20), || {
        let opened = container.exec(["test", "-e", "/run/opened"]).output()?;
        Ok((opened.code() == 0).then_some(()))
    })?;
    let after = "dd if=/dev/xvdb of=/dev/null bs=4k count=1";
    container.exec(["systemd-run", "--wait", "--unit", "after", "sh", "-c", after]).ok()?;
    world.tools(["remove-device", "web", &disk.path]).ok()?;
    let after = "mknod /run/x b $0 $1; dd if=/run/x of=/dev/null bs=4k count=1";
    let number = disk.number()?;
    let (major, minor) = number.split_once(':').context("a number")?;
    let refused = container
        .exec(["systemd-run", "--wait", "--unit", "gone", "sh", "-c", after, major, minor])
        .output()?;
    ensure!(refused.code() != 0, "the rule is gone: {refused}");
    container.remove()
}

/// The file of a limit in the container's own cgroup.
fn limit_file(container: &Container<'_>, v1: &str) -> Result<PathBuf> {
    let v1 = Path::new("/sys/fs/cgroup/blkio").join(container.cgroup()).join(v1);
    if v1.exists() {
        return Ok(v1);
    }
    Ok(Path::new("/sys/fs/cgroup").join(container.cgroup()).join("io.max"))
}

fn limits(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    let path = &disk.path;
    let of = |rate: &str| format!("{path}:{rate}");
    world
        .tools([
            "add-device",
            "--device-read-bps",
            &of("10m"),
            "--device-write-iops",
            &of("100"),
            "web",
            path,
        ])
        .ok()?
        .expect_stdout(&format!(
            "Add device ({path}) to container(web,{path}) done.\n\
             Update write iops for device ({path},100) done.\n\
             Update read bps for device ({path},10485760) done.\n"
        ))?;
    let number = disk.number()?;
    let shown = || -> Result<String> {
        let file = limit_file(&container, "blkio.throttle.read_bps_device")?;
        let text = std::fs::read_to_string(&file)?;
        Ok(text.lines().find(|line| line.starts_with(&number)).unwrap_or_default().to_owned())
    };
    ensure!(shown()?.contains("10485760"), "the kernel has it: {:?}", shown()?);
    world
        .tools(["update-device", "--device-read-bps", &of("10.5m"), "web"])
        .ok()?
        .expect_stdout(&format!("Update read bps for device ({path},11010048) done.\n"))?;
    ensure!(shown()?.contains("11010048"), "the kernel has it: {:?}", shown()?);
    world
        .tools(["update-device", "web"])
        .code(2)?
        .expect_stderr("update device should specify at least one device QOS configuration")?;
    world
        .tools(["update-device", "--device-read-bps", "/dev/null:1m", "web"])
        .code(2)?
        .expect_stderr("Failed to update device: cannot set Qos of a char device")?;
    world.tools(["remove-device", "web", path]).ok()?.expect_stdout(&format!(
        "Remove device ({path}) from container(web,{path}) done.\n\
             Remove write iops for device ({path}) done.\n\
             Remove read bps for device ({path}) done.\n"
    ))?;
    ensure!(!shown()?.contains("11010048"), "the kernel has it no more: {:?}", shown()?);
    // A share that no scheduler knows is refused before anything is added.
    let refused = world
        .tools(["add-device", "--blkio-weight-device", &of("5"), "web", path])
        .code(2)?
        .expect_stderr("Invalid weight for device")?;
    ensure!(refused.stdout.is_empty() && listed(world, &container)?.is_empty(), "{refused}");
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

/// The names of nodes in the container's /dev that begin like this.
fn nodes(container: &Container<'_>, prefix: &str) -> Result<Vec<String>> {
    let listed = sh(container, &format!("cd /dev && ls -d {prefix}* 2>/dev/null"))?;
    Ok(listed.stdout.lines().map(str::to_owned).collect())
}

fn partitions(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    disk.partition(2)?;
    let container = world.sleeper(&["--name", "web"])?;
    world
        .tools(["add-device", "--follow-partition", "web", &format!("{}:/dev/sdx", disk.path)])
        .ok()?;
    ensure!(nodes(&container, "sdx")? == ["sdx", "sdx1", "sdx2"], "{:?}", nodes(&container, "sdx"));
    ensure!(sh(&container, "head -c 1 /dev/sdx2 | wc -c")?.stdout == "1\n", "it can be read");
    let shown = world.tools(["list-device", "web"]).ok()?;
    ensure!(serde_json::from_str::<Vec<Value>>(&shown.stdout)?.len() == 1, "{shown}");
    ensure!(listed(world, &container)?.len() == 3, "with partitions it is three");
    // A name that ends in a digit keeps the kernel's separator.
    world
        .tools(["add-device", "--follow-partition", "web", &format!("{}:/dev/nvx0", disk.path)])
        .ok()?;
    ensure!(nodes(&container, "nvx")? == ["nvx0", "nvx0p1", "nvx0p2"], "an nvme-like name");
    world.tools(["remove-device", "--follow-partition", "web", ":/dev/nvx0"]).ok()?;
    world.tools(["remove-device", "--follow-partition", "web", &disk.path]).ok()?;
    ensure!(nodes(&container, "[sn][dv]x")?.is_empty(), "all are gone");
    let partition = format!("{}p1", disk.path);
    world
        .tools(["add-device", "--device-read-bps", &format!("{partition}:1m"), "web", &partition])
        .code(2)?
        .expect_stderr("cannot set Qos of a child device")?;
    world.tools(["add-device", "web", &partition]).ok()?;
    let alone = world.tools(["list-device", "web"]).ok()?;
    ensure!(alone.stdout.contains(&partition), "on its own it is listed: {alone}");
    world
        .tools(["add-device", "--follow-partition", "web", "/dev/fuse"])
        .code(2)?
        .expect_stderr("Char device /dev/fuse not support follow partition")?;
    container.remove()
}

fn watch(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    world.tools(["add-device", "web", &format!("{}:/dev/sdx", disk.path)]).ok()?;
    let mut watch = world.tools(["watch"]).command().stdout(std::process::Stdio::null()).spawn()?;
    let appear = |expected: &[&str]| {
        world.until(&format!("{expected:?}"), Duration::from_secs(10), || {
            let found = nodes(&container, "sdx")?;
            match found == expected {
                true => Ok(Some(())),
                false => anyhow::bail!("there are {found:?}"),
            }
        })
    };
    let followed = (|| {
        for count in [2, 3, 1] {
            disk.partition(count)?;
            let names = ["sdx", "sdx1", "sdx2", "sdx3"];
            appear(&names[..=count as usize])?;
        }
        ensure!(listed(world, &container)?.len() == 2, "they are recorded");
        Ok(())
    })();
    let pid = i32::try_from(watch.id()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.context("a pid")?, rustix::process::Signal::TERM)?;
    let ended = watch.wait()?;
    followed?;
    ensure!(ended.success(), "it ends when asked to: {ended}");
    disk.partition(0)?;
    world.tools(["watch", "--once"]).ok()?;
    ensure!(nodes(&container, "sdx")? == ["sdx"], "none is left");
    container.remove()
}

/// The path means another disk by now: the container must not get it.
fn identity(world: &World) -> Result<()> {
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let container = world.create(
        &["--name", "web", "--hook-spec", &spec],
        &world.busybox()?,
        &["sleep", "1000"],
    )?;
    let disk = Disk::new(world)?;
    world.tools(["add-device", "web", &format!("{}:/dev/sdx", disk.path)]).ok()?;
    let path = world.root().join("engines/isula").join(container.id()).join("device_hook.json");
    // As one with a serial number of its own was recorded.
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    record["deviceToAdd"][0]["Identity"] = serde_json::json!({ "by": "wwid", "value": "t10.1" });
    std::fs::write(&path, record.to_string())?;
    let refused = container.isula("start", [""; 0]).output()?;
    ensure!(refused.code() != 0, "it must not start with another disk: {refused}");
    refused.expect_stderr("is another disk than the one that was added: its wwid is none")?;
    world.tools(["remove-device", "web", &disk.path]).ok()?;
    container.isula("start", [""; 0]).ok()?;
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

fn uevent(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    let listen = "mkdir -p /run/udev && touch /run/udev/control /tmp/heard && \
                  { uevent sh -c 'echo $ACTION $SUBSYSTEM $DEVNAME $DEVTYPE >> /tmp/heard' & } && \
                  sleep 0.3";
    sh(&container, listen)?;
    let heard = |expected: &str| {
        world.until(expected, Duration::from_secs(10), || {
            let heard = sh(&container, "cat /tmp/heard")?.stdout;
            match heard.lines().any(|line| line == expected) {
                true => Ok(Some(())),
                false => anyhow::bail!("heard {heard:?}"),
            }
        })
    };
    world.tools(["add-device", "web", &format!("{}:/dev/xvdb", disk.path)]).ok()?;
    heard("add block xvdb disk")?;
    world.tools(["remove-device", "web", ":/dev/xvdb"]).ok()?;
    heard("remove block xvdb disk")?;
    container.remove()
}
