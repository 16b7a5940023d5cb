//! What the kernel refuses while `isulad-tools` changes a container, call by call: the change is
//! made whole, or nothing is changed and an error tells why. What could not be taken back is said,
//! and `recover` does it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use tests::need::{BUSYBOX, ROOT, STRACE};
use tests::{Story, World, story};

use crate::hotplug_subject::{Change, Hooked, Look, of_files, of_nics};
use crate::trace::{REFUSALS, traced, turns};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX, STRACE];
    vec![
        story("hotplug_faults::files_at_some_calls", NEEDS, |world| {
            of_files(world, |change, look| sweep(world, change, 5, look))
        }),
        story("hotplug_faults::files_at_every_call", NEEDS, |world| {
            of_files(world, |change, look| sweep(world, change, 1, look))
        })
        .stress(),
        story("hotplug_faults::links_at_some_calls", NEEDS, |world| {
            of_nics(world, |change, look| sweep(world, change, 17, look))
        }),
        story("hotplug_faults::links_at_every_call", NEEDS, |world| {
            of_nics(world, |change, look| sweep(world, change, 1, look))
        })
        .stress(),
        story("hotplug_faults::the_hook_at_some_calls", NEEDS, |world| hook(world, 7)),
        story("hotplug_faults::the_hook_at_every_call", NEEDS, |world| hook(world, 1)).stress(),
    ]
}

/// Refuses each `stride`-th call of the command, and of the one that takes it back.
fn sweep(world: &World, (verb, back): &Change<'_>, stride: usize, look: Look<'_>) -> Result<()> {
    let mut refused = run(world, verb, back, stride, look)?;
    world.tools(verb).ok()?;
    refused += run(world, back, verb, stride, look)?;
    tests::runner::say(&format!("    {}: {refused} calls refused", verb[0]));
    Ok(())
}

/// How many calls were refused. Ends with the command taken back.
fn run(
    world: &World,
    verb: &[&str],
    back: &[&str],
    stride: usize,
    look: Look<'_>,
) -> Result<usize> {
    let answers: BTreeMap<_, _> = REFUSALS.iter().copied().collect();
    let tools = world.tools(verb);
    let log = world.path("trace");
    let old = look()?;
    let first = traced(world, &tools, &log, None)?;
    ensure!(first.code() == 0, "it works under strace\n{first}");
    let new = look()?;
    ensure!(old != new, "it changes what is there: {old:?}");
    let turns = turns(&log)?;
    world.tools(back).ok()?;
    let (mut points, mut wrong) = (0, vec![]);
    for turn in turns.iter().filter(|(call, _)| answers.contains_key(call.as_str())).step_by(stride)
    {
        let errno = answers[turn.0.as_str()];
        let error = format!("error={errno}");
        let output = traced(world, &tools, &log, Some((turn, &error)))?;
        points += 1;
        let check = || -> Result<()> {
            if output.stderr.contains("left behind: ") {
                // The step was done and its answer lost: what stands in the way is said.
                world.tools(["recover", "web"]).ok()?;
            }
            let now = look()?;
            match output.code() {
                0 => ensure!(now == new, "it is said to be done, and there is {now:?}"),
                _ => {
                    ensure!(now == old, "it is said to have failed, and there is {now:?}");
                    output.clone().expect_stderr(errno).map(drop)?;
                }
            }
            world.tools(back).output()?;
            ensure!(look()? == old, "it can be taken back");
            Ok(())
        };
        if let Err(error) = check() {
            wrong.push(format!("{errno} at {turn:?}: {error:#}\n{output}"));
            world.tools(["recover", "web"]).output()?;
            world.tools(back).output()?;
        }
    }
    ensure!(wrong.is_empty(), "{verb:?}, {} of {points}:\n{}", wrong.len(), wrong.join("\n"));
    Ok(points)
}

/// Refuses each `stride`-th call of a start's hook: the container starts with all that was added, or
/// does not start.
fn hook(world: &World, stride: usize) -> Result<()> {
    let answers: BTreeMap<_, _> = REFUSALS.iter().copied().collect();
    let subject = Hooked::new(world)?;
    let turns = subject.turns()?;
    let refused = turns.iter().filter(|(call, _)| answers.contains_key(call.as_str()));
    for turn in refused.step_by(stride) {
        let errno = answers[turn.0.as_str()];
        let started = subject.start_again(Some((turn, &format!("error={errno}"))))?;
        if started.code() != 0 {
            started.clone().expect_stderr(errno)?;
        }
        subject.look().with_context(|| format!("{errno} at {turn:?}: {started}"))?;
    }
    subject.remove()
}
