//! Ordinary containers in the foreground and the background: streams, codes, environment.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Call, Story, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("run::both_streams_and_the_exit_code_come_back", NEEDS, streams_and_code),
        story("run::a_signal_is_128_and_its_number", NEEDS, signal_code),
        story("run::what_cannot_be_executed_is_126_or_127", NEEDS, cannot_execute),
        story("run::piped_input_is_read_to_its_end", NEEDS, piped_input),
        story("run::without_i_there_is_no_input", NEEDS, no_input),
        story("run::megabytes_arrive_whole", NEEDS, megabytes),
        story("run::rm_leaves_nothing", NEEDS, rm_leaves_nothing),
        story("run::in_the_background_prints_the_id", NEEDS, background),
        story("run::environment_directory_user_and_host_name", NEEDS, environment),
        story("run::its_devices_are_those_of_a_container", NEEDS, devices),
        story("run::wait_prints_the_code", NEEDS, wait_prints),
        story("run::stop_and_kill", NEEDS, stop_and_kill),
        story("run::thirty_at_once", NEEDS, |world| at_once(world, 30)),
        story("run::two_hundred_at_once", NEEDS, |world| at_once(world, 200)).stress(),
    ]
}

/// `isula run --rm` in the foreground, with a busybox of its own.
fn run(world: &World, options: &[&str], command: &[&str]) -> Result<Call> {
    let rootfs = world.busybox()?;
    Ok(world.isula_with("run", &[&["--rm"], options].concat(), &rootfs, command))
}

fn streams_and_code(world: &World) -> Result<()> {
    let output = run(world, &[], &["sh", "-c", "echo out; echo err >&2; exit 7"])?.code(7)?;
    ensure!(output.stdout == "out\n" && output.stderr == "err\n", "{output}");
    run(world, &[], &["true"])?.ok()?.expect_stdout("")?;
    Ok(())
}

fn signal_code(world: &World) -> Result<()> {
    // Pid 1 is immune to signals of its own namespace, so a child dies and a shell passes it on.
    run(world, &[], &["sh", "-c", "sh -c 'kill -9 $$'; exit $?"])?.code(137)?;
    let container = world.sleeper(&[])?;
    container.isula("kill", ["-s", "KILL"]).ok()?;
    container.until_status("exited")?;
    ensure!(container.exit_code()? == 137, "exit code {}", container.exit_code()?);
    container.remove()
}

fn cannot_execute(world: &World) -> Result<()> {
    let none = run(world, &[], &["no-such-program"])?.code(127)?;
    ensure!(none.stderr.contains("no-such-program"), "the program is named:\n{none}");
    let directory = run(world, &[], &["/etc/passwd"])?.code(126)?;
    ensure!(directory.stderr.contains("/etc/passwd"), "the program is named:\n{directory}");
    Ok(())
}

fn piped_input(world: &World) -> Result<()> {
    let shell = run(world, &["-i"], &["sh"])?.stdin("echo read-$((6 * 7))\n").ok()?;
    shell.expect_stdout("read-42\n")?;
    let bytes = "0123456789abcdef".repeat(1 << 16);
    let count = run(world, &["-i"], &["wc", "-c"])?.stdin(bytes).ok()?;
    ensure!(count.stdout.trim() == "1048576", "{count}");
    Ok(())
}

fn no_input(world: &World) -> Result<()> {
    run(world, &[], &["cat"])?.stdin("not for the container\n").ok()?.expect_stdout("")?;
    Ok(())
}

fn megabytes(world: &World) -> Result<()> {
    let script = "seq 1 300000; seq 1 300000 | md5sum >&2";
    let output = run(world, &[], &["sh", "-c", script])?.ok()?;
    let sum = world.tool("md5sum").stdin(output.stdout.as_str()).ok()?;
    ensure!(sum.stdout == output.stderr, "of {} bytes: {sum}", output.stdout.len());
    Ok(())
}

fn rm_leaves_nothing(world: &World) -> Result<()> {
    run(world, &["--name", "gone"], &["true"])?.ok()?;
    let list = world.isula(["ps", "-a", "-q"]).ok()?;
    ensure!(list.stdout.is_empty(), "{list}");
    // Its name is free again.
    run(world, &["--name", "gone"], &["true"])?.ok()?;
    Ok(())
}

fn background(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let started = Instant::now();
    let container = world.run(&["--name", "sleepy"], &rootfs, &["sleep", "600"])?;
    ensure!(started.elapsed() < Duration::from_secs(5) * wait::slowness(), "it did not wait");
    ensure!(container.status()? == "running", "it is {}", container.status()?);
    let list = world.isula(["ps", "-q", "--no-trunc"]).ok()?;
    ensure!(list.line() == container.id(), "{list}");
    ensure!(container.value("/Name")? == "sleepy", "its name is {}", container.value("/Name")?);
    container.remove()
}

fn environment(world: &World) -> Result<()> {
    let options = ["-e", "COLOR=blue", "--workdir", "/tmp", "--user", "user", "-h", "inside"];
    let output = run(world, &options, &["sh", "-c", "echo $COLOR $(pwd) $(id -u) $(hostname)"])?;
    output.ok()?.expect_stdout("blue /tmp 1000 inside\n")?;
    let file = world.path("env");
    std::fs::write(&file, "# a comment\nFROM_FILE=yes\n")?;
    let output =
        run(world, &["--env-file", &file.to_string_lossy()], &["sh", "-c", "echo $FROM_FILE"])?;
    output.ok()?.expect_stdout("yes\n")?;
    Ok(())
}

fn devices(world: &World) -> Result<()> {
    let script = "cd /dev; for n in null zero full random urandom tty; do stat -c '%n %F %t:%T' $n; \
                  done; for n in fd stdin stdout stderr ptmx; do readlink $n; done; echo x > null; head -c 4 zero | wc -c";
    let output = run(world, &[], &["sh", "-c", script])?.ok()?;
    let expected = "null character special file 1:3\nzero character special file 1:5\n\
                    full character special file 1:7\nrandom character special file 1:8\n\
                    urandom character special file 1:9\ntty character special file 5:0\n\
                    /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n4\n";
    output.expect_stdout(expected)?;
    // A block device cannot be opened, also by a node that the container makes.
    let script = "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk";
    run(world, &[], &["sh", "-c", script])?.code(1)?.expect_stderr("not permitted")?;
    Ok(())
}

fn wait_prints(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.run(&[], &rootfs, &["sh", "-c", "sleep 0.3; exit 5"])?;
    container.isula("wait", [""; 0]).ok()?.expect_stdout("5\n")?;
    container.remove()
}

fn stop_and_kill(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let script = "trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done";
    let container = world.run(&[], &rootfs, &["sh", "-c", script])?;
    container.isula("stop", [""; 0]).ok()?;
    ensure!(container.exit_code()? == 3, "exit code {}", container.exit_code()?);
    container.isula("logs", [""; 0]).ok()?.expect_stdout("bye\n")?;
    // sleep as pid 1 has no handler: it takes the time limit and SIGKILL.
    container.remove()?;
    let container = world.sleeper(&[])?;
    let started = Instant::now();
    container.isula("stop", ["-t", "1"]).ok()?;
    let took = started.elapsed();
    ensure!(
        (Duration::from_millis(900)..Duration::from_secs(4) * wait::slowness()).contains(&took),
        "{took:?}"
    );
    ensure!(container.exit_code()? == 137, "exit code {}", container.exit_code()?);
    container.isula("kill", ["-s", "TERM"]).code(1)?.expect_stderr("not running")?;
    container.remove()
}

fn at_once(world: &World, count: usize) -> Result<()> {
    let rootfs: Vec<_> = (0..count).map(|_| world.busybox()).collect::<Result<_>>()?;
    let calls = rootfs.iter().map(|rootfs| world.isula_with("run", &["--rm"], rootfs, &["true"]));
    let children: Vec<_> = calls
        .map(|call| Ok((call.command().stdin(std::process::Stdio::null()).spawn()?, call)))
        .collect::<Result<_>>()?;
    for (mut child, _) in children {
        let ended = wait::until("a run ends", Duration::from_secs(60), || Ok(child.try_wait()?))?;
        ensure!(ended.success(), "one of {count}: {ended}");
    }
    Ok(())
}
