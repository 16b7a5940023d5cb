//! What a person reads when something is wrong: the words, the exit code, nothing on stdout.

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("errors::of_create_and_run", NEEDS, of_run),
        story("errors::of_the_other_verbs", NEEDS, of_verbs),
        story("errors::of_verbs_on_a_wrong_state", NEEDS, of_states),
        story("errors::what_is_not_done_is_refused_by_name", NEEDS, not_done),
    ]
}

/// Options of `isula run`, and what they must be answered with (exit code 125).
const RUN: &[(&[&str], &str)] = &[
    (&["--name", "-x"], "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed."),
    (&["--restart", "sometimes"], "Invalid restart policy"),
    (&["--restart", "always:3"], "Maximum retry count cannot be used with restart policy 'always'"),
    (&["--restart", "on-failure:x"], "Maximum retry count must be an integer"),
    (&["--rm", "--restart", "always"], "Conflicting options: --restart and --rm"),
    (&["--user-remap", "100000:100000:65536"], "--user-remap only available for system container"),
    (&["--system-container", "--user-remap", "1:2"], "Invalid user remap specification '1:2'"),
    (&["--ns-change-opt", "net"], "Unsupported ns-change-opt param in normal container"),
    (&["--system-container", "--ns-change-opt", "pid"], "invalid ns-change-opt pararm:pid"),
    (&["--host-channel", "/a:/b"], "Bad host channel format: /a:/b"),
    (&["--host-channel", "a:/b:rw:1M"], "Host channel host path should be absolute: a"),
    (&["--host-channel", "/nowhere/a:/b:rw:4095"], "Invalid size, larger than 4KB is allowed"),
    (&["--memory", "1M"], "Minimum memory limit allowed is 4MB"),
    (&["--memory-swappiness", "101"], "valid memory swappiness range is 0-100"),
    (&["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000."),
    (&["--cpu-period", "10"], "CPU cfs period can not be less than 1ms (i.e. 1000)"),
    (&["--cpus", "1", "--cpu-period", "5000"], "Nano CPUs and CPU Period cannot both be set."),
    (&["--cpuset-cpus", "4095"], "Requested CPUs are not available"),
    (&["--sysctl", "kernel.panic=1"], "is not whitelist"),
    (&["--stop-signal", "SIGNONE"], "Invalid signal: SIGNONE"),
    (&["--device", "/dev/no-such-device"], "/dev/no-such-device"),
    (&["--cap-add", "FLY"], "FLY"),
    (&["--add-host", "db"], "Invalid extra hosts specification 'db'"),
    (&["--dns", "nowhere"], "Invalid dns ip address 'nowhere'."),
    (&["-v", "relative/path:/x"], "host path \"relative/path\" is not absolute"),
    (&["--no-such-option"], "--no-such-option"),
];

fn of_run(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let mut wrong = String::new();
    for (options, text) in RUN {
        let output = world.isula_with("run", options, &rootfs, &["true"]).output()?;
        let told = output.code() == 125
            && output.stderr.starts_with("isula: ")
            && output.stderr.contains(text)
            && output.stdout.is_empty();
        if !told {
            wrong += &format!("{text:?} (125) expected\n{output}");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    let list = world.isula(["ps", "-a", "-q"]).ok()?;
    ensure!(list.stdout.is_empty(), "nothing was made:\n{list}");
    Ok(())
}

fn of_verbs(world: &World) -> Result<()> {
    for verb in ["start", "stop", "kill", "rm", "inspect", "logs", "attach", "pause", "wait"] {
        let output = world.isula([verb, "nobody"]).code(1)?;
        let told = output.stderr.starts_with("isula: ") && output.stderr.contains("nobody");
        ensure!(told && output.stderr.lines().count() == 1, "one line that names it:\n{output}");
    }
    let output = world.isula(["exec", "nobody", "true"]).output()?;
    ensure!(output.code() == 125 && output.stderr.contains("nobody"), "{output}");
    Ok(())
}

fn of_states(world: &World) -> Result<()> {
    let running = world.sleeper(&[])?;
    running.isula("rm", [""; 0]).code(1)?.expect_stderr(&format!(
        "You cannot remove a running container {}. Stop the container before attempting removal \
         or use -f",
        running.id()
    ))?;
    running.isula("pause", [""; 0]).ok()?;
    running
        .isula("start", [""; 0])
        .code(1)?
        .expect_stderr("Cannot start a paused container, try unpause instead.")?;
    running.isula("unpause", [""; 0]).ok()?;
    running.isula("unpause", [""; 0]).code(1)?;
    running.remove()
}

/// Verbs of the predecessor that are known and not done.
fn not_done(world: &World) -> Result<()> {
    for verb in ["pull", "images", "import", "load", "rmi", "tag", "search", "login", "logout"] {
        let output = world.isula([verb, "anything"]).output()?;
        let told = output.stderr.starts_with(&format!("isula: {verb}: not supported"));
        ensure!(output.code() != 0 && told && output.stdout.is_empty(), "{output}");
    }
    Ok(())
}
