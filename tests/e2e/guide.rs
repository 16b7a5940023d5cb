//! The user guide's chapter on system containers, line by line, on one Debian with every option at
//! once; and which options go together.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, DEBIAN, ROOT, USER_NS};
use tests::{Container, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX, USER_NS];
    vec![
        story("guide::the_chapter", &[ROOT, DEBIAN], |world| chapter(world, None)),
        story("guide::the_chapter_with_root_mapped", &[ROOT, DEBIAN, USER_NS], |world| {
            chapter(world, Some("100000:100000:65535"))
        }),
        story("guide::which_options_go_together", NEEDS, together),
    ]
}

const MIB: u64 = 1 << 20;

fn chapter(world: &World, remap: Option<&str>) -> Result<()> {
    let rootfs = match remap {
        None => world.debian()?,
        Some(_) => world.on_ext4(&tests::rootfs::debian().context("no Debian rootfs")?)?,
    };
    std::fs::write(rootfs.join("etc/environment"), "abc=1\nonly=file\n")?;
    let channel = world.path("testdir");
    let channel_option = format!("{}:/testdir:rw:32M", channel.display());
    let parent = format!("/{}", world.name());
    let remap_options = remap.map(|remap| ["--user-remap", remap]);
    let mut options = vec!["--name", "systest01", "-t", "-i"];
    options.extend(["--ns-change-opt", "net,ipc", "--host-channel", &channel_option]);
    options.extend(["--env-target-file", "/etc/environment", "-e", "abc=123"]);
    options.extend(["--restart", "on-reboot", "-m", "1G"]);
    options.extend(["--files-limit", "1024", "--files-limit-mode", "rlimit"]);
    options.extend(remap_options.iter().flatten());
    let container = world.boot(&options, &rootfs)?;

    services(&container)?;
    cgroups(&container, &parent)?;
    kernel_parameters(&container)?;
    shared_memory(&container, &channel)?;
    environment(&container)?;
    container.exec(["sh", "-c", "ulimit -n"]).ok()?.expect_stdout("1024\n")?;
    identity(world, &container, remap, &rootfs)?;
    reboot_and_shutdown(world, &container, &channel)?;

    container.remove()?;
    ensure!(!channel.exists(), "the channel goes with the container");
    ensure!(rootfs.join("etc/os-release").exists(), "the rootfs stays");
    Ok(())
}

/// By systemd: PID 1 is init, journald and the rest are its children, services obey.
fn services(container: &Container<'_>) -> Result<()> {
    let tree = container.exec(["ps", "-ef"]).ok()?;
    let first = tree.stdout.lines().nth(1).unwrap_or_default();
    ensure!(first.split_whitespace().nth(1) == Some("1") && first.contains("init"), "{tree}");
    ensure!(tree.stdout.contains("systemd-journald"), "{tree}");
    container.exec(["systemctl", "stop", "dbus.service", "dbus.socket"]).ok()?;
    container.exec(["systemctl", "is-active", "dbus"]).code(3)?;
    container.exec(["systemctl", "start", "dbus"]).ok()?;
    container.exec(["systemctl", "is-active", "dbus"]).ok()?;
    Ok(())
}

/// Every line of its init ends in the container's cgroup; systemd has moved itself below.
fn cgroups(container: &Container<'_>, parent: &str) -> Result<()> {
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let own = format!("{parent}/{}", container.id());
    for line in text.lines() {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        let fits = path == own || path.starts_with(&format!("{own}/"));
        ensure!(fits, "{line} is not below {own}");
    }
    let named = text.lines().find(|line| line.contains("name=systemd") || line.starts_with("0::"));
    ensure!(named.is_some_and(|line| line.ends_with("/init.scope")), "{text}");
    Ok(())
}

/// Exactly these are writable, and what is written is the container's own.
fn kernel_parameters(container: &Container<'_>) -> Result<()> {
    let script = "grep -o ' /proc/sys/[^ ]* [^ ]* r[wo],[^ ]*' /proc/mounts | awk '{print $1, $3}'";
    let mounts = container.exec(["sh", "-c", script]).ok()?;
    let names = [
        "net",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shmall",
        "kernel/shm_rmid_forced",
        "kernel/msgmax",
        "kernel/msgmni",
        "kernel/msgmnb",
        "kernel/sem",
        "fs/mqueue",
    ];
    for name in names {
        let line = format!("/proc/sys/{name} rw,nosuid,nodev,noexec,relatime");
        ensure!(mounts.stdout.lines().any(|found| found == line), "{line} is not in {mounts}");
    }
    ensure!(mounts.stdout.lines().count() >= names.len(), "{mounts}");
    let before = std::fs::read_to_string("/proc/sys/kernel/msgmax")?;
    container.exec(["sh", "-c", "echo 4242 > /proc/sys/kernel/msgmax"]).ok()?;
    container.exec(["cat", "/proc/sys/kernel/msgmax"]).ok()?.expect_stdout("4242\n")?;
    ensure!(std::fs::read_to_string("/proc/sys/kernel/msgmax")? == before, "the host's is its own");
    let refused = container.exec(["sh", "-c", "echo 1 > /proc/sys/kernel/panic"]).output()?;
    ensure!(refused.code() != 0, "{refused}");
    Ok(())
}

fn shared_memory(container: &Container<'_>, channel: &Path) -> Result<()> {
    let script = "dd if=/dev/zero of=/testdir/test.file bs=1024 count=64K; ls -l /testdir";
    let output = container.exec(["sh", "-c", script]).output()?;
    ensure!(output.stderr.contains("No space left on device"), "{output}");
    ensure!(output.stderr.contains("32769+0 records in"), "{output}");
    ensure!(output.stderr.contains("32768+0 records out"), "{output}");
    ensure!(channel.join("test.file").metadata()?.len() == 32 * MIB, "it is seen from the host");
    std::fs::remove_file(channel.join("test.file"))?;
    std::fs::write(channel.join("from-the-host"), "hello\n")?;
    container.exec(["cat", "/testdir/from-the-host"]).ok()?.expect_stdout("hello\n")?;
    Ok(())
}

/// What was given wins over the file, what only the file has stays, and init has both.
fn environment(container: &Container<'_>) -> Result<()> {
    let file = container.exec(["cat", "/etc/environment"]).ok()?;
    let init = container.exec(["sh", "-c", "tr '\\0' '\\n' < /proc/1/environ"]).ok()?;
    for line in ["abc=123", "only=file", "TERM=xterm"] {
        for place in [&file, &init] {
            ensure!(place.stdout.lines().any(|found| found == line), "{line} is not in {place}");
        }
    }
    ensure!(!file.stdout.contains("abc=1\n"), "{file}");
    Ok(())
}

/// Inside it is root; on the host it is whom it was mapped to.
fn identity(
    world: &World,
    container: &Container<'_>,
    remap: Option<&str>,
    rootfs: &Path,
) -> Result<()> {
    container.exec(["id", "-u"]).ok()?.expect_stdout("0\n")?;
    container.exec(["touch", "/root/test123"]).ok()?;
    let pid = container.pid()?.to_string();
    let owner = world.tool("ps").args(["-o", "uid=", "-p", &pid]).ok()?;
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map"))?;
    let map: Vec<&str> = map.split_whitespace().collect();
    match remap {
        None => {
            ensure!(owner.line().trim() == "0", "{owner}");
        }
        Some(_) => {
            ensure!(owner.line().trim() == "100000", "{owner}");
            ensure!(map == ["0", "100000", "65535"], "{map:?}");
        }
    }
    // The tree belongs to the host's root in both cases, and stays so on disk.
    let file = world.tool("stat").args(["-c", "%u"]).arg(rootfs.join("root/test123")).ok()?;
    ensure!(file.line() == "0", "{file}");
    Ok(())
}

fn reboot_and_shutdown(world: &World, container: &Container<'_>, channel: &Path) -> Result<()> {
    let before = container.pid()?;
    container.exec(["reboot"]).output()?;
    world.until("it is up again", Duration::from_secs(60), || {
        let pid = container.pid()?;
        Ok((container.status()? == "running" && pid != before).then_some(()))
    })?;
    container.until_booted()?;
    container.exec(["cat", "/testdir/from-the-host"]).ok()?.expect_stdout("hello\n")?;
    container.exec(["shutdown", "-h", "now"]).output()?;
    container.until_status("exited")?;
    ensure!(container.exit_code()? == 130, "{}", container.exit_code()?);
    let told = container.exec(["true"]).output()?;
    ensure!(told.stderr.contains("Container is not running:"), "{told}");
    ensure!(channel.join("from-the-host").exists(), "the channel is there until it is removed");
    Ok(())
}

/// Each pair, with what is said when it does not go: a text, or that it runs.
fn together(world: &World) -> Result<()> {
    let channel = world.path("channel");
    let channel = format!("{}:/testdir:rw:1M", channel.display());
    let system: &[&str] = &["--system-container"];
    let remap: &[&str] = &["--system-container", "--user-remap", "100000:100000:65536"];
    let change: &[&str] = &["--system-container", "--ns-change-opt", "net"];
    let share: &[&str] = &["--host-channel", &channel];
    let env: &[&str] = &["--system-container", "--env-target-file", "/etc/environment"];
    let files: &[&str] = &["--files-limit", "99", "--files-limit-mode", "rlimit"];
    let reboot: &[&str] = &["--restart", "on-reboot"];
    let memory: &[&str] = &["-m", "64M"];
    let not_privileged = "--user-remap only available for system container";
    let conflict = "Conflicting options: --restart and --rm";
    let rows: &[(&[&str], &[&str], Option<&str>)] = &[
        (system, &["--privileged"], None),
        (remap, &["--privileged"], Some(not_privileged)),
        (&["--user-remap", "1:1:1000"], &[], Some(not_privileged)),
        (change, &["--privileged"], None),
        (
            &["--ns-change-opt", "net"],
            &[],
            Some("Unsupported ns-change-opt param in normal container"),
        ),
        (remap, change, None),
        (remap, share, None),
        (remap, env, None),
        (remap, files, None),
        (remap, reboot, None),
        (remap, &["--time-ns"], None),
        (remap, memory, None),
        (
            remap,
            &["--userns", "host"],
            Some("--user-remap and --userns host contradict each other"),
        ),
        (change, share, None),
        (change, env, None),
        (change, files, None),
        (share, env, None),
        (share, files, None),
        (share, &["--read-only"], None),
        (&["--env-target-file", "/etc/environment"], &[], Some("--env-target-file needs")),
        (env, reboot, None),
        (env, &["--env-target-file", "etc/environment"], Some("cannot be used multiple times")),
        (system, &["--rm"], None),
        (share, &["--rm"], None),
        (reboot, &["--rm"], Some(conflict)),
        (system, &["--cgroupns", "host"], None),
        (system, &["--read-only"], None),
        (share, &["--read-only", "--system-container"], None),
        (change, &["--runtime", "runc"], Some("isula's own runtime only")),
    ];
    let tree = world.busybox()?;
    for (one, other, refusal) in rows {
        let same = |words: &&[&str]| words.first() == Some(&"--system-container");
        let other = if same(one) && same(other) { &other[1..] } else { other };
        let options = [&["-d"], *one, other].concat();
        if options.contains(&"runc") && tests::need::RUNC.check().is_err() {
            continue;
        }
        let rootfs = match options.contains(&"--user-remap") {
            true => world.on_ext4(&tree)?,
            false => world.busybox()?,
        };
        let call = world.isula_with("run", &options, &rootfs, &["sleep", "86400"]).output()?;
        match refusal {
            None => {
                ensure!(call.code() == 0, "{options:?}: {call}");
                let id = call.line().to_owned();
                world.isula(["exec", &id, "true"]).ok().with_context(|| format!("{options:?}"))?;
                world.isula(["rm", "-f", &id]).ok()?;
            }
            Some(text) => {
                ensure!(call.code() == 125, "{options:?}: {call}");
                ensure!(call.stderr.contains(text), "{options:?}: {text:?} is not in {call}");
                world.remove_containers();
            }
        }
        ensure!(!world.path("channel").exists(), "{options:?}: the channel was left");
    }
    Ok(())
}
