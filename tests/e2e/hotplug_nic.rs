//! Network links into running containers, and back.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::need::{BUSYBOX, ROOT, USER_NS};
use tests::{Container, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_nic::a_pair_comes_and_goes", &[ROOT, BUSYBOX], pair),
        story("hotplug_nic::no_other_name_is_ever_seen", &[ROOT, BUSYBOX], monitored),
        story("hotplug_nic::with_root_mapped", &[ROOT, BUSYBOX, USER_NS], mapped),
        story("hotplug_nic::a_link_of_the_host_returns_as_it_was", &[ROOT, BUSYBOX], given),
        story("hotplug_nic::whatever_the_guest_does_to_it", &[ROOT, BUSYBOX], renamed),
        story("hotplug_nic::a_missed_end", &[ROOT, BUSYBOX], missed),
        story("hotplug_nic::an_update_fails_with_nothing_changed", &[ROOT, BUSYBOX], update_fails),
        story("hotplug_nic::an_update_changes_what_is_named", &[ROOT, BUSYBOX], update),
        story("hotplug_nic::what_is_refused", &[ROOT, BUSYBOX], refused),
        story("hotplug_nic::what_the_host_needs_stays", &[ROOT, BUSYBOX], needed),
        story("hotplug_nic::a_restart", &[ROOT, BUSYBOX], restart),
        story("hotplug_nic::a_macvlan", &[ROOT, BUSYBOX], macvlan),
        story("hotplug_nic::a_filtered_list", &[ROOT, BUSYBOX], list),
        story("hotplug_nic::drift_is_seen_and_mended", &[ROOT, BUSYBOX], drift),
    ]
}

/// ip(8) on the host of the story.
pub(crate) fn ip(world: &World, arguments: &str) -> Result<String> {
    Ok(world.tool("ip").args(arguments.split(' ')).ok()?.stdout)
}

/// ip(8) of the host's, looking at the container's network.
pub(crate) fn ip_in(world: &World, container: &Container<'_>, arguments: &str) -> Result<String> {
    let pid = container.pid()?.to_string();
    let call = world.tool("nsenter").args(["-n", "-t", &pid, "ip"]).args(arguments.split(' '));
    Ok(call.ok()?.stdout)
}

fn json(text: &str) -> Result<Value> {
    let mut list: Vec<Value> = serde_json::from_str(text).with_context(|| format!("{text:?}"))?;
    // Links that are not asked for are empty objects in some versions of ip(8).
    list.retain(|link| link.get("ifname").is_some());
    ensure!(list.len() == 1, "{text}");
    Ok(list.remove(0))
}

pub(crate) fn has_link(world: &World, name: &str) -> Result<bool> {
    Ok(world.tool("ip").args(["link", "show", name]).output()?.code() == 0)
}

/// A bridge with an address, which goes with the story.
pub(crate) struct Bridge<'w>(&'w World, &'static str);

impl<'w> Bridge<'w> {
    pub(crate) fn new(world: &'w World, name: &'static str, address: &str) -> Result<Self> {
        ip(world, &format!("link add {name} type bridge"))?;
        ip(world, &format!("address add {address} dev {name}"))?;
        ip(world, &format!("link set {name} up"))?;
        Ok(Self(world, name))
    }
}

impl Drop for Bridge<'_> {
    fn drop(&mut self) {
        // Pairs end when the kernel gets round to the network of a container that has ended.
        let _ = self.0.until("its ports are gone", Duration::from_secs(10), || {
            let ports = self.0.tool("ip").args(["-o", "link", "show", "master", self.1]);
            Ok(ports.ok()?.stdout.is_empty().then_some(()))
        });
        let _ = self.0.tool("ip").args(["link", "del", self.1]).output();
    }
}

/// What stands for hardware: a link with everything that a link can have.
pub(crate) struct Port<'w>(&'w World);

impl<'w> Port<'w> {
    pub(crate) fn new(world: &'w World) -> Result<Self> {
        ip(world, "link add u0 type veth peer name u1")?;
        ip(world, "link set u0 up")?;
        ip(world, "link set u1 up")?;
        ip(world, "link add link u0 name p0 address 02:00:00:00:00:07 mtu 1480 type macvlan")?;
        ip(world, "link set p0 txqueuelen 77")?;
        ip(world, "link property add dev p0 altname the-port-on-the-left")?;
        ip(world, "address add 10.5.0.2/24 dev p0")?;
        ip(world, "address add 2001:db8:5::2/64 dev p0 nodad")?;
        ip(world, "link set p0 up")?;
        ip(world, "route add 10.77.0.0/16 via 10.5.0.1 metric 5")?;
        Ok(Self(world))
    }

    /// All of it, without what counts.
    pub(crate) fn look(&self) -> Result<String> {
        let mut link = json(&ip(self.0, "-j -d address show dev p0")?)?;
        let members = link.as_object_mut().context("an object")?;
        for counter in ["ifindex", "flags", "operstate"] {
            members.remove(counter);
        }
        let up = members.get("addr_info").and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(up >= 2, "its addresses are there: {link}");
        let mut addresses: Vec<String> = link["addr_info"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|address| address["scope"] != "link")
            .map(|address| format!("{}/{}", address["local"], address["prefixlen"]))
            .collect();
        addresses.sort();
        let routes =
            ip(self.0, "route show dev p0")?.replace(" linkdown", "").replace(" proto static", "");
        let state = ip(self.0, "-o link show p0")?.contains(",UP");
        Ok(format!(
            "{} {} {} {} {addresses:?} {state}\n{routes}",
            link["address"], link["mtu"], link["txqlen"], link["altnames"]
        ))
    }
}

impl Drop for Port<'_> {
    fn drop(&mut self) {
        for name in ["p0", "u0"] {
            let _ = self.0.tool("ip").args(["link", "del", name]).output();
        }
    }
}

fn add_pair<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let all = ["add-nic", "web", "--type", "veth", "--bridge", "br0"];
    [&all, options].concat()
}

fn ping(container: &Container<'_>, address: &str) -> Result<()> {
    container.exec(["ping", "-c", "1", "-w", "10", address]).ok().map(drop)
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
    let container = world.run(&options, &world.busybox()?, &["sleep", "86400"])?;
    world.tools(add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24"])).ok()?;
    let seen = ip_in(world, &container, "-o address show dev e1")?;
    ensure!(seen.contains("192.168.3.4/24"), "{seen}");
    world.tools(["remove-nic", "web", "--name", "e1"]).ok()?;
    ensure!(!has_link(world, "h1")?, "the pair is gone");
    container.remove()
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

fn macvlan(world: &World) -> Result<()> {
    let _port = Port::new(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    for (name, address) in [("p0:m1", "10.5.0.11/24"), ("p0:m2", "10.5.0.12/24")] {
        world
            .tools(["add-nic", "web", "--type", "macvlan", "--name", name, "--ip", address])
            .args(["--mtu", "1480"])
            .ok()?;
    }
    let seen = ip_in(world, &container, "-d -o link show dev m1")?;
    ensure!(seen.contains("macvlan mode bridge"), "{seen}");
    ping(&container, "10.5.0.12")?;
    world.tools(["remove-nic", "web", "--name", "p0:m1"]).ok()?;
    let left = ip_in(world, &container, "-o link")?;
    ensure!(!left.contains("m1") && left.contains("m2"), "{left}");
    ensure!(has_link(world, "p0")?, "the link below stays");
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
