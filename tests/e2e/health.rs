//! Health checks, as a person sees them.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Container, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("health::a_check_that_changes_its_mind", NEEDS, changes),
        story("health::a_check_that_hangs_or_cannot_run", NEEDS, hangs),
        story("health::an_unhealthy_container_is_killed_if_asked", NEEDS, killed),
        story("health::a_paused_container_is_not_entered", NEEDS, paused),
    ]
}

const SOON: Duration = Duration::from_secs(20);

fn status(world: &World, container: &Container<'_>, wanted: &str) -> Result<()> {
    world.until(&format!("it is {wanted}"), SOON, || {
        let status = container.value("/State/Health/Status")?;
        Ok((status == wanted).then_some(()))
    })
}

fn changes(world: &World) -> Result<()> {
    let check = "cat /tmp/well; test -e /tmp/well";
    let options = ["--health-cmd", check, "--health-interval", "1s", "--health-retries", "1"];
    let container = world.sleeper(&options)?;
    ensure!(container.value("/Config/HealthCheck/Interval")? == 1_000_000_000);
    status(world, &container, "unhealthy")?;
    let listed = world.isula(["ps", "--format", "{{.Status}} {{.State}}"]).ok()?;
    listed.expect_stdout("running (unhealthy) running\n")?;
    container.exec(["sh", "-c", "echo fine > /tmp/well"]).ok()?;
    status(world, &container, "healthy")?;
    let health = container.value("/State/Health")?;
    let log = health["Log"].as_array().cloned().unwrap_or_default();
    ensure!(log.len() >= 2 && log.len() <= 5, "{health}");
    let last = log.last().cloned().unwrap_or_default();
    ensure!(last["ExitCode"] == 0 && last["Output"] == "fine\n", "{health}");
    ensure!(log[0]["ExitCode"] == 1, "{health}");
    ensure!(health["FailingStreak"] == 0, "{health}");
    // The next run is judged anew.
    container.isula("restart", ["-t", "0"]).ok()?;
    let first = container.value("/State/Health")?;
    ensure!(first["Status"] != "unhealthy", "{first}");
    container.remove()
}

fn hangs(world: &World) -> Result<()> {
    let options = ["--health-cmd", "sleep 100", "--health-interval", "1s"];
    let options = [&options[..], &["--health-timeout", "1s", "--health-retries", "2"]].concat();
    let container = world.sleeper(&options)?;
    status(world, &container, "unhealthy")?;
    let log = container.value("/State/Health/Log/0")?;
    ensure!(log["ExitCode"] == -1, "{log}");
    ensure!(log["Output"] == "Health check exceeded timeout (1s)", "{log}");
    container.exec(["rm", "/bin/sh"]).ok()?;
    world.until("it cannot run", SOON, || {
        let log = container.value("/State/Health/Log")?;
        let last = log.as_array().and_then(|log| log.last()).cloned().unwrap_or_default();
        let text = last["Output"].as_str().unwrap_or_default().to_owned();
        Ok(text.contains("no such file or directory (ENOENT)").then_some(()))
    })?;
    container.remove()
}

fn killed(world: &World) -> Result<()> {
    let options = ["--health-cmd", "false", "--health-interval", "1s", "--health-retries", "1"];
    let options = [&options[..], &["--health-exit-on-unhealthy"]].concat();
    let container = world.sleeper(&options)?;
    container.until_status("exited")?;
    ensure!(container.value("/State/ExitCode")? == 137);
    container.remove()?;
    // The restart policy has its say.
    let options = [&options[..], &["--restart", "on-failure:1"]].concat();
    let container = world.sleeper(&options)?;
    container.until_status("exited")?;
    ensure!(container.value("/RestartCount")? == 1);
    container.remove()
}

fn paused(world: &World) -> Result<()> {
    let options = ["--health-cmd", "true", "--health-interval", "1s", "--health-retries", "1"];
    let container = world.sleeper(&options)?;
    status(world, &container, "healthy")?;
    container.isula("pause", [""; 0]).ok()?;
    status(world, &container, "unhealthy")?;
    let log = container.value("/State/Health/Log")?;
    let last = log.as_array().and_then(|log| log.last()).cloned().unwrap_or_default();
    ensure!(last["Output"] == "the container is paused", "{log}");
    container.isula("unpause", [""; 0]).ok()?;
    status(world, &container, "healthy")?;
    container.remove()
}
