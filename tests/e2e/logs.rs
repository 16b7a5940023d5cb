//! What a container said, kept and shown again.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("logs::both_streams_are_kept_apart", NEEDS, streams),
        story("logs::tail_and_follow", NEEDS, tail_and_follow),
        story("logs::files_rotate_at_their_size", NEEDS, rotation),
        story("logs::they_can_be_off", NEEDS, off),
        story("logs::a_reader_that_is_slow_does_not_hold_the_container", NEEDS, full_pipe),
    ]
}

fn streams(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.run(&[], &rootfs, &["sh", "-c", "echo out; echo err >&2"])?;
    container.until_status("exited")?;
    let output = container.isula("logs", [""; 0]).ok()?;
    ensure!(output.stdout == "out\n" && output.stderr == "err\n", "{output}");
    container.remove()
}

fn tail_and_follow(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let script = "seq 1 5; while ! [ -e /tmp/go ]; do sleep 0.02; done; echo last";
    let container = world.run(&[], &rootfs, &["sh", "-c", script])?;
    world.until("five lines", Duration::from_secs(5), || {
        let output = container.isula("logs", [""; 0]).ok()?;
        Ok((output.stdout == "1\n2\n3\n4\n5\n").then_some(()))
    })?;
    container.isula("logs", ["--tail", "2"]).ok()?.expect_stdout("4\n5\n")?;
    let follower = container.isula("logs", ["-f", "--tail", "1"]);
    let follower = std::thread::scope(|scope| {
        let followed = scope.spawn(|| follower.ok());
        container.exec(["touch", "/tmp/go"]).ok()?;
        followed.join().unwrap_or_else(|_| anyhow::bail!("a panic"))
    })?;
    // It ends with the container.
    ensure!(follower.stdout.ends_with("last\n"), "{follower}");
    container.remove()
}

fn rotation(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let options = ["--log-opt", "max-size=10KB", "--log-opt", "max-file=3"];
    let container = world.run(&options, &rootfs, &["sh", "-c", "seq 1 20000"])?;
    container.until_status("exited")?;
    let path = container.value("/LogPath")?;
    let path = std::path::PathBuf::from(path.as_str().unwrap_or_default());
    let dir = path.parent().unwrap_or(&path);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&name) {
            sizes.push(entry.metadata()?.len());
        }
    }
    ensure!(sizes.len() == 3, "three files of {name} in {}: {sizes:?}", dir.display());
    ensure!(sizes.iter().all(|&size| size <= 11 * 1024), "at most 10 KB each: {sizes:?}");
    let output = container.isula("logs", ["--tail", "1"]).ok()?;
    output.expect_stdout("20000\n")?;
    container.remove()
}

fn off(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let options = ["--log-opt", "disable-log=true"];
    let container = world.run(&options, &rootfs, &["echo", "unheard"])?;
    container.until_status("exited")?;
    let output = container.isula("logs", [""; 0]).output()?;
    ensure!(output.code() != 0 && output.stderr.contains("disable console log"), "{output}");
    container.remove()
}

fn full_pipe(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let call = world.isula_with("run", &["--rm"], &rootfs, &["sh", "-c", "seq 1 200000; exit 3"]);
    let mut child = call.command().stdout(std::process::Stdio::piped()).spawn()?;
    // Nobody reads until the end: the pipe holds 64 KiB, the container says a megabyte.
    world
        .until("the shim reaches the end", Duration::from_secs(2), || {
            Ok(child.try_wait()?.map(drop))
        })
        .ok();
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        std::io::Read::read_to_string(&mut stdout, &mut text)?;
    }
    let status = child.wait()?;
    ensure!(status.code() == Some(3), "{status}");
    ensure!(
        text.lines().last() == Some("200000"),
        "{} bytes, last {:?}",
        text.len(),
        text.lines().last()
    );
    Ok(())
}
