//! Network links into running containers.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::need::{BUSYBOX, ROOT, USER_NS};
use tests::{Story, World, story};

use crate::links::{Bridge, Port, add_pair, has_link, ip, ip_in, json, ping};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_nic::a_pair_comes_and_goes", &[ROOT, BUSYBOX], pair),
        story("hotplug_nic::no_other_name_is_ever_seen", &[ROOT, BUSYBOX], monitored),
        story("hotplug_nic::with_root_mapped", &[ROOT, BUSYBOX, USER_NS], mapped),
        story("hotplug_nic::what_is_refused", &[ROOT, BUSYBOX], refused),
        story("hotplug_nic::a_filtered_list", &[ROOT, BUSYBOX], list),
        story("hotplug_nic::drift_is_seen_and_mended", &[ROOT, BUSYBOX], drift),
    ]
}

fn pair(world: &World) -> Result<()> {
    let bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    let mac = "fa:16:3e:00:aa:0b";
    let options = add_pair(&[
        "--name",
        "h1:e1",
        "--ip",
        "192.168.3.4/24",
        "--ip",
        "2001:db8::4/64",
        "--mac",
        mac,
        "--mtu",
        "1400",
        "--qlen",
        "500",
    ]);
    world
        .tools(options)
        .ok()?
        .expect_stdout("Add network interface (h1) to container (web,e1) done\n")?;
    let host = json(&ip(world, "-j link show dev h1")?)?;
    ensure!(host["mtu"] == 1400 && host["master"] == "br0", "{host}");
    let inside = json(&ip_in(world, &container, "-j address show dev e1")?)?;
    ensure!(inside["mtu"] == 1400 && inside["txqlen"] == 500 && inside["address"] == mac);
    let addresses = inside["addr_info"].to_string();
    ensure!(addresses.contains("192.168.3.4") && addresses.contains("2001:db8::4"), "{addresses}");
    ping(&container, "192.168.3.1")?;
    world.tools(["list-nic", "web"]).ok()?.expect_stdout(
        "[{\"Ip\":\"192.168.3.4/24\",\"Mac\":\"fa:16:3e:00:aa:0b\",\"Mtu\":1400,\"Qlen\":500,\
         \"Type\":\"veth\",\"Bridge\":\"br0\",\"HostNicName\":\"h1\",\"CtrNicName\":\"e1\",\
         \"addresses\":[\"2001:db8::4/64\"]}]\n"
            .replace("\"addresses\"", "\"Addresses\"")
            .as_str(),
    )?;
    world
        .tools(["remove-nic", "web", "--type", "veth", "--name", "h1:e1"])
        .ok()?
        .expect_stdout("Remove network interface (h1) from container (web,e1) done\n")?;
    ensure!(!has_link(world, "h1")?, "the pair is gone");
    ensure!(!ip_in(world, &container, "link")?.contains("e1"), "inside, too");
    // Without a host's name one is made of the container's.
    let made = world.tools(add_pair(&["--name", "eth0", "--ip", "192.168.3.5/24"])).ok()?;
    let name = made.stdout.split(['(', ')']).nth(1).unwrap_or_default().to_owned();
    ensure!(name.starts_with("eth0_") && name.len() == 10 && has_link(world, &name)?, "{made}");
    container.remove()?;
    world.until("the pair ends with its container", Duration::from_secs(10), || {
        Ok((!has_link(world, &name)?).then_some(()))
    })?;
    drop(bridge);
    Ok(())
}

/// Every message of the kernel's about a link, from before the command to after it.
fn monitored(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let _port = Port::new(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    let log = world.path("monitor");
    let script = "ip link add marker type bridge; ip -o monitor link >$0 2>&1 & \
        until grep -q marker $0; do ip link set marker up; ip link set marker down; done; \
        \"$@\"; code=$?; ip link del marker; \
        until grep -q 'Deleted.* marker' $0; do :; done; kill -9 $!; exit $code";
    for (options, expected) in [
        (add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24"]), ["marker", "h1", "br0"]),
        (vec!["remove-nic", "web", "--name", "h1:e1"], ["marker", "h1", "br0"]),
        (
            vec!["add-nic", "web", "--type", "eth", "--name", "p0:e2", "--ip", "10.5.0.9/24"],
            ["marker", "p0", "u0"],
        ),
        // Moving and renaming are one step to whoever looks, and two messages of the kernel's.
        (vec!["remove-nic", "web", "--name", "p0:e2"], ["e2", "p0", "u0"]),
    ] {
        let call = world.tools(&options);
        world.tool("sh").args(["-c", script]).arg(&log).args(call.argv()).ok()?;
        for line in fs::read_to_string(&log)?.lines() {
            let line = line.trim_start_matches("Deleted ");
            let name = line.split(": ").nth(1).unwrap_or_default();
            let name = name.split('@').next().unwrap_or_default();
            ensure!(
                // A bridge says a moment later that it has lost its last port.
                expected.contains(&name) || ["u1", "br0", "marker"].contains(&name),
                "{options:?}: {line}"
            );
        }
    }
    container.remove()
}

fn mapped(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let options = ["--system-container", "--name", "web", "--user-remap", "100000:100000:65536"];
    let container = world.run(&options, &world.on_ext4(&world.busybox()?)?, &["sleep", "86400"])?;
    world.tools(add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24"])).ok()?;
    let seen = ip_in(world, &container, "-o address show dev e1")?;
    ensure!(seen.contains("192.168.3.4/24"), "{seen}");
    world.tools(["remove-nic", "web", "--name", "e1"]).ok()?;
    ensure!(!has_link(world, "h1")?, "the pair is gone");
    container.remove()
}

fn refused(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    let common = ["add-nic", "web", "--ip", "192.168.3.4/24"];
    let check = |options: &[&str], code, reason: &str| -> Result<()> {
        world.tools([&common, options].concat()).code(code)?.expect_stderr(reason).map(drop)
    };
    let veth = ["--type", "veth", "--bridge", "br0", "--name"];
    check(&["--name", "e1"], 2, "invalid network option: unsupported type")?;
    check(&["--type", "tap", "--name", "e1"], 2, "unsupported type tap")?;
    check(&["--type", "veth"], 2, "failed to get container nic name")?;
    check(&["--type", "veth", "--name", "e1"], 2, "bridge must be specified")?;
    check(&["--type", "eth", "--name", "e1"], 2, "host nic name input error")?;
    check(&[&veth[..], &["0123456789abcdef"]].concat(), 2, "longer than 15 bytes")?;
    check(&[&veth[..], &["e1", "--mac", "01:00:5e:00:00:01"]].concat(), 2, "multicast")?;
    check(&[&veth[..], &["e1", "--gateway", "10.0.0.1"]].concat(), 2, "in no network of an --ip")?;
    check(&[&veth[..], &["br0:e1"]].concat(), 4, "Host has nic with name br0, please choose")?;
    check(&["--type", "veth", "--bridge", "br9", "--name", "e1"], 4, "there is no bridge br9")?;
    check(&["--type", "eth", "--name", "p9:e1"], 4, "HostNic(p9) not found, please check")?;
    check(&[&veth[..], &["h1:lo"]].concat(), 4, "choose another name")?;
    ensure!(!has_link(world, "h1")?, "nothing is left of it");
    container.isula("stop", ["-t", "0"]).ok()?;
    check(&[&veth[..], &["e1", "--mtu", "10"]].concat(), 2, "Mtu must not be less than 68")?;
    world.tools(["list-nic", "web"]).ok()?.expect_stdout("[]\n")?;
    world
        .tools(["remove-nic", "web", "--name", "h1:e1"])
        .code(4)?
        .expect_stderr("Network interface h1,e1 with type  not exist in container web")?;
    container.remove()
}

fn list(world: &World) -> Result<()> {
    let container = world.create(&["--name", "web"], &world.busybox()?, &["true"])?;
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    world.tools(add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24"])).ok()?;
    world.tools(add_pair(&["--name", "h2:e2", "--ip", "192.168.3.5/24", "--mtu", "1400"])).ok()?;
    ensure!(!has_link(world, "h1")?, "it waits for its start");
    let count = |filter: &str| -> Result<usize> {
        let listed = world.tools(["list-nic", "web", "-f", filter]).ok()?;
        Ok(serde_json::from_str::<Vec<Value>>(&listed.stdout)?.len())
    };
    ensure!(count(r#"{"ip":"192.168.3.4/24","Mtu":1500}"#)? == 1);
    ensure!(count(r#"{"ip":"","mtu":1400}"#)? == 1 && count("{}")? == 2);
    ensure!(count(r#"{"mtu":9}"#)? == 0);
    world.tools(["list-nic", "web", "-f", "["]).code(2)?.expect_stderr("failed to parse filter")?;
    let pretty = world.tools(["list-nic", "-p", "web"]).ok()?;
    ensure!(pretty.stdout.contains("\t\t\"Ip\": \"192.168.3.4/24\""), "{pretty}");
    container.remove()
}

fn drift(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    world.tools(add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24"])).ok()?;
    world.tools(["add-route", "web", r#"[{"dest":"10.9.0.0/16","dev":"e1"}]"#]).ok()?;
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    ip_in(world, &container, "link set e1 down")?;
    ip_in(world, &container, "address flush dev e1")?;
    world.tools(["diff", "web"]).code(1)?.expect_stdout(
        "nic h1:e1: is down, has no address 192.168.3.4/24\n\
         route {dest:10.9.0.0/16,src:,gw:,dev:e1}: is not there\n",
    )?;
    world.tools(["reconcile", "web"]).ok()?;
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    ping(&container, "192.168.3.1")?;
    container.remove()
}
