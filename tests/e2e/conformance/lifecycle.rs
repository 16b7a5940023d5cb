//! runtime.md: state, lifecycle and operations.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tests::{World, wait};

use super::{Row, Runtime, bundle, by, id, rewrite, rootfs, same};

pub(super) fn rows() -> Vec<Row> {
    vec![
        by("runtime/1", "the state MUST have ociVersion, id, status, pid, bundle", state),
        by("runtime/2", "further values of status MUST be of further states: paused", paused),
        by("runtime/3", "create: the environment MUST be there, the program MUST NOT run", created),
        by("runtime/4", "create: later changes of config.json MUST NOT matter", two_steps),
        by("runtime/5", "create: an environment that cannot be MUST be an error", cannot),
        by("runtime/6", "start MUST run the program; it is running then", started),
        by(
            "runtime/7",
            "kill MUST send the signal to the process; it is stopped when it ends",
            killed,
        ),
        by("runtime/8", "delete MUST delete what create made, and nothing else", deleted),
        by("runtime/9", "an id may be used again after its deletion", reused),
        by("runtime/20", "an error MUST leave things as they were", as_it_was),
        by(
            "runtime/21",
            "state, start, kill, delete without an id, or of no container: an error",
            nobody,
        ),
        by(
            "runtime/22",
            "create without an id, or with an id that is taken or not valid: an error",
            bad_ids,
        )
        .not("crun", "1.8 takes any text as an id"),
        by("runtime/23", "start of what is not created: an error without effect", wrong_start),
        by("runtime/24", "kill of what is neither created nor running: an error", wrong_kill),
        by("runtime/25", "delete of what is not stopped: an error without effect", wrong_delete),
    ]
}

fn state(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let id = id(world, &dir)?;
    runtime.create(&dir, &id)?;
    let state = runtime.state(&id)?;
    ensure!(state["id"] == id && state["status"] == "created", "{state}");
    ensure!(state["bundle"].as_str() == dir.to_str(), "{state}");
    ensure!(state["ociVersion"].is_string(), "{state}");
    let pid = state["pid"].as_i64().context("a pid")?;
    ensure!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{state}");
    runtime.remove(&id)
}

fn paused(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let id = id(world, &dir)?;
    runtime.started(&dir, &id)?;
    runtime.verb(&["pause", &id]).ok()?;
    runtime.until(&id, "paused")?;
    runtime.verb(&["resume", &id]).ok()?;
    runtime.until(&id, "running")?;
    runtime.remove(&id)
}

fn created(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sh", "-c", "echo ran > /mark; sleep 1000"], |c| {
        super::tmpfs(c, "/made");
    })?;
    let id = id(world, &dir)?;
    runtime.create(&dir, &id)?;
    let pid = runtime.pid(&id)?;
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    ensure!(mounts.contains(" /made "), "{mounts}");
    ensure!(!rootfs(&dir)?.join("mark").exists(), "it runs before its start");
    runtime.remove(&id)
}

fn two_steps(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sh", "-c", "echo first > /mark; sleep 1000"], same)?;
    let id = id(world, &dir)?;
    let mark = rootfs(&dir)?.join("mark");
    runtime.create(&dir, &id)?;
    rewrite(&dir, |config| {
        config["process"]["args"] = json!(["sh", "-c", "echo second > /mark; sleep 1000"]);
    })?;
    runtime.verb(&["start", &id]).ok()?;
    let said = wait::until("it has run", Duration::from_secs(20), || {
        Ok(std::fs::read_to_string(&mark).ok().filter(|text| !text.is_empty()))
    })?;
    ensure!(said == "first\n", "it is {said:?} that ran");
    runtime.remove(&id)
}

fn cannot(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["true"], |c| {
        super::mount(c, json!({ "destination": "/m", "source": "/no/such", "options": ["bind"] }));
    })?;
    let id = id(world, &dir)?;
    let create = runtime.verb(&["create", "--bundle"]).arg(&dir).arg(&id).output()?;
    ensure!(create.code() != 0, "{create}");
    runtime.fails(&["state", &id])?;
    Ok(())
}

fn started(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sh", "-c", "exec sleep 1000"], same)?;
    let id = id(world, &dir)?;
    let pid = runtime.started(&dir, &id)?;
    runtime.until(&id, "running")?;
    wait::until("its program runs", Duration::from_secs(20), || {
        let line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
        Ok((line == b"sleep\x001000\0").then_some(()))
    })?;
    runtime.remove(&id)
}

fn killed(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let script = "trap 'echo usr1 > /mark' USR1; trap 'exit 0' TERM; echo > /ready; \
                  while :; do sleep 0.05; done";
    let dir = bundle(world, &["sh", "-c", script], same)?;
    let id = id(world, &dir)?;
    runtime.started(&dir, &id)?;
    let there = |name: &'static str| -> Result<()> {
        let path = rootfs(&dir)?.join(name);
        wait::until(name, Duration::from_secs(20), || Ok(path.exists().then_some(())))
    };
    there("ready")?;
    runtime.verb(&["kill", &id, "USR1"]).ok()?;
    there("mark")?;
    runtime.until(&id, "running")?;
    runtime.verb(&["kill", &id, "15"]).ok()?;
    runtime.until(&id, "stopped")?;
    runtime.verb(&["delete", &id]).ok().map(drop)
}

fn deleted(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["touch", "/kept"], same)?;
    let id = id(world, &dir)?;
    let before = tests::leaks::mounts();
    runtime.started(&dir, &id)?;
    runtime.until(&id, "stopped")?;
    runtime.verb(&["delete", &id]).ok()?;
    for hierarchy in tests::leaks::hierarchies() {
        let cgroup = hierarchy.join(world.name()).join(dir.file_name().unwrap_or_default());
        ensure!(!cgroup.exists(), "{} is left", cgroup.display());
    }
    ensure!(tests::leaks::mounts() == before, "mounts are left");
    ensure!(rootfs(&dir)?.join("kept").exists(), "its files are not the runtime's to delete");
    ensure!(dir.join("config.json").exists(), "its bundle is not the runtime's to delete");
    runtime.fails(&["state", &id]).map(drop)
}

fn reused(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let id = id(world, &dir)?;
    for _ in 0..2 {
        runtime.create(&dir, &id)?;
        runtime.remove(&id)?;
    }
    Ok(())
}

/// A create that fails at its last step leaves no cgroup, no mount, no name.
fn as_it_was(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["/no/such"], same)?;
    let id = id(world, &dir)?;
    let before = tests::leaks::mounts();
    let output = runtime.run(world, &dir)?;
    ensure!(output.code() != 0, "{output}");
    runtime.fails(&["state", &id])?;
    for hierarchy in tests::leaks::hierarchies() {
        let cgroup = hierarchy.join(world.name()).join(dir.file_name().unwrap_or_default());
        ensure!(!cgroup.exists(), "{} is left", cgroup.display());
    }
    ensure!(tests::leaks::mounts() == before, "mounts are left");
    Ok(())
}

fn nobody(_: &World, runtime: &Runtime<'_>) -> Result<()> {
    for words in [
        &["state", "nobody"][..],
        &["start", "nobody"],
        &["kill", "nobody", "9"],
        &["delete", "nobody"],
        &["state"],
        &["start"],
        &["kill"],
        &["delete"],
    ] {
        runtime.fails(words)?;
    }
    Ok(())
}

fn bad_ids(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let taken = id(world, &dir)?;
    let pid = runtime.started(&dir, &taken)?;
    let other = bundle(world, &["sleep", "1000"], same)?;
    for id in [taken.as_str(), "../up", "a/b", "", "a b"] {
        if runtime.create(&other, id).is_ok() {
            bail!("{id:?} was taken as an id");
        }
    }
    ensure!(runtime.pid(&taken)? == pid, "the container of that id is another one");
    runtime.verb(&["create", "--bundle"]).arg(&other).output().and_then(|output| {
        ensure!(output.code() != 0, "an id was not asked for\n{output}");
        Ok(())
    })?;
    runtime.remove(&taken)
}

fn wrong_start(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let id = id(world, &dir)?;
    let pid = runtime.started(&dir, &id)?;
    runtime.fails(&["start", &id])?;
    ensure!(runtime.pid(&id)? == pid && runtime.state(&id)?["status"] == "running");
    runtime.verb(&["kill", &id, "KILL"]).ok()?;
    runtime.until(&id, "stopped")?;
    runtime.fails(&["start", &id])?;
    runtime.remove(&id)
}

fn wrong_kill(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let id = id(world, &dir)?;
    runtime.create(&dir, &id)?;
    // Of a created one it is none.
    runtime.verb(&["kill", &id, "KILL"]).ok()?;
    runtime.until(&id, "stopped")?;
    runtime.fails(&["kill", &id, "KILL"])?;
    runtime.remove(&id)
}

fn wrong_delete(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let id = id(world, &dir)?;
    let pid = runtime.started(&dir, &id)?;
    runtime.fails(&["delete", &id])?;
    ensure!(runtime.pid(&id)? == pid && runtime.state(&id)?["status"] == "running");
    runtime.remove(&id)
}
