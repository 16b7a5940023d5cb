//! What was added is there again: after a start, a restart, a reboot of the guest, a crash.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, DEBIAN, IDMAP_TMPFS, ROOT};
use tests::{Container, Disk, Story, World, story};

use crate::added::{hooked, pair, sh, source};
use crate::links::{Bridge, Port, add_pair, ip_in};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_replay::a_restart", &[ROOT, BUSYBOX], restart),
        story("hotplug_replay::a_stopped_container_starts_with_it", &[ROOT, BUSYBOX], stopped),
        story("hotplug_replay::with_root_mapped", &[ROOT, BUSYBOX, IDMAP_TMPFS], mapped),
        story("hotplug_replay::a_guest_reboots", &[ROOT, DEBIAN], reboot),
        story("hotplug_replay::what_is_gone_keeps_it_from_starting", &[ROOT, BUSYBOX], gone),
        story("hotplug_replay::a_torn_record_keeps_it_from_starting", &[ROOT, BUSYBOX], torn),
        story("hotplug_replay::links_of_the_rootfs_lead_nowhere_else", &[ROOT, BUSYBOX], hostile),
        story("hotplug_replay::a_record_of_the_predecessor", &[ROOT, BUSYBOX], predecessor),
        story("hotplug_replay::modules_are_listed_or_refused", &[ROOT, BUSYBOX], modules),
        story("hotplug_replay::nothing_recorded_is_no_hindrance", &[ROOT, BUSYBOX], nothing),
        story("hotplug_replay::a_hook_that_knows_nothing_fails", &[ROOT, BUSYBOX], by_hand),
        story("hotplug_replay::drift_is_seen_and_mended", &[ROOT, BUSYBOX], drift),
    ]
}

fn record(world: &World, container: &Container<'_>) -> PathBuf {
    world.root().join("engines/isula").join(container.id()).join("device_hook.json")
}

fn add_both(world: &World, host: &Path) -> Result<()> {
    world.tools(["add-device", "web", "/dev/fuse:/dev/n1:rw"]).ok()?;
    world.tools(["add-path", "web", &pair(host, "/data")]).ok()?;
    Ok(())
}

fn ensure_both(container: &Container<'_>) -> Result<()> {
    let look = sh(container, ": < /dev/n1 && : > /dev/n1 && stat -c %u /dev/n1 && cat /data/file")?;
    ensure!(look.stdout == "0\nhost\n", "{look}");
    let once = sh(container, "grep -c ' /data' /proc/mounts")?;
    ensure!(once.stdout == "1\n", "once, not twice: {once}");
    Ok(())
}

fn restart(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = hooked(world, &[])?;
    add_both(world, &host)?;
    for _ in 0..2 {
        container.isula("restart", ["-t", "0"]).ok()?;
        ensure_both(&container)?;
    }
    world.tools(["remove-device", "web", "/dev/fuse"]).ok()?;
    world.tools(["remove-path", "web", &pair(&host, "/data")]).ok()?;
    container.isula("restart", ["-t", "0"]).ok()?;
    let none = sh(&container, "ls /dev/n1 /data/file; grep -c ' /data' /proc/mounts")?;
    ensure!(none.stdout == "0\n", "what was removed stays away: {none}");
    container.remove()
}

fn stopped(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = hooked(world, &[])?;
    container.isula("stop", ["-t", "0"]).ok()?;
    add_both(world, &host)?;
    container.isula("start", [""; 0]).ok()?;
    ensure_both(&container)?;
    container.remove()
}

fn mapped(world: &World) -> Result<()> {
    let host = source(world)?;
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let container = world.run(
        &[
            "--system-container",
            "--name",
            "web",
            "--user-remap",
            "100000:100000:65536",
            "--hook-spec",
            &spec,
        ],
        &world.busybox()?,
        &["sleep", "86400"],
    )?;
    add_both(world, &host)?;
    ensure_both(&container)?;
    container.isula("restart", ["-t", "0"]).ok()?;
    ensure_both(&container)?;
    container.remove()
}

fn reboot(world: &World) -> Result<()> {
    let host = source(world)?;
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let port = Port::new(world)?;
    let port_before = port.look()?;
    let disk = Disk::new(world)?;
    world.tool("mkfs.ext4").args(["-q", &disk.path]).ok()?;
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let container = world.boot(
        // To mount it is another right than to open it.
        &[
            "--name",
            "web",
            "--restart",
            "on-reboot",
            "--cap-add",
            "SYS_ADMIN",
            "--hook-spec",
            &spec,
        ],
        &world.debian()?,
    )?;
    world.tools(["add-device", "web", &format!("{}:/dev/xvdb", disk.path)]).ok()?;
    world.tools(["add-path", "web", &pair(&host, "/data")]).ok()?;
    let nic = ["--name", "h1:e1", "--ip", "192.168.3.4/24", "--gateway", "192.168.3.1"];
    world.tools(add_pair(&nic)).ok()?;
    world
        .tools(["add-nic", "web", "--type", "eth", "--name", "p0:e2", "--ip", "10.6.0.2/24"])
        .ok()?;
    world.tools(["add-route", "web", r#"[{"dest":"10.9.0.0/16","gw":"10.6.0.1"}]"#]).ok()?;
    let routes = ip_in(world, &container, "route")?;
    let before = container.pid()?;
    container.exec(["systemctl", "reboot"]).output()?;
    world.until("a new init", Duration::from_secs(60), || {
        let pid = container.pid()?;
        Ok((container.status()? == "running" && pid != before).then_some(()))
    })?;
    container.until_booted()?;
    let script = "mount /dev/xvdb /mnt && ls -d /mnt/lost+found && cat /data/file && umount /mnt";
    let look = container.exec(["systemd-run", "--pipe", "--wait", "sh", "-c", script]).ok()?;
    ensure!(look.stdout == "/mnt/lost+found\nhost\n", "{look}");
    ensure!(ip_in(world, &container, "route")? == routes, "the same routes: {routes}");
    let ping = ["ping", "-c", "1", "-w", "10", "192.168.3.4"];
    world.tool("busybox").args(ping).ok()?;
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    container.remove()?;
    ensure!(port.look()? == port_before, "before: {port_before}\nafter: {}", port.look()?);
    Ok(())
}

fn gone(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = hooked(world, &[])?;
    add_both(world, &host)?;
    container.isula("stop", ["-t", "0"]).ok()?;
    let away = world.path("away");
    fs::rename(&host, &away)?;
    let refused = container.isula("start", [""; 0]).output()?;
    ensure!(refused.code() != 0, "it must not start without it: {refused}");
    refused.expect_stderr("syscontainer-hooks")?.expect_stderr("make it first")?;
    ensure!(!host.exists(), "no empty directory hides what is missing");
    fs::rename(&away, &host)?;
    container.isula("start", [""; 0]).ok()?;
    ensure_both(&container)?;
    container.remove()
}

fn torn(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = hooked(world, &[])?;
    add_both(world, &host)?;
    container.isula("stop", ["-t", "0"]).ok()?;
    let path = record(world, &container);
    fs::write(&path, "")?;
    let refused = container.isula("start", [""; 0]).output()?;
    ensure!(refused.code() != 0, "it must not start: {refused}");
    refused
        .expect_stderr(&format!("read the record {}", path.display()))?
        .expect_stderr("device_hook.json.previous")?;
    world.tools(["recover", "web"]).ok()?;
    container.isula("start", [""; 0]).ok()?;
    ensure!(sh(&container, ": < /dev/n1")?.code() == 0, "the generation before has the device");
    container.remove()
}

/// The rootfs has been hostile since before the first start, and replay is in the host's mounts.
fn hostile(world: &World) -> Result<()> {
    let (host, victim) = (source(world)?, world.new_directory("victim")?);
    fs::write(victim.join("file"), "precious\n")?;
    let rootfs = world.busybox()?;
    std::os::unix::fs::symlink(&victim, rootfs.join("esc"))?;
    std::os::unix::fs::symlink("/", rootfs.join("top"))?;
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let container =
        world.create(&["--name", "web", "--hook-spec", &spec], &rootfs, &["sleep", "86400"])?;
    world.tools(["add-device", "web", "/dev/fuse:/esc/file"]).ok()?;
    world.tools(["add-path", "web", &pair(&host, "/esc/data")]).ok()?;
    container.isula("start", [""; 0]).ok()?;
    ensure!(fs::read_to_string(victim.join("file"))? == "precious\n", "the host's file stays");
    ensure!(victim.read_dir()?.count() == 1, "nothing appeared beside it");
    let look = sh(&container, "stat -c %F /esc/file && cat /esc/data/file")?;
    ensure!(look.stdout == "character special file\nhost\n", "{look}");
    container.isula("stop", ["-t", "0"]).ok()?;
    world.tools(["add-path", "web", &pair(&host, "/top")]).ok()?;
    let refused = container.isula("start", [""; 0]).output()?;
    ensure!(refused.code() != 0, "a link to the root is no place: {refused}");
    container.remove()
}

fn predecessor(world: &World) -> Result<()> {
    let host = source(world)?;
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let disk = Disk::new(world)?;
    let container = hooked(world, &[])?;
    container.isula("stop", ["-t", "0"]).ok()?;
    let number = disk.number()?;
    let (major, minor) = number.split_once(':').context("a number")?;
    let limit = |value: &str| -> Result<serde_json::Value> {
        let (major, minor): (u32, u32) = (major.parse()?, minor.parse()?);
        let limit = serde_json::json!({ "major": major, "minor": minor, "path": disk.path, "value": value });
        Ok(serde_json::json!([limit]))
    };
    let text = serde_json::json!({
        "bindToAdd": [pair(&host, "/data:ro")],
        "deviceToAdd": [{ "Type": "c", "Minor": 1, "Major": 1, "PathOnHost": "/dev/fuse",
            "PathInContainer": "/dev/n1", "CgroupPermissions": "rw", "Parent": "" },
            { "Type": "b", "Minor": 0, "Major": 7, "PathOnHost": disk.path,
            "PathInContainer": "/dev/xvdb", "CgroupPermissions": "rwm", "Parent": "" }],
        "readIops": limit("1001")?, "writeIops": limit("1002")?, "readBps": limit("1000003")?,
        "writeBps": limit("1000004")?,
        "networkInterfaces": [{ "Ip": "192.168.3.4/24", "Mac": "aa:bb:cc:dd:ee:aa", "Mtu": 1450,
            "Qlen": 100, "Type": "veth", "Bridge": "br0", "HostNicName": "h1",
            "CtrNicName": "e1" }],
        "networkRoute": [{ "dest": "10.9.0.0/16", "src": "192.168.3.4", "gw": "192.168.3.1",
            "dev": "e1" }],
    });
    fs::write(record(world, &container), format!("{text}\n"))?;
    world
        .tools(["list-path", "web"])
        .ok()?
        .expect_stdout(&format!("[\"{}:/data:ro\"]\n", host.display()))?;
    container.isula("start", [""; 0]).ok()?;
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    let route = ip_in(world, &container, "route show 10.9.0.0/16")?;
    ensure!(
        route.contains("via 192.168.3.1 dev e1") && route.contains("src 192.168.3.4"),
        "{route}"
    );
    let link = ip_in(world, &container, "link show dev e1")?;
    ensure!(link.contains("mtu 1450") && link.contains("aa:bb:cc:dd:ee:aa"), "{link}");
    // Its number is that of the node now.
    let look = sh(&container, ": < /dev/n1 && cat /data/file && touch /data/x")?;
    ensure!(look.stdout == "host\n" && look.code() != 0, "{look}");
    let listed = world.tools(["list-device", "web"]).ok()?;
    ensure!(listed.stdout.contains(r#""Minor":229,"Major":10"#), "{listed}");
    world.tools(["remove-path", "web", &pair(&host, "/data")]).ok()?;
    world.tools(["remove-device", "web", "/dev/fuse"]).ok()?;
    world.tools(["remove-device", "web", &disk.path]).ok()?.expect_stdout(&format!(
        "Remove device ({0}) from container(web,/dev/xvdb) done.\n\
         Remove read iops for device ({0}) done.\nRemove write iops for device ({0}) done.\n\
         Remove read bps for device ({0}) done.\nRemove write bps for device ({0}) done.\n",
        disk.path
    ))?;
    world.tools(["remove-nic", "web", "--name", "h1:e1"]).ok()?;
    let none = sh(&container, "ls /dev/n1; grep -c ' /data' /proc/mounts")?;
    ensure!(none.stdout == "0\n", "{none}");
    container.remove()
}

fn modules(world: &World) -> Result<()> {
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    for (value, reason) in
        [("-r,loop", "module name is incorrect:-r"), ("no_such_module", "is not allowed")]
    {
        let refused = world
            .isula_with(
                "run",
                &["-d", "--hook-spec", &spec, "-e", &format!("KERNEL_MODULES={value}")],
                &world.busybox()?,
                &["true"],
            )
            .output()?;
        ensure!(refused.code() != 0, "{refused}");
        refused.expect_stderr(reason)?;
        world.remove_containers();
    }
    // One that is listed is looked for, by a program that a hook has to find without a PATH.
    let allow = world.path("modules.allow");
    fs::write(&allow, "no_such_module\n")?;
    let path = world.hook_spec()?;
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    let arguments = document["prestart"][0]["args"].as_array_mut().context("arguments")?;
    arguments.extend([serde_json::json!("--modules-allow"), serde_json::json!(allow)]);
    fs::write(&path, document.to_string())?;
    let spec = path.to_string_lossy();
    let options = ["-d", "--hook-spec", &spec, "-e", "KERNEL_MODULES=no_such_module"];
    let refused = world.isula_with("run", &options, &world.busybox()?, &["true"]).output()?;
    ensure!(refused.code() != 0, "{refused}");
    refused
        .expect_stderr("load kernel modules no_such_module: modprobe: exit status: 1")?
        .expect_stderr("not found")?;
    world.remove_containers();
    Ok(())
}

fn nothing(world: &World) -> Result<()> {
    let container = hooked(world, &[])?;
    ensure!(!record(world, &container).exists(), "nothing is recorded");
    container.isula("restart", ["-t", "0"]).ok()?;
    container.remove()
}

fn by_hand(world: &World) -> Result<()> {
    let hook = |state: &str, turn: &str| {
        world.program("syscontainer-hooks").args(["--state", turn]).stdin(state.to_owned())
    };
    hook("", "prestart").code(1)?.expect_stderr("read the container's state from stdin")?;
    hook("{}", "sometime").code(2)?.expect_stderr("invalid value 'sometime'")?;
    let bundle = world.new_directory("bundle")?;
    fs::create_dir(bundle.join("rootfs"))?;
    fs::write(bundle.join("container.json"), "{}")?;
    let write_root = |root: &str| {
        let spec = serde_json::json!({ "root": { "path": root } });
        fs::write(bundle.join("config.json"), spec.to_string())
    };
    let run = |pid: u32| {
        let state = serde_json::json!({ "id": "x", "pid": pid, "bundle": bundle });
        hook(&state.to_string(), "prestart").output()
    };
    // No process, our own process, the host's root: each would be acting on the host.
    write_root("rootfs")?;
    for (root, pid, reason) in [
        ("rootfs", 0, "its state names no process"),
        ("/", std::process::id(), "is the host's root"),
        ("", std::process::id(), "is missing or empty"),
    ] {
        write_root(root)?;
        let refused = run(pid)?;
        ensure!(refused.code() == 1, "{root:?}: {refused}");
        refused.expect_stderr(reason).with_context(|| format!("{root:?} {pid}"))?;
    }
    Ok(())
}

fn drift(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = world.run(
        &["--name", "web", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"],
        &world.busybox()?,
        &["sleep", "86400"],
    )?;
    add_both(world, &host)?;
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    sh(&container, "rm /dev/n1; umount /data")?;
    let shown = host.display();
    world.tools(["diff", "web"]).code(1)?.expect_stdout(&format!(
        "device /dev/fuse:/dev/n1: is not there\n\
         path {shown}:/data:rw,rslave: is not mounted there\n"
    ))?;
    let inspect = world.tools(["inspect", "web"]).ok()?;
    let document: serde_json::Value = serde_json::from_str(&inspect.stdout)?;
    ensure!(document["live"][0]["state"] == "is not there", "{document:#}");
    ensure!(document["recorded"]["generation"] == 2, "{document:#}");
    world.tools(["reconcile", "web"]).ok()?.expect_stdout("Reconcile container(web) done.\n")?;
    world.tools(["diff", "web"]).ok()?;
    ensure_both(&container)?;
    container.isula("stop", ["-t", "0"]).ok()?;
    world.tools(["diff", "web"]).code(4)?.expect_stderr("does not run")?;
    container.remove()
}
