//! `isulad-tools` and its hook are killed before one system call after the other.
//!
//! strace counts: it ends the traced process by SIGKILL at its N-th system call. Whatever N, the
//! record can be read, is the old one or the new one, and `recover` makes the container agree.

use std::fs;

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, CGROUP_V1, ROOT, STRACE};
use tests::{Story, World, story};

use crate::hotplug_subject::{Change, Look, of_files, of_nics};
use crate::trace::{Turn, options, traced, turns};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_crash::at_some_calls", &[ROOT, BUSYBOX, STRACE], |world| {
            of_files(world, |change, look| sweep(world, change, 13, look))
        }),
        story("hotplug_crash::at_every_call", &[ROOT, BUSYBOX, STRACE], |world| {
            of_files(world, |change, look| sweep(world, change, 1, look))
        })
        .stress(),
        story("hotplug_crash::links_at_some_calls", &[ROOT, BUSYBOX, STRACE], |world| {
            of_nics(world, |change, look| sweep(world, change, 29, look))
        }),
        story("hotplug_crash::links_at_every_call", &[ROOT, BUSYBOX, STRACE], |world| {
            of_nics(world, |change, look| sweep(world, change, 1, look))
        })
        .stress(),
        story("hotplug_crash::the_hook", &[ROOT, BUSYBOX, CGROUP_V1, STRACE], |world| {
            hook(world, 17)
        }),
        story("hotplug_crash::the_hook_at_every_call", &[ROOT, BUSYBOX, CGROUP_V1, STRACE], |w| {
            hook(w, 1)
        })
        .stress(),
    ]
}

const KILL: &str = "signal=KILL";

/// Runs the command with a kill at each `stride`-th of its calls, and so the one that takes it back.
/// `look` fails where what is recorded and what there is are not the same.
fn sweep(world: &World, (verb, back): &Change<'_>, stride: usize, look: Look<'_>) -> Result<()> {
    run(world, verb, back, stride, look)?;
    world.tools(verb).ok()?;
    run(world, back, verb, stride, look)
}

/// Ends with the command taken back.
fn run(world: &World, verb: &[&str], back: &[&str], stride: usize, look: Look<'_>) -> Result<()> {
    let tools = world.tools(verb);
    let log = world.path("trace");
    let first = traced(world, &tools, &log, None)?;
    ensure!(first.code() == 0, "it works under strace\n{first}");
    let turns = turns(&log)?;
    world.tools(back).ok()?;
    for turn in turns.iter().step_by(stride) {
        let killed = traced(world, &tools, &log, Some((turn, KILL)))?;
        // A call that depends on the time may not be made this time.
        ensure!([0, 137].contains(&killed.code()), "killed, and nothing else\n{killed}");
        let check = || -> Result<()> {
            world.tools(["list-path", "web"]).ok()?;
            world.tools(["recover", "web"]).ok()?;
            look()?;
            // It may have been done already; undone it has to be for the next round.
            world.tools(back).output()?;
            look().map(drop)
        };
        check().map_err(|error| error.context(format!("{verb:?} killed at {turn:?}")))?;
    }
    Ok(())
}

fn hook(world: &World, stride: usize) -> Result<()> {
    let spec = world.hook_spec()?;
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&spec)?)?;
    let program = document["prestart"][0]["path"].as_str().unwrap_or_default().to_owned();
    let script = spec.with_file_name("traced");
    let (arguments, log) = (spec.with_file_name("traced.args"), spec.with_file_name("trace"));
    let text = format!("#!/bin/sh\nexec strace $(cat $0.args) {program} --state prestart\n");
    fs::write(&script, text)?;
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    document["prestart"][0]["path"] = script.to_string_lossy().into();
    document["prestart"][0]["args"] = serde_json::json!([script]);
    let traced = spec.with_file_name("traced.json");
    fs::write(&traced, document.to_string())?;

    let source = world.new_directory("source")?;
    fs::write(source.join("file"), "host\n")?;
    let traced = traced.to_string_lossy().into_owned();
    let hooked = ["--name", "web", "--hook-spec", &traced];
    let container = world.create(&hooked, &world.busybox()?, &["sleep", "86400"])?;
    world.tools(["add-device", "web", "/dev/fuse:/dev/n1"]).ok()?;
    world.tools(["add-path", "web", &format!("{}:/data", source.display())]).ok()?;
    let start = |turn: Option<&Turn>| -> Result<tests::Output> {
        fs::write(&arguments, options(&log, turn.map(|turn| (turn, KILL))).join(" "))?;
        container.isula("start", [""; 0]).output()
    };
    ensure!(start(None)?.code() == 0, "it starts under strace");
    let turns = turns(&log)?;
    for turn in turns.iter().step_by(stride) {
        container.isula("stop", ["-t", "0"]).ok()?;
        let started = start(Some(turn))?;
        if started.code() != 0 {
            started.expect_stderr("traced")?;
        }
        ensure!(start(None)?.code() == 0, "it starts when nobody kills its hook");
    }
    let look = container.exec(["sh", "-c", ": < /dev/n1 && cat /data/file"]).ok()?;
    ensure!(look.stdout == "host\n", "{look}");
    container.remove()
}
