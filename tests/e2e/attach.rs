//! Terminals that come and go: attach, detach, replay, two at once, resize.

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Call, Container, Story, Terminal, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("attach::a_shell_in_the_foreground", NEEDS, foreground),
        story("attach::detach_and_come_back", NEEDS, detach),
        story("attach::two_see_the_same", NEEDS, two),
        story("attach::the_window_size_follows", NEEDS, resize),
        story("attach::what_was_said_before_is_replayed", NEEDS, replay),
        story("attach::a_stopped_container_is_refused", NEEDS, stopped),
        story("attach::without_a_terminal", NEEDS, pipes),
    ]
}

/// Ctrl-a q.
const DETACH: &str = "\x01q";

fn attach(world: &World, container: &Container<'_>) -> Call {
    world.isula(["attach", container.id()])
}

/// A shell on a terminal of its own, in the background.
fn shell(world: &World) -> Result<Container<'_>> {
    let rootfs = world.busybox()?;
    world.run(&["-it"], &rootfs, &["sh"])
}

fn foreground(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let call = world.isula_with("run", &["--rm", "-it"], &rootfs, &["sh"]);
    let mut shell = Terminal::start(&call)?;
    shell.expect("#")?;
    shell.send("test -t 0 && echo on-a-$((1)) && ls -l /dev/console\n")?;
    shell.expect("on-a-1")?;
    shell.expect("/dev/console")?;
    shell.send("exit 6\n")?;
    shell.code(6)
}

fn detach(world: &World) -> Result<()> {
    let container = shell(world)?;
    let mut first = Terminal::start(&attach(world, &container))?;
    first.send("a=kept-$((20 + 3))\n")?;
    first.send("echo $a\n")?;
    first.expect("kept-23")?;
    first.send(DETACH)?;
    first.code(0)?;
    ensure!(container.status()? == "running", "it lives on");

    let mut second = Terminal::start(&attach(world, &container))?;
    second.send("echo again-$a\n")?;
    second.expect("again-kept-23")?;
    second.send("exit 2\n")?;
    second.code(2)?;
    container.until_status("exited")?;
    container.remove()
}

fn two(world: &World) -> Result<()> {
    let container = shell(world)?;
    let mut one = Terminal::start(&attach(world, &container))?;
    let mut other = Terminal::start(&attach(world, &container))?;
    one.send("echo from-$((1))\n")?;
    one.expect("from-1")?;
    other.expect("from-1")?;
    other.send("echo from-$((2))\n")?;
    one.expect("from-2")?;
    // The container's end is the end of both.
    one.send("exit\n")?;
    one.code(0)?;
    other.code(0)?;
    container.remove()
}

fn resize(world: &World) -> Result<()> {
    let container = shell(world)?;
    let mut terminal = Terminal::start(&attach(world, &container))?;
    terminal.send("stty size\n")?;
    terminal.expect("24 80")?;
    terminal.resize(40, 132)?;
    terminal.send("stty size\n")?;
    terminal.expect("40 132")?;
    terminal.send(DETACH)?;
    terminal.code(0)?;
    container.remove()
}

fn replay(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.run(&["-it"], &rootfs, &["sh", "-c", "echo said-$((5)); exec sh"])?;
    let mut terminal = Terminal::start(&attach(world, &container))?;
    terminal.expect("said-5")?;
    terminal.send(DETACH)?;
    terminal.code(0)?;
    container.remove()
}

fn stopped(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    container.isula("stop", ["-t", "0"]).ok()?;
    let output = attach(world, &container).output()?;
    let text = "You cannot attach to a stopped container, start it first";
    ensure!(output.code() != 0 && output.stderr.contains(text), "{output}");
    container.remove()
}

fn pipes(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.run(&["-i"], &rootfs, &["cat"])?;
    // Its input ends with ours, so cat ends, and so does the container.
    attach(world, &container).stdin("hello\n").ok()?.expect_stdout("hello\n")?;
    container.until_status("exited")?;
    container.remove()
}
