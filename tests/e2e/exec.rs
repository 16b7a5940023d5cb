//! Further processes in a running container.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, Terminal, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("exec::streams_and_code_come_back", NEEDS, streams_and_code),
        story("exec::input_is_piped", NEEDS, input),
        story("exec::a_background_child_does_not_hold_it", NEEDS, background),
        story("exec::it_is_inside_in_every_way", NEEDS, inside),
        story("exec::user_environment_directory", NEEDS, user),
        story("exec::on_a_terminal", NEEDS, terminal),
        story("exec::detached", NEEDS, detached),
        story("exec::what_cannot_be_executed", NEEDS, cannot),
        story("exec::not_in_a_stopped_container", NEEDS, stopped),
    ]
}

fn streams_and_code(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    let output = container.exec(["sh", "-c", "echo out; echo err >&2; exit 9"]).code(9)?;
    ensure!(output.stdout == "out\n" && output.stderr == "err\n", "{output}");
    container.exec(["sh", "-c", "kill -TERM $$"]).code(143)?;
    container.remove()
}

fn input(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    let call = world.isula(["exec", "-i", container.id(), "cat"]).stdin("through\n");
    call.ok()?.expect_stdout("through\n")?;
    container.remove()
}

fn background(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    let started = Instant::now();
    container.exec(["sh", "-c", "sleep 100 & echo on"]).ok()?.expect_stdout("on\n")?;
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(3) * wait::slowness(), "it was held for {took:?}");
    container.remove()
}

fn inside(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    let pid = container.pid()?;
    for kind in ["pid", "mnt", "ipc", "uts", "net", "cgroup", "user"] {
        let own = std::fs::read_link(format!("/proc/{pid}/ns/{kind}"))?;
        let output = container.exec(["readlink", &format!("/proc/self/ns/{kind}")]).ok()?;
        ensure!(output.line() == own.to_string_lossy(), "{kind} is {}\n{output}", own.display());
    }
    // The same limits and rights as pid 1: cgroups, capabilities, seccomp.
    let lines = "grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/PID/status; cat /proc/PID/cgroup";
    let own = container.exec(["sh", "-c", &lines.replace("PID", "self")]).ok()?;
    let init = container.exec(["sh", "-c", &lines.replace("PID", "1")]).ok()?;
    ensure!(own.stdout == init.stdout, "exec'd:\n{own}pid 1:\n{init}");
    container.remove()
}

fn user(world: &World) -> Result<()> {
    let container = world.sleeper(&["-e", "OWN=1"])?;
    let script = "echo $OWN $MORE $(id -u):$(id -g) $(pwd)";
    let options = ["exec", "-e", "MORE=2", "-u", "user", "--workdir", "/tmp", container.id()];
    let output = world.isula(options).args(["sh", "-c", script]).ok()?;
    output.expect_stdout("1 2 1000:1000 /tmp\n")?;
    container.remove()
}

fn terminal(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    let mut shell = Terminal::start(&world.isula(["exec", "-it", container.id(), "sh"]))?;
    shell.expect("#")?;
    shell.send("tty; stty size; echo done-$((1 + 1))\n")?;
    shell.expect("/dev/pts/")?;
    shell.expect("24 80")?;
    shell.expect("done-2")?;
    shell.resize(30, 100)?;
    shell.send("stty size\n")?;
    shell.expect("30 100")?;
    shell.send("exit 4\n")?;
    shell.code(4)?;
    container.remove()
}

fn detached(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    world.isula(["exec", "-d", container.id(), "touch", "/tmp/made"]).ok()?;
    world.until("the file is made", Duration::from_secs(5), || {
        let seen = container.exec(["test", "-e", "/tmp/made"]).output()?;
        Ok((seen.code() == 0).then_some(()))
    })?;
    container.remove()
}

fn cannot(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    container.exec(["no-such-program"]).code(127)?.expect_stderr("no-such-program")?;
    container.exec(["/etc/passwd"]).code(126)?.expect_stderr("/etc/passwd")?;
    container.remove()
}

fn stopped(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    container.isula("stop", ["-t", "0"]).ok()?;
    let output = container.exec(["true"]).output()?;
    ensure!(output.code() != 0 && output.stderr.contains("not running"), "{output}");
    container.remove()
}
