//! What the kernel refuses to `isula`, call by call: an error that tells, nothing left, and a running
//! container that goes on.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, ROOT, STRACE};
use tests::{Story, World, leaks, story};

use crate::trace::REFUSALS;

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX, STRACE];
    vec![
        story("faults::at_the_first_calls_of_a_start", NEEDS, |world| sweep(world, 2)),
        story("faults::at_every_call_of_a_start", NEEDS, |world| sweep(world, u32::MAX)).stress(),
        story("faults::at_the_first_calls_on_a_running_one", NEEDS, |world| running(world, 2)),
        story("faults::at_every_call_on_a_running_one", NEEDS, |world| running(world, u32::MAX))
            .stress(),
    ]
}

/// Refuses each call of each process in turn, until there is none left to refuse.
fn sweep(world: &World, turns: u32) -> Result<()> {
    let rootfs = world.busybox()?;
    // The first start makes what is kept: directories, the compiled filter.
    start(world, &rootfs, None)?;
    let before = leaks::mounts();
    let mut points = 0;
    for &(call, errno) in REFUSALS {
        for turn in 1..=turns {
            let (said, refused) = start(world, &rootfs, Some((call, errno, turn)))?;
            if !refused {
                break;
            }
            points += 1;
            let what = format!("{call} answered {errno} at turn {turn}: {said}");
            let mounts = leaks::mounts();
            let new: BTreeSet<_> = mounts.difference(&before).collect();
            ensure!(new.is_empty(), "{what}: mounts are left: {new:?}");
            let cgroups = leaks::cgroups_below(world.name());
            ensure!(cgroups.is_empty(), "{what}: cgroups are left: {cgroups:?}");
            let orphans = orphans(world)?;
            ensure!(orphans.is_empty(), "{what}: state without a container: {orphans:?}");
            let left = world.isula(["ps", "-aq"]).ok()?;
            ensure!(left.stdout.is_empty(), "{what}: a container is left: {left}");
        }
    }
    // What a removal could not remove the next start clears away.
    start(world, &rootfs, None)?;
    ensure!(points >= REFUSALS.len() / 3, "only {points} calls were refused");
    tests::runner::say(&format!("    {points} calls refused"));
    Ok(())
}

/// Directories of running containers that lead to none.
fn orphans(world: &World) -> Result<Vec<String>> {
    let bundles = world.root().join("engines/isula");
    let names = fs::read_dir(world.state())?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let ids = names.filter(|name| name.len() == 64);
    Ok(ids.filter(|id| !bundles.join(id).exists()).collect())
}

/// What people do with one that runs, and what makes it run again as before.
const VERBS: &[(&str, &str)] = &[
    ("exec web true", ""),
    ("exec -u 1000 -w /tmp -e A=b web true", ""),
    ("update --cpu-shares 512 web", "update --cpu-shares 1024 web"),
    ("pause web", "unpause web"),
    ("cp web:/bin/busybox HOST/from", ""),
    ("cp HOST/to web:/tmp", "exec web rm -f /tmp/to"),
    ("rename web other", "rename other web"),
    ("stop -t 0 web", "restart -t 0 web"),
];

/// Refuses each call of each verb in turn.
fn running(world: &World, turns: u32) -> Result<()> {
    let container = world.sleeper(&["--name", "web"])?;
    let host = world.new_directory("host")?;
    fs::write(host.join("to"), "text")?;
    let host = host.to_string_lossy().into_owned();
    let words = |line: &str| -> Vec<String> {
        line.split_whitespace().map(|word| word.replace("HOST", &host)).collect()
    };
    let before = leaks::mounts();
    for (verb, back) in VERBS {
        let mut points = 0;
        for &(call, errno) in REFUSALS {
            for turn in 1..=turns {
                let (_, refused) = refuse(world, &words(verb), Some((call, errno, turn)))?;
                if !back.is_empty() {
                    // It may not have come as far.
                    world.isula(words(back)).output()?;
                }
                if !refused {
                    break;
                }
                points += 1;
                let what = || format!("{verb}: {call} answered {errno} at turn {turn}");
                container.exec(["true"]).ok().with_context(what)?;
                let mounts = leaks::mounts();
                let new: Vec<_> = mounts.difference(&before).collect();
                ensure!(new.is_empty(), "{}: mounts are left: {new:?}", what());
            }
        }
        ensure!(points > 0, "{verb}: no call was refused");
        tests::runner::say(&format!("    {verb}: {points} calls refused"));
    }
    container.remove()
}

/// Runs a container with that refusal. What is said, and whether there was a call to refuse.
fn start(
    world: &World,
    rootfs: &std::path::Path,
    fault: Option<(&str, &str, u32)>,
) -> Result<(tests::Output, bool)> {
    let parent = format!("/{}", world.name());
    let rootfs = rootfs.to_string_lossy();
    let line = ["run", "--rm", "--name", "faulty", "-h", "faulty", "-u", "1000"];
    let rest = ["--cgroup-parent", &parent, "--external-rootfs", &rootfs, "none", "true"];
    let words: Vec<String> = [&line[..], &rest[..]].concat().into_iter().map(Into::into).collect();
    let done = refuse(world, &words, fault)?;
    // A name that could not be given back, a directory that could not be removed: once the kernel
    // obeys again, `rm` does what was left to do.
    let _ = world.isula(["rm", "-f", "faulty"]).output()?;
    Ok(done)
}

/// Runs `isula` with that refusal. What it says, and whether there was a call to refuse.
fn refuse(
    world: &World,
    words: &[String],
    fault: Option<(&str, &str, u32)>,
) -> Result<(tests::Output, bool)> {
    let log = world.path("strace.log");
    let program = tests::world::binaries()?.join("isula");
    let mut call = world.tool("strace").args(["-f", "-qq", "-o"]).arg(&log);
    if let Some((name, errno, turn)) = fault {
        call = call.args(["-e", &format!("trace={name}")]);
        call = call.args(["-e", &format!("inject={name}:error={errno}:when={turn}")]);
    }
    let call = call.arg(program).arg("--root").arg(world.root());
    let output = call.arg("--state").arg(world.state()).args(words).output()?;
    let log = fs::read_to_string(&log).context("read the trace")?;
    let refused = log.contains("(INJECTED)");
    match fault {
        _ if output.code() == 0 => {}
        // Somebody was told what could not be done, and why.
        Some((_, errno, _)) if refused => {
            // The last words may have been what was refused, those to people or those of the shim
            // to whoever started it.
            let told = output.stderr.contains(errno)
                || output.stderr.is_empty()
                || output.stderr.contains("isula-shim ended before the container ran");
            ensure!(told, "{fault:?}: {output}");
        }
        _ => anyhow::bail!("{fault:?}: {output}"),
    }
    Ok((output, refused))
}
