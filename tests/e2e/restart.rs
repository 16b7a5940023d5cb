//! Restart policies, and what counts as a reboot.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Container, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("restart::on_failure_counts_and_gives_up", NEEDS, on_failure),
        story("restart::on_failure_lets_success_be", NEEDS, success),
        story("restart::always_restarts_until_stopped", NEEDS, always),
        story("restart::exit_129_is_no_reboot", NEEDS, exit_129),
        story("restart::reboot_by_reboot_2_is_one", NEEDS, real_reboot),
        story("restart::halt_is_not_restarted", NEEDS, halt),
        story("restart::by_hand", NEEDS, by_hand),
    ]
}

fn count(container: &Container<'_>) -> Result<u64> {
    container.value("/RestartCount")?.as_u64().ok_or_else(|| anyhow::anyhow!("a number"))
}

fn on_failure(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container =
        world.run(&["--restart", "on-failure:2"], &rootfs, &["sh", "-c", "echo x; exit 1"])?;
    container.until_status("exited")?;
    ensure!(count(&container)? == 2, "RestartCount is {}", count(&container)?);
    container.isula("logs", [""; 0]).ok()?.expect_stdout("x\nx\nx\n")?;
    container.remove()
}

fn success(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.run(&["--restart", "on-failure"], &rootfs, &["true"])?;
    container.until_status("exited")?;
    ensure!(count(&container)? == 0, "RestartCount is {}", count(&container)?);
    container.remove()
}

fn always(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.run(&["--restart", "always"], &rootfs, &["true"])?;
    world.until("two restarts", Duration::from_secs(10), || {
        Ok((count(&container)? >= 2).then_some(()))
    })?;
    container.isula("stop", [""; 0]).ok()?;
    container.until_status("exited")?;
    let stopped = count(&container)?;
    container.isula("inspect", [""; 0]).ok()?;
    ensure!(count(&container)? == stopped, "stop is the end of it");
    container.remove()
}

fn exit_129(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let options = ["--system-container", "--restart", "on-reboot"];
    let container = world.run(&options, &rootfs, &["sh", "-c", "echo once; exit 129"])?;
    container.until_status("exited")?;
    ensure!(count(&container)? == 0, "RestartCount is {}", count(&container)?);
    ensure!(container.exit_code()? == 129, "exit code {}", container.exit_code()?);
    container.remove()
}

fn real_reboot(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let options = ["--system-container", "--restart", "on-reboot"];
    // `reboot -f` is reboot(2); the file says which life this is.
    let script = "echo life >> /lives; [ $(wc -l < /lives) = 3 ] && exec sleep 600; reboot -f";
    let container = world.run(&options, &rootfs, &["sh", "-c", script])?;
    world.until("the third life", Duration::from_secs(10), || {
        Ok((container.status()? == "running" && count(&container)? == 2).then_some(()))
    })?;
    container.remove()
}

fn halt(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let options = ["--system-container", "--restart", "on-reboot"];
    let container = world.run(&options, &rootfs, &["sh", "-c", "poweroff -f"])?;
    container.until_status("exited")?;
    ensure!(container.exit_code()? == 130, "exit code {}", container.exit_code()?);
    ensure!(count(&container)? == 0, "RestartCount is {}", count(&container)?);
    container.remove()
}

fn by_hand(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    let before = container.pid()?;
    container.isula("restart", ["-t", "0"]).ok()?;
    ensure!(container.pid()? != before, "a new pid 1");
    container.isula("stop", ["-t", "0"]).ok()?;
    container.isula("start", [""; 0]).ok()?;
    ensure!(container.status()? == "running", "it is {}", container.status()?);
    container.remove()
}
