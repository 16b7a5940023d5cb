//! Races: a racer swaps a directory of the container's tree for a link out of it, again and again,
//! while containers are made over it. Whatever it wins, the host sees nothing of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, story};

use crate::threats::{Bundle, Own};

/// Things put in place while the racer swaps, each once.
const ROUNDS: usize = 10_000;
/// As many in one container.
const TARGETS: usize = 50;

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    let long = |name, body| story(name, NEEDS, body).stress().limit(Duration::from_secs(7200));
    vec![
        long("races::volumes_and_devices_of_a_moving_directory", |world| volumes(world, ROUNDS)),
        long("races::masks_of_a_moving_directory", |world| masks(world, ROUNDS)),
        long("races::a_moving_proc", |world| proc(world, ROUNDS)),
        long("races::a_moving_console", |world| console(world, ROUNDS)),
        story("races::each_of_them_in_short", NEEDS, |world| {
            volumes(world, 5 * TARGETS)?;
            masks(world, 5 * TARGETS)?;
            proc(world, 25)?;
            console(world, 25)
        })
        .alone(),
    ]
}

/// Swaps two names of a directory until it is dropped.
struct Racer {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Racer {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut swaps = 0;
            while !told.load(Ordering::Relaxed) {
                swaps +=
                    u64::from(renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok());
            }
            swaps
        });
        Self { stop, thread: Some(thread) }
    }

    /// How often it swapped.
    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(0)
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A directory of the host that nothing may come into.
struct Canary(PathBuf);

impl Canary {
    fn new(world: &World) -> Result<Self> {
        let dir = world.new_directory("canary")?;
        std::fs::write(dir.join("precious"), "precious")?;
        Ok(Self(dir))
    }

    /// A hook that fails when something is mounted there: it runs where the mounts of the host
    /// still are beside those of the container.
    fn watch(&self, config: &mut Value) {
        let script = format!("! grep -q ' {}' /proc/mounts", self.0.display());
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script],
                           "env": ["PATH=/usr/bin:/bin"] });
        config["hooks"] = json!({ "createContainer": [hook] });
    }

    /// The same path in the container's own tree, where the link may lead.
    fn inside(&self, bundle: &Bundle) -> Result<()> {
        let path = self.0.strip_prefix("/").unwrap_or(&self.0);
        Ok(std::fs::create_dir_all(bundle.rootfs.join(path))?)
    }

    fn is_untouched(&self) -> Result<()> {
        let names: Vec<_> =
            std::fs::read_dir(&self.0)?.flatten().map(|it| it.file_name()).collect();
        ensure!(names == ["precious"], "the host has {names:?}");
        let text = std::fs::read_to_string(self.0.join("precious"))?;
        ensure!(text == "precious", "the host's file says {text:?}");
        Ok(())
    }
}

/// Makes containers over one bundle until the rounds are over. A container may be refused, but not
/// by the canary's hook; most are made.
fn rounds(
    own: &Own<'_>,
    canary: &Canary,
    bundle: &Bundle,
    count: usize,
    swap: (&Path, &Path),
) -> Result<()> {
    let racer = Racer::start(swap.0.to_owned(), swap.1.to_owned());
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..count {
        match own.create(bundle) {
            Ok(()) => own.remove(bundle)?,
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(!text.contains("createContainer"), "round {round}: {text}");
                let why = text.rsplit(": ").next().unwrap_or_default().trim().to_owned();
                *refused.entry(why).or_default() += 1;
            }
        }
        canary.is_untouched()?;
    }
    let swaps = racer.stop();
    ensure!(swaps > count as u64, "the racer swapped {swaps} times in {count} rounds");
    let made = count - refused.values().sum::<usize>();
    ensure!(made > 0, "none of {count} containers was made: {refused:?}");
    tests::runner::say(&format!("{count} containers, {made} made, {swaps} swaps, {refused:?}"));
    Ok(())
}

/// CVE-2024-45310, 2026-41579: targets of mounts and device nodes.
fn volumes(world: &World, count: usize) -> Result<()> {
    let own = Own::new(world)?;
    let canary = Canary::new(world)?;
    let volume = world.new_directory("volume")?;
    let source = world.new_directory("source")?;
    std::fs::write(source.join("file"), "")?;
    std::fs::create_dir(volume.join("dir"))?;
    std::os::unix::fs::symlink(&canary.0, volume.join("link"))?;
    let bundle = own.bundle("true", |config| {
        canary.watch(config);
        let mounts = config["mounts"].as_array_mut();
        let mut list =
            vec![json!({ "destination": "/volume", "source": volume, "options": ["bind"] })];
        for number in 0..TARGETS / 4 {
            let at = |kind: &str| format!("/volume/dir/{kind}{number}");
            list.push(json!({ "destination": at("dir"), "source": source, "options": ["bind"] }));
            list.push(json!({ "destination": at("file"), "source": source.join("file"),
                              "options": ["bind"] }));
            list.push(json!({ "destination": at("tmpfs"), "type": "tmpfs", "source": "tmpfs" }));
        }
        if let Some(mounts) = mounts {
            mounts.extend(list);
        }
        config["linux"]["devices"] = (0..TARGETS / 4)
            .map(|number| {
                json!({ "type": "c", "path": format!("/volume/dir/null{number}"),
                                  "major": 1, "minor": 3 })
            })
            .collect();
    })?;
    canary.inside(&bundle)?;
    let swap = (volume.join("dir"), volume.join("link"));
    rounds(&own, &canary, &bundle, count / TARGETS, (&swap.0, &swap.1))
}

/// CVE-2025-31133, 2023-27561.
fn masks(world: &World, count: usize) -> Result<()> {
    let own = Own::new(world)?;
    let canary = Canary::new(world)?;
    let volume = world.new_directory("volume")?;
    for name in ["dir", "other"] {
        std::fs::create_dir(volume.join(name))?;
    }
    for number in 0..TARGETS {
        std::fs::write(volume.join("dir").join(format!("masked{number}")), "")?;
    }
    std::fs::remove_dir(volume.join("other"))?;
    std::os::unix::fs::symlink(&canary.0, volume.join("other"))?;
    let bundle = own.bundle("true", |config| {
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.push(json!({ "destination": "/volume", "source": volume, "options": ["bind"] }));
        }
        let path = |number| format!("/volume/dir/masked{number}");
        config["linux"]["maskedPaths"] = (0..TARGETS / 2).map(path).collect();
        config["linux"]["readonlyPaths"] = (TARGETS / 2..TARGETS).map(path).collect();
    })?;
    canary.inside(&bundle)?;
    let swap = (volume.join("dir"), volume.join("other"));
    rounds(&own, &canary, &bundle, count / TARGETS, (&swap.0, &swap.1))
}

/// CVE-2019-19921, 2025-52881: a link at /proc while settings are written.
fn proc(world: &World, count: usize) -> Result<()> {
    let own = Own::new(world)?;
    let canary = Canary::new(world)?;
    let bundle = own.bundle("true", |config| {
        canary.watch(config);
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    })?;
    let link = bundle.rootfs.join("other");
    std::os::unix::fs::symlink(&canary.0, &link)?;
    let forward = || std::fs::read_to_string("/proc/thread-self/net/../../sys/net/ipv4/ip_forward");
    let before = forward().ok();
    rounds(&own, &canary, &bundle, count, (&bundle.rootfs.join("proc"), &link))?;
    ensure!(forward().ok() == before, "a setting of the host changed");
    Ok(())
}

/// CVE-2025-52565: a link at /dev/console while a terminal is bound there.
fn console(world: &World, count: usize) -> Result<()> {
    let own = Own::new(world)?;
    let canary = Canary::new(world)?;
    let dev = world.new_directory("dev")?;
    std::fs::create_dir(dev.join("pts"))?;
    std::fs::write(dev.join("console"), "")?;
    std::os::unix::fs::symlink(canary.0.join("precious"), dev.join("link"))?;
    let socket = world.new_directory("socket")?.join("sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket)?;
    // Every terminal is closed as it comes; the last connection is our own.
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    let closing = std::thread::spawn(move || {
        for mut sender in listener.incoming().flatten() {
            let _ = std::io::copy(&mut sender, &mut std::io::sink());
            if told.load(Ordering::Relaxed) {
                break;
            }
        }
    });
    let bundle = own.bundle("true", |config| {
        canary.watch(config);
        config["process"]["terminal"] = json!(true);
        if let Some(mounts) = config["mounts"].as_array_mut() {
            let kept = |entry: &Value| {
                let path = entry["destination"].as_str().unwrap_or_default();
                path == "/dev/pts" || !path.starts_with("/dev")
            };
            mounts.retain(kept);
            mounts.insert(0, json!({ "destination": "/dev", "source": dev, "options": ["bind"] }));
        }
    })?;
    canary.inside(&bundle)?;
    let own = own.with_console(&socket);
    let raced = rounds(&own, &canary, &bundle, count, (&dev.join("console"), &dev.join("link")));
    over.store(true, Ordering::Relaxed);
    drop(std::os::unix::net::UnixStream::connect(&socket));
    let _ = closing.join();
    raced
}
