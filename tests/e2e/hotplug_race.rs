//! A container that changes its tree while something is put into it: a directory of the path is a
//! link to the host's files every other microsecond. Whatever is reached, it is the container's own.
//!
//! SYSC_ROUNDS says how many rounds, where 10 000 are too many.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::RenameFlags;
use tests::need::{BUSYBOX, IDMAP_TMPFS, ROOT};
use tests::{Container, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    let many = Story::stress;
    vec![
        story("hotplug_race::a_few_rounds", &[ROOT, BUSYBOX], |world| swapped(world, &[], 20)),
        story("hotplug_race::a_few_starts", &[ROOT, BUSYBOX], |world| starts(world, 10)),
        story("hotplug_race::some_at_once", &[ROOT, BUSYBOX], |world| at_once(world, 5)),
        many(story("hotplug_race::many_at_once", &[ROOT, BUSYBOX], |world| at_once(world, 200))),
        many(story("hotplug_race::while_a_directory_is_swapped", &[ROOT, BUSYBOX], |world| {
            swapped(world, &[], rounds()?)
        })),
        many(story("hotplug_race::with_root_mapped", &[ROOT, BUSYBOX, IDMAP_TMPFS], |world| {
            swapped(world, MAPPED, rounds()?)
        })),
        many(story("hotplug_race::while_it_starts", &[ROOT, BUSYBOX], |world| {
            starts(world, rounds()?)
        })),
        many(story("hotplug_race::while_a_source_is_swapped", &[ROOT, BUSYBOX], |world| {
            sources(world, rounds()?)
        })),
    ]
}

const MAPPED: &[&str] = &["--system-container", "--user-remap", "100000:100000:65536"];

fn rounds() -> Result<u32> {
    match std::env::var("SYSC_ROUNDS") {
        Ok(rounds) => rounds.parse().context("SYSC_ROUNDS is a number"),
        Err(_) => Ok(10_000),
    }
}

/// Exchanges two names of `dir` for as long as `story` is told.
fn while_exchanging<T>(
    dir: &Path,
    names: [&str; 2],
    story: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let over = AtomicBool::new(false);
    let times = AtomicU64::new(0);
    let dir = fs::File::open(dir).with_context(|| format!("open {}", dir.display()))?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let flags = RenameFlags::EXCHANGE;
                if rustix::fs::renameat_with(&dir, names[0], &dir, names[1], flags).is_ok() {
                    times.fetch_add(1, Ordering::Relaxed);
                }
                // There are two processors, and the other side needs one.
                std::thread::yield_now();
            }
        });
        let told = story();
        over.store(true, Ordering::Relaxed);
        ensure!(times.load(Ordering::Relaxed) > 100, "nothing was swapped");
        told
    })
}

/// A directory of the host's that a container must not reach, and a link to it in its tree.
struct Victim {
    dir: PathBuf,
}

impl Victim {
    fn new(world: &World, rootfs: &Path) -> Result<Self> {
        let dir = world.new_directory("victim")?;
        fs::write(dir.join("n"), "precious\n")?;
        std::os::unix::fs::symlink(&dir, rootfs.join("link"))?;
        fs::create_dir(rootfs.join("real"))?;
        Ok(Self { dir })
    }

    fn is_untouched(&self) -> Result<()> {
        let names: Vec<_> = fs::read_dir(&self.dir)?.flatten().map(|e| e.file_name()).collect();
        ensure!(names == ["n"], "the host has {names:?} in it");
        ensure!(fs::read_to_string(self.dir.join("n"))? == "precious\n", "its file is another");
        Ok(())
    }
}

/// Takes away what the container itself has moved out of reach.
fn forget_mounts(world: &World, container: &Container<'_>) -> Result<()> {
    let pid = container.pid()?;
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    for line in mounts.lines().rev().filter(|line| line.contains("/m rw")) {
        let point = line.split(' ').nth(4).unwrap_or_default();
        let words = ["-m", "-t", &pid.to_string(), "umount", "-l", point];
        world.tool("nsenter").args(words).output()?;
    }
    Ok(())
}

fn swapped(world: &World, options: &[&str], rounds: u32) -> Result<()> {
    let rootfs = world.busybox()?;
    let victim = Victim::new(world, &rootfs)?;
    let source = world.new_directory("source")?;
    fs::write(source.join("file"), "host\n")?;
    let options = [&["--name", "web"], options].concat();
    let container = world.run(&options, &rootfs, &["sleep", "86400"])?;
    let path = format!("{}:/real/m", source.display());
    let pairs = [("device", "/dev/fuse:/real/n"), ("path", &path)];
    let (mut done, mut refused) = (0, 0);
    while_exchanging(&rootfs, ["real", "link"], || {
        for round in 0..rounds {
            let (kind, pair) = pairs[usize::try_from(round % 2)?];
            let added = world.tools([&format!("add-{kind}"), "web", pair]).output()?;
            ensure!([0, 1, 4].contains(&added.code()), "round {round}: {added}");
            victim.is_untouched().with_context(|| format!("round {round}: {added}"))?;
            if added.code() == 0 {
                done += 1;
            } else {
                refused += 1;
            }
            let removed = world.tools([&format!("remove-{kind}"), "web", pair]).output()?;
            ensure!([0, 1, 4].contains(&removed.code()), "round {round}: {removed}");
            victim.is_untouched().with_context(|| format!("round {round}: {removed}"))?;
            if removed.code() != 0 {
                // It found the other directory, or what an earlier round left on this one; what is
                // recorded goes all the same.
                let words = [&format!("remove-{kind}"), "web", pair, "--update-config-only"];
                world.tools(words).output()?;
            }
            if round % 100 == 99 {
                forget_mounts(world, &container)?;
            }
        }
        Ok(())
    })?;
    tests::runner::say(&format!("{done} were added, {refused} refused"));
    ensure!(done > 0, "none was added");
    forget_mounts(world, &container)?;
    for list in ["list-device", "list-path"] {
        world.tools([list, "web"]).ok()?.expect_stdout("[]\n")?;
    }
    // Nobody is in the way any more: it works.
    let real = rootfs.join("real");
    if fs::symlink_metadata(&real)?.is_symlink() {
        fs::remove_file(&real)?;
        fs::create_dir(&real)?;
    }
    world.tools(["add-device", "web", "/dev/fuse:/fresh/n"]).ok()?;
    container.remove()
}

/// The hook adds what is recorded while the directory is swapped.
fn starts(world: &World, rounds: u32) -> Result<()> {
    let rootfs = world.busybox()?;
    let victim = Victim::new(world, &rootfs)?;
    let source = world.new_directory("source")?;
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let options = ["--name", "web", "--hook-spec", &spec];
    let container = world.create(&options, &rootfs, &["sleep", "86400"])?;
    world.tools(["add-device", "web", "/dev/fuse:/real/n"]).ok()?;
    world.tools(["add-path", "web", &format!("{}:/real/m", source.display())]).ok()?;
    let (mut started, mut refused) = (0, 0);
    while_exchanging(&rootfs, ["real", "link"], || {
        for round in 0..rounds {
            let start = container.isula("start", [""; 0]).output()?;
            victim.is_untouched().with_context(|| format!("round {round}: {start}"))?;
            if start.code() == 0 {
                started += 1;
                container.isula("stop", ["-t", "0"]).ok()?;
            } else {
                refused += 1;
                start.expect_stderr("add what was recorded")?;
            }
        }
        Ok(())
    })?;
    tests::runner::say(&format!("{started} starts, {refused} refused"));
    ensure!(started > 0, "it never started");
    container.remove()
}

/// The host's own path leads elsewhere every other moment.
fn sources(world: &World, rounds: u32) -> Result<()> {
    let (one, two) = (world.new_directory("source")?, world.new_directory("source")?);
    for dir in [&one, &two] {
        fs::write(dir.join("file"), "host\n")?;
    }
    let links = world.new_directory("links-of-the-host")?;
    std::os::unix::fs::symlink(&one, links.join("a"))?;
    std::os::unix::fs::symlink(&two, links.join("b"))?;
    let container = world.sleeper(&["--name", "web"])?;
    let pair = format!("{}:/m", links.join("a").display());
    let mounted = || -> Result<usize> {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid()?))?;
        Ok(mounts.lines().filter(|line| line.contains(" /m ")).count())
    };
    while_exchanging(&links, ["a", "b"], || {
        for round in 0..rounds {
            let added = world.tools(["add-path", "web", &pair]).output()?;
            if added.code() != 0 {
                added.clone().expect_stderr("leads elsewhere than a moment ago; try again")?;
                ensure!(mounted()? == 0, "round {round}: {added}");
                continue;
            }
            ensure!(mounted()? == 1, "round {round}: mounted {} times", mounted()?);
            world.tools(["remove-path", "web", &pair]).ok()?;
            ensure!(mounted()? == 0, "round {round}: still mounted");
        }
        Ok(())
    })?;
    for dir in [one, two] {
        ensure!(fs::read_to_string(dir.join("file"))? == "host\n", "the data is as it was");
    }
    container.remove()
}

/// Two commands and one that replays the record and writes it, as a hook does.
fn at_once(world: &World, rounds: u32) -> Result<()> {
    let container = world.sleeper(&["--name", "web"])?;
    let path = world.root().join("engines/isula").join(container.id()).join("device_hook.json");
    world.tools(["add-device", "web", "/dev/fuse:/dev/n0"]).ok()?;
    for round in 0..rounds {
        let calls: Vec<_> = [
            vec!["add-device", "web", "/dev/fuse:/dev/n1"],
            vec!["reconcile", "web"],
            vec!["add-device", "web", "/dev/fuse:/dev/n2"],
        ]
        .into_iter()
        .map(|words| world.tools(words))
        .map(|call| std::thread::spawn(move || call.ok()))
        .collect();
        while calls.iter().any(|call| !call.is_finished()) {
            let text = fs::read(&path)?;
            serde_json::from_slice::<serde_json::Value>(&text).context("valid at every moment")?;
        }
        for call in calls {
            call.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        }
        let listed = world.tools(["list-device", "web"]).ok()?.stdout;
        ensure!(listed.matches("PathOnHost").count() == 3, "round {round}: {listed}");
        world.tools(["remove-device", "web", ":/dev/n1", ":/dev/n2"]).ok()?;
    }
    container.remove()
}
