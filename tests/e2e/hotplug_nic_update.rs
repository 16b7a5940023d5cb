//! Links of running containers changed, and there again after a start.

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, story};

use crate::links::{Bridge, Port, add_pair, has_link, ip, ip_in, json, ping};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story(
            "hotplug_nic_update::an_update_fails_with_nothing_changed",
            &[ROOT, BUSYBOX],
            update_fails,
        ),
        story("hotplug_nic_update::an_update_changes_what_is_named", &[ROOT, BUSYBOX], update),
        story("hotplug_nic_update::a_restart", &[ROOT, BUSYBOX], restart),
    ]
}

fn update_fails(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    world.tools(add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24"])).ok()?;
    world.tools(add_pair(&["--name", "h2:e2", "--ip", "192.168.4.4/24"])).ok()?;
    let record = world.tools(["list-nic", "web"]).ok()?.stdout;
    for (options, reason) in [
        (["--bridge", "br9"], "there is no bridge br9"),
        (["--bridge", "h2"], "h2 is no bridge but a veth"),
        (["--ip", "192.168.4.4/16"], "interface ip conflict: 192.168.4.4/16"),
        (["--mtu", "10"], "Mtu must not be less than 68"),
        (["--ip", "garbage"], "invalid CIDR address: garbage"),
        (["--name", "e9"], "exist in container web"),
    ] {
        let name = if options[0] == "--name" { vec![] } else { vec!["--name", "e1"] };
        let refused = world
            .tools([&["update-nic", "web", "--qlen", "9"], &*name, &options].concat())
            .output()?;
        ensure!(refused.code() != 0 && refused.stdout.is_empty(), "{refused}");
        refused.expect_stderr(reason)?;
        ping(&container, "192.168.3.1")?;
    }
    ensure!(world.tools(["list-nic", "web"]).ok()?.stdout == record, "the record is as it was");
    world
        .tools(["update-nic", "web", "--mtu", "1400"])
        .code(2)?
        .expect_stderr("Network interface name in container must be provided")?;
    container.remove()
}

fn update(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let _other = Bridge::new(world, "br1", "192.168.5.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    world.tools(add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24"])).ok()?;
    world.tools(["add-route", "web", r#"[{"dest":"10.9.0.0/16","dev":"e1"}]"#]).ok()?;
    world
        .tools([
            "update-nic",
            "web",
            "--name",
            "e1",
            "--ip",
            "192.168.3.5/24",
            "--mtu",
            "1300",
            "--qlen",
            "9",
            "--mac",
            "02:00:00:00:00:11",
        ])
        .ok()?
        .expect_stdout(
            "Update IP address for network interface (e1,192.168.3.5/24) done\n\
             Update MAC address for network interface (e1,02:00:00:00:00:11) done\n\
             Update Mtu for network interface (e1,1300) done\n\
             Update Qlen for network interface (e1,9)\n",
        )?;
    ping(&container, "192.168.3.1")?;
    let seen = ip_in(world, &container, "-o address show dev e1")?;
    ensure!(seen.contains("192.168.3.5/24") && !seen.contains("192.168.3.4"), "{seen}");
    let host = json(&ip(world, "-j link show dev h1")?)?;
    ensure!(host["mtu"] == 1300 && host["txqlen"] == 9, "{host}");
    ensure!(ip_in(world, &container, "route")?.contains("10.9.0.0/16"), "the route is still there");
    world
        .tools(["update-nic", "web", "--name", "e1", "--ip", "192.168.5.5/24", "--bridge", "br1"])
        .ok()?
        .expect_stdout(
            "Update IP address for network interface (e1,192.168.5.5/24) done\n\
             Update Bridge for network interface (e1,br1) done\n",
        )?;
    ping(&container, "192.168.5.1")?;
    container.remove()
}

fn restart(world: &World) -> Result<()> {
    let port = Port::new(world)?;
    let before = port.look()?;
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let container = world.run(
        &["--name", "web", "--hook-spec", &spec],
        &world.busybox()?,
        &["sleep", "86400"],
    )?;
    world
        .tools(add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24", "--gateway", "192.168.3.1"]))
        .ok()?
        .expect_stdout(
            "Add network interface (h1) to container (web,e1) done\n\
             Add route to container web, route: {dest:default,src:,gw:192.168.3.1,dev:e1} done\n",
        )?;
    world
        .tools(["add-nic", "web", "--type", "eth", "--name", "p0:e2", "--ip", "10.6.0.2/24"])
        .ok()?;
    world.tools(["add-route", "web", r#"[{"dest":"10.9.0.0/16","gw":"10.6.0.1"}]"#]).ok()?;
    let look = || -> Result<String> {
        let mut text = String::new();
        for name in ["e1", "e2"] {
            let link = json(&ip_in(world, &container, &format!("-j link show dev {name}"))?)?;
            text += &format!("{} {} {}\n", link["address"], link["mtu"], link["txqlen"]);
        }
        Ok(text + &ip_in(world, &container, "route")?)
    };
    let inside = look()?;
    for _ in 0..2 {
        container.isula("restart", ["-t", "0"]).ok()?;
        ping(&container, "192.168.3.1")?;
        ensure!(look()? == inside, "before: {inside}\nafter: {}", look()?);
    }
    container.isula("stop", ["-t", "0"]).ok()?;
    ensure!(!has_link(world, "h1")?, "the pair is gone");
    ensure!(port.look()? == before, "before: {before}\nafter: {}", port.look()?);
    container.isula("start", [""; 0]).ok()?;
    ensure!(look()? == inside, "before: {inside}\nafter: {}", look()?);
    world.tools(["remove-nic", "web", "--name", "e1"]).ok()?.expect_stdout(
        "Remove network interface (h1) from container (web,e1) done\n\
         Remove route from container web, route: {dest:default,src:,gw:192.168.3.1,dev:e1} done\n",
    )?;
    container.remove()?;
    ensure!(port.look()? == before, "before: {before}\nafter: {}", port.look()?);
    Ok(())
}
