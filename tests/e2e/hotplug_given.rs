//! Links of the host's into containers, and home again as they were.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::need::{BUSYBOX, ETHTOOL, ROOT};
use tests::{Container, Story, World, story};

use crate::links::{Bridge, Port, has_link, ip, ip_in, json};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_given::a_link_of_the_host_returns_as_it_was", &[ROOT, BUSYBOX], given),
        story("hotplug_given::whatever_the_guest_does_to_it", &[ROOT, BUSYBOX], renamed),
        story("hotplug_given::a_missed_end", &[ROOT, BUSYBOX], missed),
        story("hotplug_given::offloads_too", &[ROOT, BUSYBOX, ETHTOOL], offloads),
        story("hotplug_given::what_the_host_needs_stays", &[ROOT, BUSYBOX], needed),
    ]
}

fn given(world: &World) -> Result<()> {
    let port = Port::new(world)?;
    let before = port.look()?;
    let container = world.sleeper(&["--name", "web"])?;
    let mac = "02:00:00:00:00:99";
    world
        .tools([
            "add-nic",
            "web",
            "--type",
            "eth",
            "--name",
            "p0:e1",
            "--ip",
            "10.6.0.2/24",
            "--mtu",
            "1300",
            "--mac",
            mac,
        ])
        .ok()?
        .expect_stdout("Add network interface (p0) to container (web,e1) done\n")?;
    ensure!(!has_link(world, "p0")?, "it is not on the host any more");
    let inside = json(&ip_in(world, &container, "-j address show dev e1")?)?;
    ensure!(inside["mtu"] == 1300 && inside["address"] == mac, "{inside}");
    ensure!(inside["addr_info"].to_string().contains("10.6.0.2"), "{inside}");
    world
        .tools(["remove-nic", "web", "--name", "p0:e1"])
        .ok()?
        .expect_stdout("Remove network interface (p0) from container (web,e1) done\n")?;
    let after = port.look()?;
    ensure!(after == before, "before: {before}\nafter: {after}");
    container.remove()
}

fn renamed(world: &World) -> Result<()> {
    let port = Port::new(world)?;
    let before = port.look()?;
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let container = world.run(
        &["--name", "web", "--hook-spec", &spec],
        &world.busybox()?,
        &["sleep", "86400"],
    )?;
    let add = ["add-nic", "web", "--type", "eth", "--name", "p0:e1", "--ip", "10.6.0.2/24"];
    let spoil = |container: &Container<'_>| -> Result<()> {
        let tag = format!("isulad-tools-{}-e1", &container.id()[..12]);
        for step in [
            "link set e1 down".to_owned(),
            "link set e1 name mine mtu 1000".to_owned(),
            format!("link property del dev mine altname {tag}"),
            "link property del dev mine altname the-port-on-the-left".to_owned(),
        ] {
            ip_in(world, container, &step)?;
        }
        Ok(())
    };
    world.tools(add).ok()?;
    spoil(&container)?;
    // Somebody else has taken its name meanwhile, and gives it up in time.
    ip(world, "link add p0 type bridge")?;
    ip(world, "link del p0")?;
    container.isula("stop", ["-t", "0"]).ok()?;
    ensure!(port.look()? == before, "before: {before}\nafter: {}", port.look()?);
    container.isula("start", [""; 0]).ok()?;
    ensure!(ip_in(world, &container, "link")?.contains("e1"), "it is there again");
    spoil(&container)?;
    world.tools(["remove-nic", "web", "--name", "e1"]).ok()?;
    ensure!(port.look()? == before, "before: {before}\nafter: {}", port.look()?);
    container.remove()
}

/// Its hooks have no poststop.
fn missed(world: &World) -> Result<()> {
    let port = Port::new(world)?;
    let before = port.look()?;
    let spec = world.hook_spec()?;
    let mut document: Value = serde_json::from_slice(&fs::read(&spec)?)?;
    document.as_object_mut().context("an object")?.remove("poststop");
    fs::write(&spec, document.to_string())?;
    let spec = spec.to_string_lossy();
    let container = world.run(
        &["--name", "web", "--hook-spec", &spec],
        &world.busybox()?,
        &["sleep", "86400"],
    )?;
    world
        .tools(["add-nic", "web", "--type", "eth", "--name", "p0:e1", "--ip", "10.6.0.2/24"])
        .ok()?;
    container.isula("kill", ["-s", "KILL"]).ok()?;
    world.until("it ends", Duration::from_secs(20), || {
        Ok((container.status()? != "running").then_some(()))
    })?;
    ensure!(!has_link(world, "p0")?, "nobody has brought it back yet");
    container.isula("start", [""; 0]).ok()?;
    ensure!(ip_in(world, &container, "link")?.contains("e1"), "it is there again");
    let pins = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let pins = pins.lines().filter(|line| line.contains("/links/")).count();
    ensure!(pins == 1, "{pins} namespaces are kept");
    world.tools(["recover"]).ok()?.expect_stdout("")?;
    let id = container.id().to_owned();
    container.remove()?;
    world
        .tools(["recover"])
        .ok()?
        .expect_stdout(&format!("Return the links of container({id}) that is gone done.\n"))?;
    ensure!(port.look()? == before, "before: {before}\nafter: {}", port.look()?);
    Ok(())
}

fn needed(world: &World) -> Result<()> {
    let port = Port::new(world)?;
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    let give = |name: &str, container: &str| {
        let name = format!("{name}:e1");
        world.tools(["add-nic", container, "--type", "eth", "--name", &name, "--ip", "10.6.0.2/24"])
    };
    give("lo", "web").code(4)?.expect_stderr("is the loopback link")?;
    give("br0", "web").code(4)?.expect_stderr("is a bridge")?;
    ip(world, "link set u1 master br0")?;
    give("u1", "web").code(4)?.expect_stderr("is a port of a bridge or bond")?;
    ip(world, "link set u1 nomaster")?;
    ip(world, "route add default via 10.5.0.1")?;
    let before = port.look()?;
    give("p0", "web").code(4)?.expect_stderr("carries the host's default route")?;
    give("p0", "web").arg("--force").ok()?;
    let other = world.sleeper(&["--name", "other"])?;
    give("p0", "other").code(4)?.expect_stderr("is recorded for container")?;
    world.tools(["remove-nic", "web", "--name", "e1"]).ok()?;
    ensure!(port.look()? == before, "before: {before}\nafter: {}", port.look()?);
    other.remove()?;
    container.remove()?;
    let sharing =
        world.run(&["--name", "web", "--net", "host"], &world.busybox()?, &["sleep", "86400"])?;
    give("u1", "web").code(8)?.expect_stderr("shares the host's network")?;
    ensure!(has_link(world, "u1")?, "it stays");
    sharing.remove()
}

fn offloads(world: &World) -> Result<()> {
    let _port = Port::new(world)?;
    let look = || -> Result<String> {
        let features = world.tool("ethtool").args(["-k", "u1"]).ok()?.stdout;
        Ok(features
            .lines()
            .filter(|line| line.contains("offload: "))
            .collect::<Vec<_>>()
            .join("\n"))
    };
    world.tool("ethtool").args(["-K", "u1", "gso", "off"]).ok()?;
    let before = look()?;
    ensure!(before.contains("generic-segmentation-offload: off"), "{before}");
    let container = world.sleeper(&["--name", "web"])?;
    world
        .tools(["add-nic", "web", "--type", "eth", "--name", "u1:e1", "--ip", "10.6.0.2/24"])
        .ok()?;
    let pid = container.pid()?.to_string();
    let inside = ["-n", "-t", &pid, "ethtool", "-K", "e1", "gso", "on", "gro", "off"];
    world.tool("nsenter").args(inside).ok()?;
    world.tools(["remove-nic", "web", "--name", "e1"]).ok()?;
    ensure!(look()? == before, "before: {before}\nafter: {}", look()?);
    container.remove()
}
