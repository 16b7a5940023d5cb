//! What the kernel refuses on the way from `run` to a running container, call by call: an error that
//! tells, and nothing left.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, ROOT, STRACE};
use tests::{Story, World, leaks, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX, STRACE];
    vec![
        story("faults::at_the_first_calls_of_a_start", NEEDS, |world| sweep(world, 2)),
        story("faults::at_every_call_of_a_start", NEEDS, |world| sweep(world, u32::MAX)).stress(),
    ]
}

/// What a start is made of, with an answer that the kernel may give.
const CALLS: &[(&str, &str)] = &[
    ("fsopen", "EMFILE"),
    ("fsconfig", "EINVAL"),
    ("fsmount", "EPERM"),
    ("open_tree", "ENOMEM"),
    ("move_mount", "EINVAL"),
    ("mount_setattr", "EINVAL"),
    ("mount", "EPERM"),
    ("umount2", "EBUSY"),
    ("pivot_root", "EINVAL"),
    ("openat2", "EMFILE"),
    ("mkdir", "ENOSPC"),
    ("mkdirat", "ENOSPC"),
    ("mknodat", "EPERM"),
    ("symlinkat", "ENOSPC"),
    ("rename", "EIO"),
    ("clone", "EAGAIN"),
    ("clone3", "EAGAIN"),
    ("unshare", "ENOSPC"),
    ("setns", "EPERM"),
    ("pipe2", "EMFILE"),
    ("socketpair", "EMFILE"),
    ("sethostname", "EPERM"),
    ("setresuid", "EAGAIN"),
    ("setgroups", "EPERM"),
    ("capset", "EPERM"),
    ("prlimit64", "EPERM"),
    ("seccomp", "EINVAL"),
    ("pidfd_open", "EMFILE"),
    ("memfd_create", "EMFILE"),
    ("flock", "ENOLCK"),
    ("fsync", "EIO"),
];

/// Refuses each call of each process in turn, until there is none left to refuse.
fn sweep(world: &World, turns: u32) -> Result<()> {
    let rootfs = world.busybox()?;
    // The first start makes what is kept: directories, the compiled filter.
    start(world, &rootfs, None)?;
    let before = leaks::mounts();
    let mut points = 0;
    for &(call, errno) in CALLS {
        for turn in 1..=turns {
            if !start(world, &rootfs, Some((call, errno, turn)))? {
                break;
            }
            points += 1;
            let what = format!("{call} answered {errno} at turn {turn}");
            let mounts = leaks::mounts();
            let new: BTreeSet<_> = mounts.difference(&before).collect();
            ensure!(new.is_empty(), "{what}: mounts are left: {new:?}");
            let cgroups = leaks::cgroups_below(world.name());
            ensure!(cgroups.is_empty(), "{what}: cgroups are left: {cgroups:?}");
            let left = world.isula(["ps", "-aq"]).ok()?;
            ensure!(left.stdout.is_empty(), "{what}: a container is left: {left}");
        }
    }
    ensure!(points >= CALLS.len() / 2, "only {points} calls were refused");
    tests::runner::say(&format!("    {points} calls refused"));
    Ok(())
}

/// Runs a container with that refusal; whether there was a call to refuse.
fn start(
    world: &World,
    rootfs: &std::path::Path,
    fault: Option<(&str, &str, u32)>,
) -> Result<bool> {
    let log = world.path("strace.log");
    let program = tests::world::binaries()?.join("isula");
    let mut call = world.tool("strace").args(["-f", "-qq", "-o"]).arg(&log);
    if let Some((name, errno, turn)) = fault {
        call = call.args(["-e", &format!("trace={name}")]);
        call = call.args(["-e", &format!("inject={name}:error={errno}:when={turn}")]);
    }
    let output = call
        .arg(program)
        .arg("--root")
        .arg(world.root())
        .arg("--state")
        .arg(world.state())
        .args(["run", "--rm", "--name", "faulty", "-h", "faulty", "-u", "1000"])
        .args(["--cgroup-parent", &format!("/{}", world.name()), "--external-rootfs"])
        .arg(rootfs)
        .args(["none", "true"])
        .output()?;
    let log = fs::read_to_string(&log).context("read the trace")?;
    let refused = log.contains("(INJECTED)");
    match output.code() {
        0 => {}
        // Somebody was told what could not be done, and why.
        _ if refused => {
            ensure!(!output.stderr.is_empty(), "{fault:?}: nothing is said: {output}");
        }
        _ => anyhow::bail!("{fault:?}: {output}"),
    }
    // A name that could not be given back, a directory that could not be removed: once the kernel
    // obeys again, `rm` does what was left to do.
    let _ = world.isula(["rm", "-f", "faulty"]).output()?;
    Ok(refused)
}
