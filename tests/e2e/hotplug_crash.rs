//! `isulad-tools` and its hook are killed before one system call after the other.
//!
//! strace counts: it ends the traced process by SIGKILL at its N-th system call. Whatever N, the
//! record can be read, is the old one or the new one, and `recover` makes the container agree.

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, CGROUP_V1, ROOT, STRACE};
use tests::{Story, World, story};

use crate::hotplug_subject::{Change, Hooked, Look, of_files, of_nics};
use crate::trace::{traced, turns};

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
    let subject = Hooked::new(world)?;
    for turn in subject.turns()?.iter().step_by(stride) {
        let started = subject.start_again(Some((turn, KILL)))?;
        if started.code() != 0 {
            started.expect_stderr("traced")?;
        }
        subject.look()?;
    }
    subject.remove()
}
