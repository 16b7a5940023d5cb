//! config-linux.md, "Network Devices" (1.3).

use anyhow::{Result, ensure};
use serde_json::json;
use tests::World;

use super::{Row, Runtime, bundle, by, drop_namespace, refused};

pub(super) fn rows() -> Vec<Row> {
    let peers = "they are older than version 1.3 of the specification";
    vec![
        by("linux/43", "netDevices: MUST be the container's, with what it had, and come up", given)
            .not_the_peers(peers),
        by("linux/44", "netDevices: one that cannot be given MUST be an error", not_given)
            .not_the_peers(peers),
        refused(
            "linux/45",
            "netDevices: a container in the host's network MUST be an error",
            &[("linux.netDevices", |c| {
                drop_namespace(c, "network");
                c["linux"]["netDevices"] = json!({ "lo": {} });
            })],
        )
        .not_the_peers(peers),
    ]
}

const ADDRESS: &str = "02:00:00:00:5e:01";

/// Two links of the host, up and with addresses.
fn make(world: &World) -> Result<()> {
    for words in [
        &format!("link add nd0 address {ADDRESS} mtu 1400 type veth peer name nd1")[..],
        "address add 192.0.2.7/24 dev nd0",
        "address add 2001:db8::7/64 dev nd0 nodad",
        "link set nd0 up",
        "link set nd1 up",
    ] {
        world.tool("ip").args(words.split(' ')).ok()?;
    }
    Ok(())
}

fn given(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    make(world)?;
    let script = "ip link show dev eth5 | awk '{ print $2, $3, $5 }'; ip link show dev net0 | \
                  awk '/mtu/ { print $2, $5 }'; ip -o addr show dev eth5 scope global | \
                  awk '{ print $4 }'; ping -c 1 192.0.2.7 > /dev/null && echo answers";
    let dir = bundle(world, &["sh", "-c", script], |c| {
        c["linux"]["netDevices"] = json!({ "nd0": { "name": "eth5" }, "nd1": { "name": "net%d" } });
        c["process"]["capabilities"]["bounding"] = json!(["CAP_NET_RAW"]);
        c["process"]["capabilities"]["permitted"] = json!(["CAP_NET_RAW"]);
        c["process"]["capabilities"]["effective"] = json!(["CAP_NET_RAW"]);
    })?;
    let output = runtime.run(world, &dir)?;
    let up = "<BROADCAST,MULTICAST,UP,LOWER_UP>";
    let wanted = format!(
        "eth5@net0: {up} 1400\n{ADDRESS} brd \nnet0@eth5: 1500\n192.0.2.7/24\n2001:db8::7/64\nanswers\n"
    );
    ensure!(output.stdout == wanted, "{output}");
    // A pair is of software, and gone with the container's network.
    ensure!(world.tool("ip").args(["link", "show", "nd0"]).output()?.code() != 0);
    Ok(())
}

/// And all that was given by then comes back as it was.
fn not_given(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    make(world)?;
    let before = world.tool("ip").args(["-o", "addr", "show", "dev", "nd0"]).ok()?.stdout;
    for (text, devices, hook) in [
        ("look up link nd9", json!({ "nd0": {}, "nd9": {} }), false),
        (
            "the container has a link of that name",
            json!({ "nd0": {}, "nd1": { "name": "lo" } }),
            false,
        ),
        (
            "it belongs to its network namespace",
            json!({ "nd0": {}, "lo": { "name": "lo9" } }),
            false,
        ),
        ("createRuntime hook", json!({ "nd0": { "name": "eth0" } }), true),
    ] {
        let dir = bundle(world, &["true"], |c| {
            c["linux"]["netDevices"] = devices;
            if hook {
                c["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] });
            }
        })?;
        runtime.refuses(world, &dir, text)?;
        let after = world.tool("ip").args(["-o", "addr", "show", "dev", "nd0"]).ok()?.stdout;
        let plain = |text: &str| -> Vec<String> {
            // Its number is another one now.
            let line = |line: &str| Some(line.split_once(": ")?.1.replace(" tentative", ""));
            text.lines().filter_map(line).filter(|line| !line.contains("scope link")).collect()
        };
        ensure!(plain(&before) == plain(&after), "{before}is now\n{after}");
    }
    world.tool("ip").args(["link", "del", "nd0"]).ok()?;
    Ok(())
}
