//! lxcfs and the engine: a container sees a machine of its own from its first moment.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lxcfs::Lxcfs;
use tests::need::{BUSYBOX, FUSE, JAVA, PODMAN, PSUTIL, ROOT};
use tests::{Container, Story, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX, FUSE];
    const PROGRAMS: &[tests::Need] = &[ROOT, FUSE, JAVA, PODMAN, PSUTIL];
    vec![
        story("lxcfs::a_container_sees_its_own_memory", NEEDS, memory),
        story("lxcfs::an_update_shows_at_once", NEEDS, updated),
        story("lxcfs::programs_agree_with_the_limits", PROGRAMS, programs),
        story("lxcfs::wanted_off_or_required", NEEDS, choices),
        story("lxcfs::the_daemon_is_killed_and_comes_back", NEEDS, killed),
    ]
}

fn total(container: &Container<'_>) -> Result<u64> {
    let output = container.exec(["sh", "-c", "grep MemTotal /proc/meminfo"]).ok()?;
    let number = output.stdout.split_whitespace().nth(1).context("a number")?;
    Ok(number.parse()?)
}

fn host_total() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    Ok(text.split_whitespace().nth(1).context("a number")?.parse()?)
}

fn memory(world: &World) -> Result<()> {
    let lxcfs = Lxcfs::start(world)?;
    let [option, dir] = lxcfs.options();
    let container = world.sleeper(&["--system-container", "-m", "64m", &option, &dir])?;
    ensure!(total(&container)? == 65536, "{} kB", total(&container)?);
    let uptime = container.exec(["sh", "-c", "cut -d. -f1 /proc/uptime"]).ok()?;
    ensure!(uptime.line().parse::<u64>()? < 60, "it has been up for {uptime}");
    // A new init gets them anew.
    container.isula("restart", ["-t", "0"]).ok()?;
    ensure!(total(&container)? == 65536, "{} kB", total(&container)?);
    // An ordinary container sees the host unless it asks.
    let plain = world.sleeper(&["-m", "64m", &option, &dir])?;
    ensure!(total(&plain)? == host_total()?, "{} kB", total(&plain)?);
    plain.remove()?;
    let asked = world.sleeper(&["-m", "64m", "--lxcfs", "on", &option, &dir])?;
    ensure!(total(&asked)? == 65536, "{} kB", total(&asked)?);
    asked.remove()?;
    container.remove()?;
    lxcfs.stop()
}

/// The files that openEuler's manual lists, and what it shows after an update.
fn updated(world: &World) -> Result<()> {
    let lxcfs = Lxcfs::start(world)?;
    let [option, dir] = lxcfs.options();
    let container = world.sleeper(&["--system-container", "-m", "64m", &option, &dir])?;
    let mounts = container.exec(["cat", "/proc/mounts"]).ok()?;
    for file in ["cpuinfo", "diskstats", "meminfo", "partitions", "stat", "swaps", "uptime"] {
        let line = format!(
            "lxcfs /proc/{file} fuse.lxcfs rw,nosuid,nodev,relatime,user_id=0,group_id=0,\
             default_permissions,allow_other 0 0"
        );
        ensure!(mounts.stdout.lines().any(|mount| mount == line), "no {line} in {mounts}");
    }
    let cpus = std::thread::available_parallelism()?.get().min(2);
    let mask = if cpus == 1 { "0" } else { "0-1" };
    container.isula("update", ["--cpuset-cpus", mask, "--memory", "1G"]).ok()?;
    // What the kernel keeps and what the daemon knows of limits are each 100 ms old at most.
    wait::until("the update shows", Duration::from_secs(2), || {
        Ok((total(&container)? == 1_048_576).then_some(()))
    })?;
    let places = "^processor|^physical id|^siblings|^core id|^cpu cores";
    let cpuinfo = container.exec(["grep", "-E", places, "/proc/cpuinfo"]).ok()?;
    let values: Vec<String> = cpuinfo
        .stdout
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.1.to_owned()))
        .collect();
    // arm64 has no line but the first.
    let wanted: Vec<String> = match values.len() / cpus {
        1 => (0..cpus).map(|cpu| cpu.to_string()).collect(),
        _ => (0..cpus).flat_map(|cpu| [cpu, cpu, 1, 0, 1].map(|value| value.to_string())).collect(),
    };
    ensure!(values == wanted, "{cpuinfo}");
    container.remove()?;
    lxcfs.stop()
}

/// What programs of several languages take the machine for, with the host's own files as rootfs.
/// podman is the one in Go.
fn programs(world: &World) -> Result<()> {
    let lxcfs = Lxcfs::start(world)?;
    let [option, dir] = lxcfs.options();
    let rootfs = world.new_directory("rootfs")?;
    let (upper, work) = (world.new_directory("upper")?, world.new_directory("work")?);
    let layers = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    world.mount("overlay", &rootfs, &layers)?;
    let limits = ["--system-container", "-m", "512m", "--cpuset-cpus", "0", &option, &dir];
    // podman wants to be able to mount, whatever it is asked, and a disk of its own to keep things.
    let limits = [&["--privileged"], &limits[..]].concat();
    let container = world.run(&limits, &rootfs, &["sleep", "86400"])?;
    let check = |mebibytes: u64, cpus: usize| -> Result<()> {
        let kibibytes = mebibytes << 10;
        let rows: [(&[&str], String); 5] = [
            (&["nproc"], format!("{cpus}\n")),
            (
                &["sh", "-c", "free -m | grep -o 'Mem: *[0-9]*' | tr -s ' '"],
                format!("Mem: {mebibytes}\n"),
            ),
            (
                &[
                    "podman",
                    "--root=/tmp/own",
                    "--runroot=/run/own",
                    "--storage-driver=vfs",
                    "info",
                    "--format",
                    "{{.Host.MemTotal}} {{.Host.CPUs}}",
                ],
                format!("{} {cpus}\n", kibibytes << 10),
            ),
            (
                &["python3", "-c", "import psutil; print(psutil.virtual_memory().total)"],
                format!("{}\n", kibibytes << 10),
            ),
            (
                &[
                    "sh",
                    "-c",
                    "java -XshowSettings:system -version 2>&1 | grep -E 'Memory Limit|Effective CPU' | tr -d ' '",
                ],
                format!("EffectiveCPUCount:{cpus}\nMemoryLimit:{mebibytes}.00M\n"),
            ),
        ];
        for (command, expected) in rows {
            container.exec(command).ok()?.expect_stdout(&expected)?;
        }
        Ok(())
    };
    check(512, 1)?;
    let cpus = std::thread::available_parallelism()?.get().min(2);
    let mask = if cpus == 1 { "0" } else { "0-1" };
    container.isula("update", ["--cpuset-cpus", mask, "--memory", "768m"]).ok()?;
    wait::until("the update shows", Duration::from_secs(2), || {
        Ok((total(&container)? == 768 << 10).then_some(()))
    })?;
    check(768, cpus)?;
    container.remove()?;
    lxcfs.stop()
}

fn choices(world: &World) -> Result<()> {
    let dir = world.path("nobody").to_string_lossy().into_owned();
    let auto = world.sleeper(&["--system-container", "-m", "64m", "--lxcfs-dir", &dir])?;
    ensure!(total(&auto)? == host_total()?, "{} kB", total(&auto)?);
    auto.remove()?;
    let options = ["--system-container", "--lxcfs", "on", "--lxcfs-dir", &dir];
    let rootfs = world.busybox()?;
    let refused = world.isula_with("run", &options, &rootfs, &["true"]).code(125)?;
    let expected = format!(
        "isula: run: --lxcfs on: lxcfs does not run ({dir}/control.sock is not there); start it, \
         or say --lxcfs auto\n"
    );
    ensure!(refused.stderr == expected, "{refused}");
    let refused = world.isula_with("run", &["--lxcfs", "proc"], &rootfs, &["true"]).code(125)?;
    ensure!(refused.stderr.contains("--lxcfs proc: use auto, on or off"), "{refused}");
    world.remove_containers();

    let lxcfs = Lxcfs::start(world)?;
    let [option, dir] = lxcfs.options();
    let options = ["--system-container", "-m", "64m", "--lxcfs", "off", &option, &dir];
    let off = world.sleeper(&options)?;
    ensure!(total(&off)? == host_total()?, "{} kB", total(&off)?);
    off.remove()?;
    lxcfs.stop()
}

/// SIGKILL of the process that answers reads, over and over, while the container reads.
fn killed(world: &World) -> Result<()> {
    let lxcfs = Lxcfs::start(world)?;
    let [option, dir] = lxcfs.options();
    let container = world.sleeper(&["--system-container", "-m", "64m", &option, &dir])?;
    let script = "i=0; while [ $i -lt 300 ]; do \
                  grep -q 'MemTotal: *65536 kB' /proc/meminfo || { echo bad read $i; exit 1; }; \
                  i=$((i+1)); done; echo all good";
    let read = container.exec(["sh", "-c", script]);
    let mut reader = read.command();
    let reader = reader.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let holder = lxcfs.pid()?;
    let mut workers = std::collections::BTreeSet::new();
    wait::until("three workers were killed", Duration::from_secs(20), || {
        let path = format!("/proc/{holder}/task/{holder}/children");
        for word in std::fs::read_to_string(path)?.split_whitespace() {
            let worker: i32 = word.parse()?;
            if let (true, Some(pid)) =
                (workers.insert(worker), rustix::process::Pid::from_raw(worker))
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        Ok((workers.len() >= 3).then_some(()))
    })?;
    let output = reader.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said == "all good\n", "{}: {said}", output.status);
    container.remove()?;
    lxcfs.stop()
}
