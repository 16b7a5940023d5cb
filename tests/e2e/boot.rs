//! System containers: Debian's systemd from boot to stop, reboot and power-off in between.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::need::{DEBIAN, OUR_RUNTIME, ROOT, USER_NS};
use tests::{Container, Story, World, processes, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("boot::debian_comes_up_and_its_services_obey", &[ROOT, DEBIAN], debian_comes_up),
        story(
            "boot::with_root_mapped_on_a_rootfs_of_0_0",
            &[ROOT, DEBIAN, USER_NS, OUR_RUNTIME],
            mapped_idmapped,
        ),
        story("boot::with_root_mapped_on_a_shifted_rootfs", &[ROOT, DEBIAN, USER_NS], |world| {
            mapped_shifted(world, &[])
        }),
        story("boot::reboot_is_a_new_init_with_the_same_id", &[ROOT, DEBIAN], reboot),
        story("boot::power_off_ends_it", &[ROOT, DEBIAN], power_off),
        story("boot::stop_is_an_orderly_shutdown", &[ROOT, DEBIAN], stop),
        story("boot::systemd_has_its_own_cgroups", &[ROOT, DEBIAN], own_cgroups),
        story("boot::a_service_in_the_background_does_not_hold_exec", &[ROOT, DEBIAN], background),
        story("boot::the_rootfs_survives_the_container", &[ROOT, DEBIAN], rootfs_survives),
        story("boot::three_at_once", &[ROOT, DEBIAN], |world| at_once(world, 3)),
        story("boot::twenty_at_once", &[ROOT, DEBIAN], |world| at_once(world, 20)).stress(),
        story("boot::five_in_a_row", &[ROOT, DEBIAN], |world| in_a_row(world, 5)),
        story("boot::a_hundred_in_a_row", &[ROOT, DEBIAN], |world| in_a_row(world, 100)).stress(),
    ]
}

fn debian_comes_up(world: &World) -> Result<()> {
    let container = world.boot(&["--name", "web"], &world.debian()?)?;
    let tree = container.exec(["ps", "-eo", "pid,comm", "--no-headers"]).ok()?;
    ensure!(
        tree.stdout.lines().any(|line| line.trim() == "1 systemd"),
        "pid 1 is systemd:\n{tree}"
    );
    ensure!(tree.stdout.contains("systemd-journal"), "journald runs:\n{tree}");

    container.exec(["systemctl", "stop", "dbus.service", "dbus.socket"]).ok()?;
    container
        .exec(["systemctl", "is-active", "dbus.service"])
        .code(3)?
        .expect_stdout("inactive\n")?;
    container.exec(["systemctl", "start", "dbus.service"]).ok()?;
    container.exec(["systemctl", "is-active", "dbus.service"]).ok()?.expect_stdout("active\n")?;
    let journal = container.exec(["journalctl", "--no-pager", "--unit", "dbus.service"]).ok()?;
    ensure!(journal.stdout.contains("Stopped"), "the journal tells of it:\n{journal}");
    container.exec(["systemd-detect-virt", "--container"]).ok()?;
    container.remove()
}

const MAPPED: &[&str] = &["--user-remap", "100000:100000:65536"];

fn mapped_idmapped(world: &World) -> Result<()> {
    let debian = tests::rootfs::debian().context("no Debian rootfs")?;
    let rootfs = world.on_ext4(&debian)?;
    let container = world.boot(MAPPED, &rootfs)?;
    ensure_mapped(&container)?;
    container.exec(["touch", "/root/made-inside"]).ok()?;
    owner(world, &rootfs.join("root/made-inside"), "0:0")?;
    container.remove()
}

pub(crate) fn mapped_shifted(world: &World, options: &[&str]) -> Result<()> {
    let rootfs = world.debian_copy()?;
    shift(&rootfs, 100_000)?;
    let container = world.boot(&[MAPPED, options].concat(), &rootfs)?;
    ensure_mapped(&container)?;
    container.exec(["touch", "/root/made-inside"]).ok()?;
    owner(world, &rootfs.join("root/made-inside"), "100000:100000")?;
    container.remove()
}

/// What an administrator does to a tree before handing it to a mapped root.
fn shift(path: &std::path::Path, by: u32) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
    let found = std::fs::symlink_metadata(path)?;
    lchown(path, Some(found.uid() + by), Some(found.gid() + by))?;
    if !found.is_symlink() {
        // chown(2) takes set-user-id and set-group-id away.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(found.mode() & 0o7777))?;
    }
    if found.is_dir() {
        for entry in std::fs::read_dir(path)? {
            shift(&entry?.path(), by)?;
        }
    }
    Ok(())
}

fn ensure_mapped(container: &Container<'_>) -> Result<()> {
    let pid = container.pid()?;
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map"))?;
    let words: Vec<&str> = map.split_whitespace().collect();
    ensure!(words == ["0", "100000", "65536"], "uid_map is {map}");
    container.exec(["id", "-u"]).ok()?.expect_stdout("0\n").map(drop)
}

fn owner(world: &World, path: &std::path::Path, expected: &str) -> Result<()> {
    let output = world.tool("stat").args(["-c", "%u:%g"]).arg(path).ok()?;
    output.expect_stdout(&format!("{expected}\n")).map(drop)
}

fn reboot(world: &World) -> Result<()> {
    let container = world.boot(&["--restart", "on-reboot"], &world.debian()?)?;
    for count in 1..=3_u64 {
        let before = container.pid()?;
        container.exec(["systemctl", "reboot"]).output()?;
        let limit = Duration::from_secs(30);
        let after = world.until("a new init", limit, || {
            let pid = container.pid()?;
            Ok((container.status()? == "running" && pid != before).then_some(pid))
        })?;
        ensure!(
            !processes::all().iter().any(|p| p.pid == before),
            "{before} is gone, {after} runs"
        );
        container.until_booted()?;
        let counted = container.value("/RestartCount")?;
        ensure!(counted == count, "RestartCount is {counted}, not {count}");
    }
    container.remove()
}

fn power_off(world: &World) -> Result<()> {
    let container = world.boot(&["--restart", "on-reboot"], &world.debian()?)?;
    container.exec(["systemctl", "poweroff"]).output()?;
    container.until_status("exited")?;
    let code = container.exit_code()?;
    ensure!(code == 130, "exit code {code}, not 130 (SIGINT: the guest halted)");
    container.exec(["true"]).output()?.expect_stderr("is not running")?;
    container.remove()
}

fn stop(world: &World) -> Result<()> {
    let container = world.boot(&[], &world.debian()?)?;
    let started = Instant::now();
    container.isula("stop", [""; 0]).ok()?;
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(5) * wait::slowness(), "stop took {took:?}");
    ensure!(container.status()? == "exited", "it is {}", container.status()?);
    let code = container.exit_code()?;
    ensure!(code == 130, "exit code {code}, not 130: systemd was not asked to halt");
    container.remove()
}

fn own_cgroups(world: &World) -> Result<()> {
    let container = world.boot(&[], &world.debian()?)?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let own = format!("/{}/{}", world.name(), container.id());
    for line in cgroup.lines() {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        ensure!(path.contains(&own), "{line:?} is not below {own}");
    }
    // It moved itself: the hierarchy that it manages is writable.
    ensure!(cgroup.contains("/init.scope"), "systemd is in its init.scope:\n{cgroup}");
    container.remove()
}

fn background(world: &World) -> Result<()> {
    let container = world.boot(&[], &world.debian()?)?;
    let started = Instant::now();
    container.exec(["sh", "-c", "sleep 300 & echo started"]).ok()?.expect_stdout("started\n")?;
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(3) * wait::slowness(), "exec was held for {took:?}");
    container.remove()
}

fn rootfs_survives(world: &World) -> Result<()> {
    let rootfs = world.debian()?;
    let container = world.boot(&[], &rootfs)?;
    container.exec(["sh", "-c", "echo kept > /srv/note"]).ok()?;
    container.remove()?;
    let kept = std::fs::read_to_string(rootfs.join("srv/note"))?;
    ensure!(kept == "kept\n", "the file holds {kept:?}");
    Ok(())
}

fn at_once(world: &World, count: usize) -> Result<()> {
    let rootfs: Vec<_> = (0..count).map(|_| world.debian()).collect::<Result<_>>()?;
    let containers: Vec<_> = rootfs
        .iter()
        .map(|rootfs| world.run(&["--system-container"], rootfs, &["/sbin/init"]))
        .collect::<Result<_>>()?;
    containers.iter().try_for_each(Container::until_booted)?;
    containers.into_iter().try_for_each(Container::remove)
}

fn in_a_row(world: &World, count: usize) -> Result<()> {
    let rootfs = world.debian()?;
    for _ in 0..count {
        let container = world.boot(&[], &rootfs)?;
        container.isula("stop", [""; 0]).ok()?;
        container.remove()?;
    }
    Ok(())
}
