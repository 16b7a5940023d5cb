//! Resource limits: set, changed, in force; in whichever cgroup version the controller lives.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Container, Story, World, leaks, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("limits::memory_pids_and_cpu_are_written", NEEDS, written),
        story("limits::too_much_memory_is_an_end", NEEDS, out_of_memory),
        story("limits::too_many_processes_are_refused", NEEDS, too_many),
        story("limits::pause_and_unpause", NEEDS, pause),
        story("limits::the_cgroup_parent_is_where_it_was_asked", NEEDS, parent),
    ]
}

const MIB: u64 = 1 << 20;

/// A file of the container's own cgroup, by its name in v1 or in v2.
pub(crate) fn file(container: &Container<'_>, v1: &str, v2: &str) -> Result<String> {
    let mut looked = Vec::new();
    for hierarchy in leaks::hierarchies() {
        for name in [v1, v2] {
            let path: PathBuf = hierarchy.join(container.cgroup()).join(name);
            if let Ok(text) = std::fs::read_to_string(&path) {
                return Ok(text.trim().to_owned());
            }
            looked.push(path.display().to_string());
        }
    }
    Err(anyhow::anyhow!("none of {}", looked.join(", "))).context("a file of its cgroup")
}

fn written(world: &World) -> Result<()> {
    let options = [
        "-m",
        "64M",
        "--pids-limit",
        "50",
        "--cpu-shares",
        "512",
        "--cpu-period",
        "50000",
        "--cpu-quota",
        "25000",
        "--cpuset-cpus",
        "0",
    ];
    let container = world.sleeper(&options)?;
    let memory = file(&container, "memory.limit_in_bytes", "memory.max")?;
    ensure!(memory == (64 * MIB).to_string(), "memory {memory}");
    let pids = file(&container, "pids.max", "pids.max")?;
    ensure!(pids == "50", "pids {pids}");
    let quota = file(&container, "cpu.cfs_quota_us", "cpu.max")?;
    ensure!(quota == "25000" || quota == "25000 50000", "quota {quota}");
    let cpus = file(&container, "cpuset.cpus", "cpuset.cpus")?;
    ensure!(cpus == "0", "cpus {cpus}");
    container.remove()
}

fn out_of_memory(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    // tail keeps all it has read of a line that does not end. It is the one to be killed, and not
    // the shell that tells of it.
    let victim = "echo 1000 > /proc/self/oom_score_adj; exec tail";
    let script = &format!("head -c 200000000 /dev/zero | ({victim}); echo $?");
    let container =
        world.run(&["-m", "32M", "--memory-swap", "32M"], &rootfs, &["sh", "-c", script])?;
    container.until_status("exited")?;
    let output = container.isula("logs", [""; 0]).ok()?;
    ensure!(output.stdout.contains("137"), "tail was killed:\n{output}{:#}", container.inspect()?);
    ensure!(container.value("/State/OOMKilled")? == true, "{:#}", container.inspect()?);
    container.remove()
}

fn too_many(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done";
    let call =
        world.isula_with("run", &["--rm", "--pids-limit", "5"], &rootfs, &["sh", "-c", script]);
    let output = call.output()?;
    ensure!(output.stderr.contains("can't fork"), "{output}");
    Ok(())
}

fn pause(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let script = "i=0; while :; do i=$((i + 1)); echo $i > /count; sleep 0.01; done";
    let container = world.run(&[], &rootfs, &["sh", "-c", script])?;
    let count = || std::fs::read_to_string(rootfs.join("count")).map_err(anyhow::Error::from);
    world.until(
        "it counts",
        Duration::from_secs(5),
        || Ok((!count()?.is_empty()).then_some(())),
    )?;
    container.isula("pause", [""; 0]).ok()?;
    ensure!(container.status()? == "paused", "it is {}", container.status()?);
    let frozen = count()?;
    container.exec(["true"]).output()?.expect_stderr("paused")?;
    ensure!(count()? == frozen, "it does not count");
    container.isula("unpause", [""; 0]).ok()?;
    world
        .until("it counts on", Duration::from_secs(5), || Ok((count()? != frozen).then_some(())))?;
    container.remove()
}

fn parent(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let expected = format!("/{}", container.cgroup());
    for line in cgroup.lines() {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        ensure!(path == expected, "{line:?} is not {expected}");
    }
    let known = container.value("/HostConfig/CgroupParent")?;
    ensure!(known == format!("/{}", world.name()), "inspect says {known}");
    container.remove()
}
