//! The test world itself: what it promises to the stories, seen to hold and seen to fail.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use tests::need::ROOT;
use tests::{Story, World, leaks, processes, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("world::a_mount_stays_inside", &[ROOT], a_mount_stays_inside),
        story("world::a_leak_is_found", &[ROOT], a_leak_is_found),
    ]
}

fn a_mount_stays_inside(world: &World) -> Result<()> {
    let dir = world.new_directory("mnt")?;
    world.mount("tmpfs", &dir, "size=4k")?;
    let outside = std::fs::read_to_string("/proc/1/mountinfo")?;
    ensure!(!outside.contains(&*dir.to_string_lossy()), "visible outside:\n{outside}");
    Ok(())
}

/// Every gate is seen to fail: one process, one mount, one link, one cgroup, one file.
fn a_leak_is_found(_: &World) -> Result<()> {
    // On a thread that ends: what it leaks in its own namespaces is gone with it.
    let told = std::thread::spawn(leak_on_purpose).join();
    told.unwrap_or_else(|_| Err(anyhow!("a panic")))
}

fn leak_on_purpose() -> Result<()> {
    let world = World::enter()?;
    let mounted = world.new_directory("leak")?;
    world.tool("mount").args(["-t", "tmpfs", "leak"]).arg(&mounted).ok()?;
    world.tool("ip").args(["link", "add", "leak0", "type", "bridge"]).ok()?;
    if let Some(hierarchy) = leaks::hierarchies().first() {
        std::fs::create_dir_all(hierarchy.join(world.name()).join("leak"))?;
    }
    std::fs::create_dir_all(world.root().join("names"))?;
    std::fs::write(world.root().join("names/leak"), "")?;
    let mut process = world.tool("sleep").arg("60").command().spawn()?;
    let name = world.name().to_owned();
    wait::until_true("the process is seen", Duration::from_secs(5), || {
        processes::of(&name).len() == 1
    })?;

    let waiter = std::thread::spawn(move || process.wait());
    let left = world.leave().join("\n");
    for what in ["process ", "mount ", "link leak0", "cgroup ", "file "] {
        ensure!(left.contains(what), "{what}is not in\n{left}");
    }
    ensure!(waiter.join().is_ok_and(|status| status.is_ok()), "the process is gone");
    ensure!(leaks::cgroups_below(&name).is_empty(), "its cgroups are gone");
    Ok(())
}
