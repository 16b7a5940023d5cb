//! A container in a container.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::need::{DEBIAN, ROOT};
use tests::{Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    vec![story("nested::a_system_container_in_one", &[ROOT, DEBIAN], system)]
}

fn system(world: &World) -> Result<()> {
    let inner = world.debian()?;
    let tree = format!("{}:/srv/inner", inner.display());
    let programs = format!("{}:/opt/isula:ro", tests::world::binaries()?.display());
    let options = ["--privileged", "-v", &tree, "-v", &programs];
    let outer = world.boot(&options, &world.debian()?)?;
    let isula = |words: &[&str]| outer.exec([&["/opt/isula/isula"], words].concat());
    let rootfs = ["--external-rootfs", "/srv/inner", "none", "/sbin/init"];
    let run = ["run", "-d", "--name", "inner", "-h", "within", "--system-container"];
    isula(&[&run[..], &rootfs].concat()).ok()?;
    world.until("the inner one is running", Duration::from_secs(60), || {
        let said = isula(&["exec", "inner", "systemctl", "is-system-running"]).output()?;
        Ok((said.line() == "running").then_some(()))
    })?;
    isula(&["exec", "inner", "cat", "/proc/sys/kernel/hostname"])
        .ok()?
        .expect_stdout("within\n")?;
    let name = outer.exec(["cat", "/proc/sys/kernel/hostname"]).ok()?;
    ensure!(name.stdout != "within\n", "{name}");
    let said = isula(&["stop", "inner"]).ok()?;
    ensure!(said.elapsed < Duration::from_secs(20), "{said}");
    isula(&["rm", "inner"]).ok()?;
    // An ordinary one after it.
    let run = ["run", "--rm", "--external-rootfs", "/srv/inner", "none", "cat", "/etc/hostname"];
    isula(&run).ok()?;
    let left = isula(&["ps", "-aq"]).ok()?;
    ensure!(left.stdout.is_empty(), "{left}");
    outer.remove().context("the outer one")
}
