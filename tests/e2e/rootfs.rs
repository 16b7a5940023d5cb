//! The tree of a container is its own: what it holds must never lead to the host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Output, Story, World, leaks, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    let minutes = Duration::from_secs(300);
    vec![
        story("rootfs::one_tree_has_one_live_container", NEEDS, one_container),
        story("rootfs::hostile_trees_of_ordinary_containers", NEEDS, |world| hostile(world, &[]))
            .limit(minutes),
        story("rootfs::hostile_trees_of_system_containers", NEEDS, |world| {
            hostile(world, &["--system-container"])
        })
        .limit(minutes),
        story("rootfs::hostile_targets_of_volumes", NEEDS, hostile_volumes),
        story("rootfs::a_hostile_env_target_file", NEEDS, hostile_env_target),
        story("rootfs::read_only", NEEDS, read_only),
        story("rootfs::volumes_and_their_modes", NEEDS, volumes),
        story("rootfs::what_is_not_a_rootfs_is_refused", NEEDS, not_a_rootfs),
    ]
}

fn one_container(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let first = world.run(&[], &rootfs, &["sleep", "600"])?;
    let second = world.isula_with("run", &["-d"], &rootfs, &["true"]).output()?;
    ensure!(second.code() == 125, "{second}");
    ensure!(second.stderr.contains(&first.id()[..12]), "who uses it is named:\n{second}");
    for line in world.isula(["ps", "-a", "-q", "--no-trunc"]).ok()?.stdout.lines() {
        world.container(line)?.remove()?;
    }
    // With the first gone the tree is free.
    first.forget();
    let third = world.run(&[], &rootfs, &["sleep", "600"])?;
    third.remove()
}

/// Places in a rootfs that a runtime or an engine touches.
const PLACES: &[&str] = &[
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "etc",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/mtab",
    "etc/passwd",
    "dev/console",
    "dev/pts",
    "dev/shm",
    "sys/fs/cgroup",
    "run/lock",
    "run/host",
    "root",
];

/// What may stand at such a place.
#[derive(Debug, Clone, Copy)]
enum Trap {
    Absolute,
    Upwards,
    AbsoluteFile,
    UpwardsFile,
    Loop,
    Fifo,
    Socket,
    Device,
    File,
}

const TRAPS: &[Trap] = &[
    Trap::Absolute,
    Trap::Upwards,
    Trap::AbsoluteFile,
    Trap::UpwardsFile,
    Trap::Loop,
    Trap::Fifo,
    Trap::Socket,
    Trap::Device,
    Trap::File,
];

impl Trap {
    /// Puts it at `place` of `rootfs`; links lead to `canary`, a directory of the host's.
    fn set(self, world: &World, rootfs: &Path, place: &str, canary: &Path) -> Result<()> {
        let at = rootfs.join(place);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&at)?,
            Ok(_) => fs::remove_file(&at)?,
            Err(_) => {}
        }
        let upwards = |to: &Path| {
            PathBuf::from(format!("{}{}", "../".repeat(40), &to.display().to_string()[1..]))
        };
        let file = canary.join("file");
        match self {
            Trap::Absolute => symlink(canary, &at)?,
            Trap::Upwards => symlink(upwards(canary), &at)?,
            Trap::AbsoluteFile => symlink(&file, &at)?,
            Trap::UpwardsFile => symlink(upwards(&file), &at)?,
            Trap::Loop => symlink(at.file_name().context("a name")?, &at)?,
            Trap::Fifo => drop(world.tool("mkfifo").arg(&at).ok()?),
            Trap::Socket => drop(std::os::unix::net::UnixListener::bind(&at)?),
            Trap::Device => drop(world.tool("mknod").arg(&at).args(["b", "254", "0"]).ok()?),
            Trap::File => fs::write(&at, "a file\n")?,
        }
        Ok(())
    }
}

/// Everything below a directory, with what would change if somebody touched it.
fn survey(dir: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                todo.push(entry?.path());
            }
        }
        let text = if meta.is_file() { fs::read_to_string(&path)? } else { String::new() };
        let facts = format!(
            "{:o} {}:{} {} {text:?}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.ctime_nsec()
        );
        found.insert(path, facts);
    }
    Ok(found)
}

fn canary(world: &World) -> Result<PathBuf> {
    let dir = world.new_directory("canary")?;
    fs::create_dir(dir.join("sub"))?;
    fs::write(dir.join("file"), "the host's\n")?;
    Ok(dir)
}

/// Either it ran, or it was refused in words; never a hang, a panic, a touch of the host.
fn ran_or_refused(output: &Output) -> Result<()> {
    let refused = matches!(output.code(), 1 | 125..=127) && output.stderr.starts_with("isula: ");
    ensure!(output.code() == 0 || refused, "neither ran nor refused in words:\n{output}");
    ensure!(!output.stderr.contains("panicked"), "{output}");
    Ok(())
}

fn hostile(world: &World, options: &[&str]) -> Result<()> {
    let canary = canary(world)?;
    let host = survey(&canary)?;
    let mounts = leaks::mounts();
    let options = [&["--rm"], options].concat();
    for place in PLACES {
        for trap in TRAPS {
            let told = || format!("{trap:?} at /{place}");
            let rootfs = world.busybox()?;
            trap.set(world, &rootfs, place, &canary).with_context(told)?;
            let call = world.isula_with("run", &options, &rootfs, &["/bin/busybox", "true"]);
            let output = call.limit(Duration::from_secs(20)).output().with_context(told)?;
            ran_or_refused(&output).with_context(told)?;
            ensure!(survey(&canary)? == host, "{}: the host was touched\n{output}", told());
            ensure!(leaks::mounts() == mounts, "{}: a mount is left\n{output}", told());
            fs::remove_dir_all(&rootfs).with_context(told)?;
        }
    }
    Ok(())
}

fn hostile_volumes(world: &World) -> Result<()> {
    let canary = canary(world)?;
    let source = world.new_directory("source")?;
    fs::write(source.join("mine"), "from the volume\n")?;
    let host = survey(&canary)?;
    for trap in TRAPS {
        let told = || format!("{trap:?} at /srv");
        let rootfs = world.busybox()?;
        trap.set(world, &rootfs, "srv", &canary).with_context(told)?;
        for volume in
            [format!("{}:/srv", source.display()), format!("{}:/srv/deep/er", source.display())]
        {
            let call = world.isula_with("run", &["--rm", "-v", &volume], &rootfs, &["true"]);
            let output = call.limit(Duration::from_secs(20)).output().with_context(told)?;
            ran_or_refused(&output).with_context(told)?;
            ensure!(survey(&canary)? == host, "{}: the host was touched\n{output}", told());
        }
    }
    Ok(())
}

fn hostile_env_target(world: &World) -> Result<()> {
    let canary = canary(world)?;
    let host = survey(&canary)?;
    for trap in TRAPS {
        let told = || format!("{trap:?} at /etc/environment");
        let rootfs = world.busybox()?;
        trap.set(world, &rootfs, "etc/environment", &canary).with_context(told)?;
        let options =
            ["--rm", "--system-container", "--env-target-file", "/etc/environment", "-e", "A=1"];
        let call = world.isula_with("run", &options, &rootfs, &["true"]);
        let output = call.limit(Duration::from_secs(20)).output().with_context(told)?;
        ran_or_refused(&output).with_context(told)?;
        ensure!(survey(&canary)? == host, "{}: the host was touched\n{output}", told());
    }
    Ok(())
}

fn read_only(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let before = survey(&rootfs.join("root"))?;
    let call = world.isula_with("run", &["--rm", "--read-only"], &rootfs, &["touch", "/root/x"]);
    call.code(1)?.expect_stderr("Read-only file system")?;
    ensure!(survey(&rootfs.join("root"))? == before, "nothing was made");
    Ok(())
}

fn volumes(world: &World) -> Result<()> {
    let source = world.new_directory("source")?;
    fs::write(source.join("mine"), "from the host\n")?;
    let rootfs = world.busybox()?;
    let run = |volume: &str, script: &str| {
        let volume = format!("{}:{volume}", source.display());
        world.isula_with("run", &["--rm", "-v", &volume], &rootfs, &["sh", "-c", script])
    };
    run("/vol", "cat /vol/mine; echo back > /vol/answer").ok()?.expect_stdout("from the host\n")?;
    ensure!(fs::read_to_string(source.join("answer"))? == "back\n", "it wrote to the host");
    run("/vol:ro", "echo no > /vol/answer").code(1)?.expect_stderr("Read-only file system")?;
    let mount = format!("type=bind,src={},dst=/m,readonly", source.join("mine").display());
    let call = world.isula_with("run", &["--rm", "--mount", &mount], &rootfs, &["cat", "/m"]);
    call.ok()?.expect_stdout("from the host\n")?;
    Ok(())
}

fn not_a_rootfs(world: &World) -> Result<()> {
    let file = world.path("file");
    fs::write(&file, "")?;
    for path in [world.path("nowhere"), file] {
        let output = world.isula_with("run", &["--rm"], &path, &["true"]).code(125)?;
        ensure!(output.stderr.contains(&*path.to_string_lossy()), "the path is named:\n{output}");
    }
    Ok(())
}
