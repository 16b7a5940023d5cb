//! Disks into running containers: their partitions, their limits, and that they are the same ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::need::{BFQ, BUSYBOX, DEBIAN, ROOT};
use tests::{Container, Disk, Story, World, story};

use crate::added::{nodes, sh};
use crate::hotplug_device::listed;

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_disk::every_service_can_open_it", &[ROOT, DEBIAN], services),
        story("hotplug_disk::limits_are_in_force", &[ROOT, BUSYBOX], limits),
        story("hotplug_disk::a_disk_with_its_partitions", &[ROOT, BUSYBOX], partitions),
        story("hotplug_disk::partitions_that_come_later", &[ROOT, BUSYBOX], watch),
        story("hotplug_disk::a_reload_takes_nothing_away", &[ROOT, DEBIAN], reloads),
        story("hotplug_disk::shares_are_in_force", &[ROOT, BUSYBOX, BFQ], shares),
        story("hotplug_disk::another_disk_of_that_name", &[ROOT, BUSYBOX], identity),
        story("hotplug_disk::the_guests_udev_hears_of_it", &[ROOT, BUSYBOX], uevent),
    ]
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

/// A service opens it all the time while its systemd, and the host's where it is one, reload.
fn reloads(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    let container = world.boot(&["--name", "web"], &world.debian()?)?;
    let open = "dd if=/dev/xvdb of=/dev/null bs=4k count=1 iflag=direct";
    let unit = format!(
        "until {open}; do sleep 0.1; done; n=0; while {open} 2>/run/why; do n=$((n + 1)); \
         echo $n > /run/count; sleep 0.02; done; cp /run/why /run/failed"
    );
    container.exec(["systemd-run", "--quiet", "--unit", "before", "sh", "-c", &unit]).ok()?;
    world.tools(["add-device", "web", &format!("{}:/dev/xvdb", disk.path)]).ok()?;
    let goes_on = |after: &str| -> Result<()> {
        let count = || -> Result<u64> {
            let read = container.exec(["cat", "/run/count"]).output()?;
            read.line().parse().with_context(|| read.to_string())
        };
        let before = count().unwrap_or(0);
        world.until(&format!("it goes on after {after}"), Duration::from_secs(20), || {
            ensure!(container.exec(["cat", "/run/failed"]).output()?.code() != 0, "refused");
            Ok((count()? > before + 2).then_some(()))
        })?;
        let new = ["systemd-run", "--quiet", "--wait", "sh", "-c", open];
        container.exec(new).ok().map(drop).with_context(|| format!("a new one after {after}"))
    };
    goes_on("nothing")?;
    for verb in ["daemon-reload", "daemon-reexec"] {
        container.exec(["systemctl", verb]).ok()?;
        goes_on(&format!("a {verb} inside"))?;
    }
    if Path::new("/run/systemd/system").exists() {
        world.by_systemd(&["systemctl", "daemon-reload"]).ok()?;
        goes_on("the host's daemon-reload")?;
    }
    world.tools(["remove-device", "web", &disk.path]).ok()?;
    world.until("it is refused", Duration::from_secs(20), || {
        Ok((container.exec(["cat", "/run/failed"]).output()?.code() == 0).then_some(()))
    })?;
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
    // Recorded alone it is in no file of the kernel's, and no node is there.
    let only = ["add-device", "--update-config-only", "--device-read-bps", &of("10m"), "web", path];
    world.tools(only).ok()?;
    ensure!(!shown()?.contains("10485760"), "for the next start: {:?}", shown()?);
    ensure!(nodes(&container, path.trim_start_matches("/dev/"))?.is_empty(), "no node yet");
    world.tools(["remove-device", "--update-config-only", "web", path]).ok()?;
    // So little that the disk would look dead is worth a word.
    world
        .tools(["add-device", "--device-read-bps", &of("1000"), "web", path])
        .ok()?
        .expect_stderr("note: 1000 bytes a second is so little that")?;
    world.tools(["remove-device", "web", path]).ok()?;
    // A share that no scheduler knows is refused before anything is added.
    let refused = world
        .tools(["add-device", "--blkio-weight-device", &of("5"), "web", path])
        .code(2)?
        .expect_stderr("Invalid weight for device")?;
    ensure!(refused.stdout.is_empty() && listed(world, &container)?.is_empty(), "{refused}");
    container.remove()
}

/// The line of the disk in the container's own file of shares.
fn share(container: &Container<'_>, file: &str, number: &str) -> Result<String> {
    let v1 = Path::new("/sys/fs/cgroup/blkio").join(container.cgroup());
    let path = match v1.exists() {
        true => v1.join("blkio.bfq.weight_device"),
        false => Path::new("/sys/fs/cgroup").join(container.cgroup()).join(file),
    };
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(number)?.strip_prefix(' '));
    Ok(line.unwrap_or("none").to_owned())
}

/// Kept to by the disk's scheduler, or on v2 by io.cost; by nobody it is refused.
fn shares(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    let (path, number) = (&disk.path, disk.number()?);
    let scheduler = format!("/sys/block/{}/queue/scheduler", path.trim_start_matches("/dev/"));
    std::fs::write(&scheduler, "none")?;
    let container = world.sleeper(&["--name", "web"])?;
    let with = |verb, weight: &str| {
        let share = format!("{path}:{weight}");
        let device = (verb == "add-device").then_some(path);
        world.tools([verb, "--blkio-weight-device", &share, "web"]).args(device)
    };
    with("add-device", "500").code(8)?.expect_stderr(&format!("; try: echo bfq > {scheduler}"))?;
    ensure!(listed(world, &container)?.is_empty(), "and nothing is added");

    std::fs::write(&scheduler, "bfq")?;
    let here = |file| share(&container, file, &number);
    with("add-device", "500").ok()?;
    ensure!(here("io.bfq.weight")? == "500", "in force: {}", here("io.bfq.weight")?);
    with("update-device", "300").ok()?;
    ensure!(here("io.bfq.weight")? == "300", "in force: {}", here("io.bfq.weight")?);
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    with("update-device", "0").ok()?;
    ensure!(here("io.bfq.weight")? == "none", "as every disk: {}", here("io.bfq.weight")?);
    with("update-device", "300").ok()?;
    // With another scheduler it goes.
    std::fs::write(&scheduler, "none")?;
    let gone = format!("blkio weight {path}: is none, not 300\n");
    world.tools(["diff", "web"]).code(1)?.expect_stdout(&gone)?;
    std::fs::write(&scheduler, "bfq")?;
    world.tools(["reconcile", "web"]).ok()?;
    ensure!(here("io.bfq.weight")? == "300", "in force again: {}", here("io.bfq.weight")?);
    std::fs::write(&scheduler, "none")?;
    world.tools(["remove-device", "web", path]).ok()?;

    let cost = Path::new("/sys/fs/cgroup/io.cost.qos");
    if cost.exists() {
        std::fs::write(cost, format!("{number} enable=1"))?;
        let shared = (|| {
            with("add-device", "500").ok()?;
            ensure!(here("io.weight")? == "4950", "in force: {}", here("io.weight")?);
            world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
            world.tools(["remove-device", "web", path]).ok()?;
            ensure!(here("io.weight")? == "none", "as every disk: {}", here("io.weight")?);
            Ok(())
        })();
        std::fs::write(cost, format!("{number} enable=0"))?;
        shared?;
    }
    container.remove()
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
