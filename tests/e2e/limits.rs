//! Resource limits: set, changed, in force; in whichever cgroup version the controller lives.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Container, Disk, Story, World, leaks, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("limits::memory_pids_and_cpu_are_written", NEEDS, written),
        story("limits::each_option_is_in_force_or_refused", NEEDS, each_option),
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

/// What options ask for.
struct Asked<'a> {
    options: &'a [&'a str],
    /// A file of the container's cgroup, of one version or the other, and what it then says.
    in_force: &'a [(&'a str, &'a str)],
    /// The words of a host that does not have it.
    refused: &'a [&'a str],
}

fn each_option(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    let number = disk.number()?;
    let of = |rate: &str| format!("{}:{rate}", disk.path);
    let (bytes, times) = (of("1mb"), of("100"));
    let (v1_bytes, v1_times) = (format!("{number} 1048576"), format!("{number} 100"));
    const SWAPPINESS: &str = "cgroup v2 has no such setting for a cgroup; leave it out";
    const KERNEL: &[&str] = &[
        "this kernel counts kernel memory towards memory.limit alone; leave it out",
        "cgroup v2 counts kernel memory towards memory.limit alone; leave it out",
    ];
    const OOM: &str = "cgroup v2 cannot stop a cgroup that is out of memory; leave it out";
    let table = [
        Asked {
            options: &["-m", "64M", "--memory-swap", "80M"],
            in_force: &[
                ("memory.memsw.limit_in_bytes", "83886080"),
                ("memory.swap.max", "16777216"),
            ],
            refused: &[],
        },
        Asked {
            options: &["-m", "64M", "--memory-reservation", "32M"],
            in_force: &[("memory.soft_limit_in_bytes", "33554432"), ("memory.low", "33554432")],
            refused: &[],
        },
        Asked {
            options: &["--memory-swappiness", "30"],
            in_force: &[("memory.swappiness", "30")],
            refused: &[SWAPPINESS],
        },
        Asked {
            options: &["--kernel-memory", "16M"],
            in_force: &[("memory.kmem.limit_in_bytes", "16777216")],
            refused: KERNEL,
        },
        Asked {
            options: &["-m", "64M", "--oom-kill-disable"],
            in_force: &[("memory.oom_control", "oom_kill_disable 1")],
            refused: &[OOM],
        },
        Asked {
            options: &["--cpus", "0.5"],
            in_force: &[("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")],
            refused: &[],
        },
        Asked {
            options: &["--cpuset-mems", "0"],
            in_force: &[("cpuset.mems", "0"), ("cpuset.mems", "0")],
            refused: &[],
        },
        Asked {
            options: &["--cpu-rt-period", "1000000", "--cpu-rt-runtime", "1000"],
            in_force: &[("cpu.rt_runtime_us", "1000")],
            refused: &[
                "the parent cgroup has no realtime to give; raise its cpu.rt_runtime_us first",
                "cgroup v2 has no realtime limits; leave it out",
            ],
        },
        Asked {
            options: &["--blkio-weight", "300"],
            in_force: &[
                ("blkio.bfq.weight", "300"),
                ("io.bfq.weight", "300"),
                ("io.weight", "default 2930"),
            ],
            refused: &["shares of a disk need the BFQ scheduler, or io.cost on cgroup v2"],
        },
        Asked {
            options: &["--device-read-bps", &bytes],
            in_force: &[
                ("blkio.throttle.read_bps_device", &v1_bytes),
                ("io.max", "rbps=1048576 wbps=max riops=max wiops=max"),
            ],
            refused: &[],
        },
        Asked {
            options: &["--device-write-bps", &bytes],
            in_force: &[
                ("blkio.throttle.write_bps_device", &v1_bytes),
                ("io.max", "rbps=max wbps=1048576 riops=max wiops=max"),
            ],
            refused: &[],
        },
        Asked {
            options: &["--device-read-iops", &times],
            in_force: &[
                ("blkio.throttle.read_iops_device", &v1_times),
                ("io.max", "rbps=max wbps=max riops=100 wiops=max"),
            ],
            refused: &[],
        },
        Asked {
            options: &["--device-write-iops", &times],
            in_force: &[
                ("blkio.throttle.write_iops_device", &v1_times),
                ("io.max", "rbps=max wbps=max riops=max wiops=100"),
            ],
            refused: &[],
        },
        Asked {
            options: &["--hugetlb-limit", "2MB:32MB"],
            in_force: &[
                ("hugetlb.2MB.limit_in_bytes", "33554432"),
                ("hugetlb.2MB.max", "33554432"),
            ],
            refused: &[],
        },
    ];
    let rootfs = world.busybox()?;
    for Asked { options, in_force, refused } in table {
        let command = ["sleep", "86400"];
        let output = world.isula_with("run", &[&["-d"], options].concat(), &rootfs, &command);
        let output = output.output()?;
        if output.code() == 125 {
            ensure!(refused.iter().any(|text| output.stderr.contains(text)), "{output}");
            for id in world.isula(["ps", "-a", "-q"]).ok()?.stdout.lines() {
                world.isula(["rm", "-f", id]).ok()?;
            }
            continue;
        }
        ensure!(output.code() == 0, "{output}");
        let container = world.container(output.line())?;
        let said = |name: &str| file(&container, name, name).unwrap_or_default();
        let holds = |(name, text): &(&str, &str)| said(name).contains(text);
        ensure!(in_force.iter().any(holds), "{options:?}: none of {in_force:?}");
        container.remove()?;
    }
    Ok(())
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
