//! Looking at running containers and changing them: update, top, stats.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, story};

use crate::limits::file;

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("daily::update_is_live_and_kept", NEEDS, update),
        story("daily::clocks_of_its_own", NEEDS, clocks),
        story("daily::open_files_of_each_process", NEEDS, files_limit),
        story("daily::volumes_of_another", NEEDS, volumes_from),
        story("daily::labels_where_there_are_none", NEEDS, labels),
        story("daily::update_that_does_not_fit_changes_nothing", NEEDS, update_refused),
        story("daily::update_of_the_policy", NEEDS, update_policy),
        story("daily::update_reaches_a_restart", NEEDS, update_restart),
        story("daily::several_targets", NEEDS, several),
        story("daily::top_lists_host_pids", NEEDS, top),
        story("daily::stats_counts", NEEDS, stats),
        story("daily::completions_of_shells", NEEDS, completions),
        story("daily::prepare_rootfs_looks_and_changes_nothing", NEEDS, prepare),
    ]
}

/// Uptime, boot time and start times agree, inside and after a restart.
fn clocks(world: &World) -> Result<()> {
    let container = world.sleeper(&["--time-ns"])?;
    let check = || -> Result<()> {
        let read = |path: &str| Ok::<_, anyhow::Error>(container.exec(["cat", path]).ok()?.stdout);
        let uptime: f64 = read("/proc/uptime")?.split(' ').next().context("a word")?.parse()?;
        ensure!(uptime < 60.0, "up for {uptime} s");
        let stat = read("/proc/1/stat")?;
        let start: u64 = stat.split(' ').nth(21).context("a field")?.parse()?;
        ensure!(start < 6000, "init began {start} ticks after the boot");
        let stat = read("/proc/stat")?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")).context("btime")?;
        let now: u64 = container.exec(["date", "+%s"]).ok()?.line().parse()?;
        ensure!(now.abs_diff(boot.parse()?) < 60, "booted at {boot}, now is {now}");
        Ok(())
    };
    check()?;
    ensure!(container.value("/HostConfig/TimeNamespace")? == true);
    container.isula("restart", ["-t", "0"]).ok()?;
    check()?;
    container.remove()
}

fn files_limit(world: &World) -> Result<()> {
    let options = ["--files-limit", "77", "--files-limit-mode", "rlimit"];
    let container = world.sleeper(&options)?;
    container.exec(["sh", "-c", "ulimit -n; ulimit -Hn"]).ok()?.expect_stdout("77\n77\n")?;
    ensure!(container.value("/HostConfig/FilesLimit")? == 77);
    ensure!(container.value("/HostConfig/FilesLimitMode")? == "rlimit");
    container.remove()?;
    let rootfs = world.busybox()?;
    let call = world.isula_with("run", &["--files-limit", "77"], &rootfs, &["true"]);
    call.code(125)?.expect_stderr(
        "Your kernel does not support files limit capabilities, files limit discarded.; limit each \
         process instead: --files-limit-mode rlimit",
    )?;
    Ok(())
}

fn volumes_from(world: &World) -> Result<()> {
    let data = world.new_directory("data")?;
    std::fs::write(data.join("file"), "theirs\n")?;
    let data = data.to_str().context("a name")?;
    let both = format!("{data}:/data");
    let own = format!("{data}:/own");
    let other = world.sleeper(&["--name", "other", "-v", &both, "-v", &own, "--tmpfs", "/mem"])?;
    let rootfs = world.busybox()?;
    let script = "cat /data/file; echo x > /data/new; test -d /mem || echo no /mem";
    let run = |from: &str| {
        let options = ["--rm", "--volumes-from", from];
        world.isula_with("run", &options, &rootfs, &["sh", "-c", script])
    };
    run("other").ok()?.expect_stdout("theirs\nno /mem\n")?;
    let refused = run("other:ro").output()?;
    ensure!(refused.stderr.contains("Read-only file system"), "{refused}");
    run("nobody").code(125)?.expect_stderr(
        "isula: run: --volumes-from nobody: no container matches \"nobody\"; list them: isula ps -a",
    )?;
    other.remove()
}

/// Asked for what the host has not, it does not start; nothing is silently left out.
fn labels(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    for (option, module) in [("apparmor=strict", "apparmor"), ("label=level:s0:c1", "selinux")] {
        if std::path::Path::new("/sys/module").join(module).exists()
            || std::path::Path::new("/sys/fs").join(module).exists()
        {
            continue;
        }
        let call = world.isula_with("run", &["--rm", "--security-opt", option], &rootfs, &["true"]);
        let call = call.code(125)?;
        ensure!(call.stderr.to_lowercase().contains(module), "{module} is not in {call}");
    }
    world
        .isula_with("run", &["--rm", "--security-opt", "label=disable"], &rootfs, &["true"])
        .ok()?;
    Ok(())
}

fn update(world: &World) -> Result<()> {
    let container = world.sleeper(&["-m", "64M", "--cpu-shares", "512"])?;
    let options = ["-m", "96M", "--pids-limit", "40", "--cpu-quota", "30000", "--cpuset-cpus", "0"];
    container.isula("update", options).ok()?.expect_stdout(&format!("{}\n", container.id()))?;
    let in_force = || -> Result<()> {
        let memory = file(&container, "memory.limit_in_bytes", "memory.max")?;
        ensure!(memory == (96 << 20).to_string(), "memory {memory}");
        let pids = file(&container, "pids.max", "pids.max")?;
        ensure!(pids == "40", "pids {pids}");
        let quota = file(&container, "cpu.cfs_quota_us", "cpu.max")?;
        ensure!(quota.starts_with("30000"), "quota {quota}");
        let cpus = file(&container, "cpuset.cpus", "cpuset.cpus")?;
        ensure!(cpus == "0", "cpus {cpus}");
        Ok(())
    };
    in_force()?;
    let memory = container.value("/HostConfig/Memory")?;
    ensure!(memory == 96 << 20, "inspect says {memory}");
    ensure!(container.value("/HostConfig/CPUShares")? == 512, "what was not named stays");
    container.isula("restart", ["-t", "0"]).ok()?;
    in_force()?;
    // One that is stopped takes the limits at its next start.
    container.isula("stop", ["-t", "0"]).ok()?;
    container.isula("update", ["-m", "128M"]).ok()?;
    container.isula("start", [""; 0]).ok()?;
    let memory = file(&container, "memory.limit_in_bytes", "memory.max")?;
    ensure!(memory == (128 << 20).to_string(), "memory {memory}");
    container.remove()
}

fn update_refused(world: &World) -> Result<()> {
    let container = world.sleeper(&["-m", "64M", "--memory-swap", "80M"])?;
    let refused = |options: &[&str], text: &str| -> Result<()> {
        container.isula("update", options.iter().copied()).code(1)?.expect_stderr(text)?;
        let memory = file(&container, "memory.limit_in_bytes", "memory.max")?;
        ensure!(memory == (64 << 20).to_string(), "memory {memory}");
        Ok(())
    };
    refused(&[], "nothing to change; name a limit or --restart")?;
    refused(&["-m", "1M"], "Minimum memory limit allowed is 4MB")?;
    refused(&["-m", "96M"], "Memory limit should be smaller than already set memoryswap limit")?;
    refused(
        &["--kernel-memory", "16M"],
        "Can not update kernel memory to a running container, please stop it first",
    )?;
    refused(&["--cpuset-cpus", "100000"], "Requested CPUs are not available")?;
    refused(&["--cpu-period", "10"], "CPU cfs period can not be less than 1ms (i.e. 1000)")?;
    container.remove()
}

fn update_policy(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    container.isula("update", ["--restart", "on-failure:3"]).ok()?;
    let policy = container.value("/HostConfig/RestartPolicy")?;
    ensure!(policy["Name"] == "on-failure" && policy["MaximumRetryCount"] == 3, "{policy}");
    container.remove()?;
    let gone = world.sleeper(&["--rm"])?;
    gone.isula("update", ["--restart", "always"])
        .code(1)?
        .expect_stderr("Cannot update restart policy for the auto remove container")?;
    gone.remove()
}

/// The supervisor that lives through restarts has the new limits too.
fn update_restart(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let options = ["--restart", "always", "-m", "64M"];
    let container = world.run(&options, &rootfs, &["sleep", "600"])?;
    container.isula("update", ["-m", "96M"]).ok()?;
    let before = container.pid()?;
    // Not by isula kill, which is meant to be the end.
    kill(before)?;
    world.until("another life", Duration::from_secs(20), || {
        let state = container.value("/State")?;
        Ok((state["Status"] == "running" && state["Pid"] != before).then_some(()))
    })?;
    let memory = file(&container, "memory.limit_in_bytes", "memory.max")?;
    ensure!(memory == (96 << 20).to_string(), "memory {memory}");
    container.remove()
}

fn kill(pid: u32) -> Result<()> {
    let pid = linux::process::Pid::new(i32::try_from(pid)?).context("a pid")?;
    let init = linux::process::PidFd::open(pid)?;
    Ok(init.signal(linux::process::Signal::KILL)?)
}

fn several(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let one = world.run(&["--read-only"], &rootfs, &["sleep", "600"])?;
    let two = world.run(&["--read-only"], &rootfs, &["sleep", "600"])?;
    let names = ["update", "--pids-limit", "30", one.id(), "nobody", two.id()];
    let output = world.isula(names).code(1)?;
    let expected = format!("{}\n{}\n", one.id(), two.id());
    let output = output.expect_stdout(&expected)?;
    output.expect_stderr("no container matches \"nobody\"")?;
    for container in [&one, &two] {
        ensure!(file(container, "pids.max", "pids.max")? == "30", "both have it");
    }
    one.remove()?;
    two.remove()
}

fn top(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    let pid = container.pid()?.to_string();
    let table = container.isula("top", [""; 0]).ok()?;
    let mut lines = table.stdout.lines();
    let heading: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    ensure!(heading == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], "{table}");
    let row: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    ensure!(row.first() == Some(&"root") && row.get(1) == Some(&pid.as_str()), "{table}");
    ensure!(table.stdout.contains("sleep 86400"), "{table}");
    let chosen = world.isula(["top", container.id(), "-o", "pid,comm"]).ok()?;
    ensure!(chosen.stdout.split_whitespace().eq(["PID", "COMMAND", &pid, "sleep"]), "{chosen}");
    let json = world.isula(["top", "--format", "json", container.id()]).ok()?;
    let json: Value = serde_json::from_str(&json.stdout)?;
    ensure!(json[0]["PID"] == pid.as_str(), "{json}");
    container.isula("stop", ["-t", "0"]).ok()?;
    container.isula("top", [""; 0]).code(1)?.expect_stderr("is not running.")?;
    container.remove()
}

fn stats(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let busy = ["sh", "-c", "while :; do :; done"];
    let container = world.run(&["--name", "busy", "-m", "64M"], &rootfs, &busy)?;
    let table = world.isula(["stats", "--no-stream"]).ok()?;
    let heading = "CONTAINER      CPU %";
    ensure!(table.stdout.starts_with(heading), "{table}");
    ensure!(table.stdout.contains("/ 64.0MiB"), "{table}");
    let json = world.isula(["stats", "--no-stream", "--format", "json", "busy"]).ok()?;
    let json: Value = serde_json::from_str(&json.stdout)?;
    let row = &json[0];
    ensure!(row["CPUPercent"].as_f64().is_some_and(|cpu| cpu > 1.0), "it is busy: {row}");
    ensure!(row["MemoryLimit"] == 64 << 20 && row["PIDs"] == 1, "{row}");
    world
        .isula(["stats", "--no-stream", "nobody"])
        .code(1)?
        .expect_stderr("no container matches \"nobody\"")?;
    container.isula("stop", ["-t", "0"]).ok()?;
    let none = world.isula(["stats", "--no-stream"]).ok()?;
    ensure!(none.stdout.lines().count() == 1, "{none}");
    let all = world.isula(["stats", "--no-stream", "-a"]).ok()?;
    ensure!(all.stdout.lines().count() == 2 && all.stdout.contains("0.00%"), "{all}");
    container.remove()
}

fn completions(world: &World) -> Result<()> {
    for (shell, word) in [("bash", "_isula()"), ("zsh", "#compdef isula"), ("fish", "complete -c")]
    {
        let text = world.isula(["completion", shell]).ok()?;
        ensure!(text.stdout.contains(word) && text.stdout.contains("ns-change-opt"), "{shell}");
    }
    let bash = world.isula(["completion", "bash"]).ok()?;
    world.tool("bash").args(["-n"]).stdin(bash.stdout).ok()?;
    world.isula(["completion", "tcsh"]).code(1)?.expect_stderr("use bash, zsh or fish")?;
    Ok(())
}

fn prepare(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let fstab = "/dev/sda1 / ext4 defaults 0 1\n";
    std::fs::write(rootfs.join("etc/fstab"), fstab)?;
    let look = || world.isula(["prepare-rootfs", "--check", "--format", "json"]).arg(&rootfs);
    let has = |path: &str| -> Result<bool> {
        let found: Value = serde_json::from_str(&look().code(1)?.stdout)?;
        Ok(found.as_array().into_iter().flatten().any(|problem| problem["Path"] == path))
    };
    ensure!(has("/etc/fstab")?, "a disk is in it");
    ensure!(std::fs::read_to_string(rootfs.join("etc/fstab"))? == fstab, "nothing was changed");
    world
        .isula(["prepare-rootfs"])
        .arg(&rootfs)
        .code(1)?
        .expect_stderr("a rootfs is looked at and not changed; say so with --check")?;
    Ok(())
}
