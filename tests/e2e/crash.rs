//! Killed outright at any moment: what is left can be seen, and removed without a trace.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tests::need::{BUSYBOX, NFT, ROOT};
use tests::{Story, World, processes, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("crash::without_its_shim_a_container_can_be_stopped", NEEDS, shim_of_running),
        story("crash::init_is_killed_from_outside", NEEDS, init),
        story("crash::isula_is_killed_at_many_moments", NEEDS, |world| {
            moments(world, "isula", &[], 24)
        })
        .alone(),
        story("crash::the_shim_is_killed_at_many_moments", NEEDS, |world| {
            moments(world, "isula-shim", &[], 24)
        })
        .alone(),
        story("crash::the_shim_of_a_published_port_is_killed", &[ROOT, BUSYBOX, NFT], published)
            .alone(),
        story("crash::both_are_killed_at_very_many_moments", NEEDS, |world| {
            moments(world, "isula", &[], 300)?;
            moments(world, "isula-shim", &[], 300)
        })
        .stress(),
    ]
}

fn kill(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// Kills every process of the world that runs this program; says how many.
pub(crate) fn kill_program(world: &World, program: &str) -> usize {
    let runs_it =
        |argv: &[String]| argv.first().is_some_and(|path| path.rsplit('/').next() == Some(program));
    let found = processes::of(world.name());
    found.iter().filter(|process| runs_it(&process.argv) && kill(process.pid)).count()
}

fn shim_of_running(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let script = "trap 'exit 3' TERM; while :; do sleep 0.05; done";
    let container = world.run(&[], &rootfs, &["sh", "-c", script])?;
    let pid = container.pid()?;
    ensure!(kill_program(world, "isula-shim") == 1, "one shim\n{}", world.dump());
    // The container lives on, and is told so; stop has to do without the shim.
    ensure!(container.status()? == "running" && container.pid()? == pid, "{}", world.dump());
    container.isula("stop", [""; 0]).ok()?;
    ensure!(container.status()? == "exited", "it is {}", container.status()?);
    ensure!(!processes::all().iter().any(|process| process.pid == pid), "init is gone");
    container.isula("start", [""; 0]).ok()?;
    ensure!(container.status()? == "running", "it is {}", container.status()?);
    container.remove()
}

fn init(world: &World) -> Result<()> {
    let container = world.sleeper(&[])?;
    ensure!(kill(container.pid()?), "it was alive");
    container.until_status("exited")?;
    ensure!(container.exit_code()? == 137, "exit code {}", container.exit_code()?);
    container.remove()
}

fn published(world: &World) -> Result<()> {
    let host = "ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward";
    world.tool("sh").args(["-ec", host]).ok()?;
    moments(world, "isula-shim", &["--net", "bridge", "-p", "127.0.0.1:8080:80"], 24)?;
    let tables = world.tool("nft").args(["list", "tables"]).ok()?;
    tables.expect_stdout("")?;
    world.until("its links are gone", Duration::from_secs(5), || {
        let links = world.tool("ip").args(["-br", "link"]).ok()?;
        Ok((links.stdout.lines().count() == 1).then_some(()))
    })
}

/// Kills `program` a little later each time while `isula run -d` is under way, then cleans up as a
/// person would: `isula rm -f`.
fn moments(world: &World, program: &str, options: &[&str], count: u32) -> Result<()> {
    let rootfs = world.busybox()?;
    // How long a whole run takes here decides the moments.
    let started = Instant::now();
    let container = world.run(options, &rootfs, &["sleep", "600"])?;
    let whole = started.elapsed();
    container.remove()?;

    for number in 0..count {
        let moment = whole * 3 / 2 * number / count;
        let name = format!("victim{number}");
        let named = [&["-d", "--name", &name], options].concat();
        let call = world.isula_with("run", &named, &rootfs, &["sleep", "600"]);
        let mut child = call
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let started = Instant::now();
        wait::until_true("the moment", moment + Duration::from_secs(1), || {
            started.elapsed() >= moment
        })?;
        kill_program(world, program);
        let ended =
            wait::until("isula run ends", Duration::from_secs(20), || Ok(child.try_wait()?));
        ended.map_err(|error| error.context(world.dump()))?;

        let told = format!("{program} killed after {moment:?}");
        let list = world.isula(["ps", "-a", "-q", "--no-trunc"]).ok()?;
        for id in list.stdout.lines() {
            world.isula(["rm", "-f", id]).ok().map_err(|error| error.context(told.clone()))?;
        }
        world
            .until("nothing is left", Duration::from_secs(5), || {
                Ok(processes::of(world.name()).is_empty().then_some(()))
            })
            .map_err(|error| error.context(told.clone()))?;
        // The name and the rootfs are free, and what it had of the host.
        let named = [&["--name", &name], options].concat();
        let again = world.run(&named, &rootfs, &["sleep", "600"]);
        again.map_err(|error| error.context(told))?.remove()?;
    }
    Ok(())
}
