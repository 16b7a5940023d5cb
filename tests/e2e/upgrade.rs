//! A container that an earlier version started is the next version's to manage: a package was
//! upgraded under it. `SYSC_PREVIOUS` names a directory with the earlier binaries.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, PREVIOUS, ROOT};
use tests::{Call, Story, Terminal, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX, PREVIOUS];
    vec![
        story("upgrade::a_container_of_the_runtime_before", NEEDS, of_the_runtime),
        story("upgrade::a_container_of_the_engine_before", NEEDS, of_the_engine),
    ]
}

fn previous(world: &World, program: &str) -> Result<Call> {
    let dir = std::env::var_os("SYSC_PREVIOUS").map(PathBuf::from).context("SYSC_PREVIOUS")?;
    Ok(Call::new(dir.join(program)).env("SYSC_WORLD", world.name()))
}

fn of_the_runtime(world: &World) -> Result<()> {
    let before = |words: &[&str]| -> Result<Call> {
        Ok(previous(world, "isula-runtime")?.arg("--root").arg(world.path("oci")).args(words))
    };
    let now = |words: &[&str]| {
        world.program("isula-runtime").arg("--root").arg(world.path("oci")).args(words)
    };
    // One that runs, and one that was only created.
    for (id, started) in [("running", true), ("created", false)] {
        let dir = world.new_directory("bundle")?;
        before(&["spec", "--bundle"])?.arg(&dir).ok()?;
        let path = dir.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        config["root"] = json!({ "path": world.busybox()? });
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", world.name()));
        std::fs::write(&path, config.to_string())?;
        let null = std::process::Stdio::null;
        let create = before(&["create", "--bundle"])?.arg(&dir).arg(id);
        let ended = create.command().stdin(null()).stdout(null()).stderr(null()).status()?;
        ensure!(ended.success(), "create ended with {ended}");
        match started {
            true => before(&["start", id])?.ok()?,
            false => now(&["start", id]).ok()?,
        };
        let status = || -> Result<Value> {
            let state: Value = serde_json::from_str(&now(&["state", id]).ok()?.stdout)?;
            Ok(state["status"].clone())
        };
        ensure!(status()? == "running", "{id}: {}", status()?);
        ensure!(now(&["exec", id, "echo", "in"]).ok()?.stdout == "in\n");
        now(&["pause", id]).ok()?;
        ensure!(status()? == "paused");
        now(&["resume", id]).ok()?;
        now(&["update", "--cpu-share", "512", id]).ok()?;
        let pids: Value = serde_json::from_str(&now(&["ps", "--format", "json", id]).ok()?.stdout)?;
        ensure!(pids.as_array().is_some_and(|pids| pids.len() == 1), "{pids}");
        now(&["kill", id, "KILL"]).ok()?;
        wait::until("it is down", Duration::from_secs(10), || {
            Ok((status()? == "stopped").then_some(()))
        })?;
        now(&["delete", id]).ok()?;
    }
    Ok(())
}

fn of_the_engine(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let run = previous(world, "isula")?
        .arg("--root")
        .arg(world.root())
        .arg("--state")
        .arg(world.state())
        .args(["run", "-d", "-it", "--name", "old", "--cgroup-parent"])
        .arg(format!("/{}", world.name()))
        .arg("--external-rootfs")
        .arg(&rootfs)
        .args(["none", "sh", "-c", "echo said; exec sh"]);
    let id = run.ok()?;
    // Everything from here on is the next version's.
    let container = world.container(id.line())?;
    ensure!(container.status()? == "running");
    ensure!(container.exec(["echo", "in"]).ok()?.stdout == "in\n");
    ensure!(container.isula("logs", [""; 0]).ok()?.stdout.contains("said"));
    container.isula("pause", [""; 0]).ok()?;
    ensure!(container.status()? == "paused");
    container.isula("unpause", [""; 0]).ok()?;
    container.isula("update", ["--cpu-shares", "512"]).ok()?;
    let mut terminal = Terminal::start(&container.isula("attach", [""; 0]))?;
    terminal.send("echo 40$((1+1))\r")?;
    terminal.expect("402")?;
    terminal.send("\u{10}\u{11}")?;
    terminal.code(0)?;
    // The old supervisor ends it, the new one starts it.
    container.isula("stop", ["-t", "0"]).ok()?;
    container.isula("start", [""; 0]).ok()?;
    ensure!(container.exec(["echo", "in"]).ok()?.stdout == "in\n");
    container.remove()
}
