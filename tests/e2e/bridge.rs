//! `--net bridge`: addresses, routes and links, and what is left of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::need::{BUSYBOX, ROOT, USER_NS};
use tests::{Container, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("bridge::one_of_its_own", NEEDS, own),
        story("bridge::one_that_is_there", NEEDS, named),
        story("bridge::with_root_mapped", &[ROOT, BUSYBOX, USER_NS], mapped),
        story("bridge::whose_shim_was_killed", NEEDS, killed),
        story("bridge::where_the_last_runs_link_still_is", NEEDS, stale),
        story("bridge::one_whose_maker_was_killed", NEEDS, half_made),
        story("bridge::what_is_refused", NEEDS, refused),
    ]
}

fn sleeper<'w>(world: &'w World, options: &[&str]) -> Result<Container<'w>> {
    world.sleeper(&[&["--net", "bridge"], options].concat())
}

fn address(container: &Container<'_>) -> Result<String> {
    let address = container.value("/NetworkSettings/IPAddress")?;
    Ok(address.as_str().context("an address")?.to_owned())
}

fn links(world: &World) -> Result<Vec<String>> {
    let links: Value = serde_json::from_str(&world.tool("ip").args(["-j", "link"]).ok()?.stdout)?;
    let name = |link: &Value| link["ifname"].as_str().map(str::to_owned);
    Ok(links.as_array().context("a list")?.iter().filter_map(name).collect())
}

fn no_links(world: &World) -> Result<()> {
    let links = links(world)?;
    ensure!(links == ["lo"], "{links:?}");
    Ok(())
}

fn own(world: &World) -> Result<()> {
    let one = sleeper(world, &["--name", "one", "-h", "first"])?;
    let two = sleeper(world, &["--name", "two"])?;
    let (of_one, of_two) = (address(&one)?, address(&two)?);
    ensure!(of_one != of_two && of_one.starts_with("10.98."), "{of_one} {of_two}");
    one.exec(["ping", "-c1", "-W5", &of_two]).ok()?;
    let gateway = one.value("/NetworkSettings/Gateway")?;
    let gateway = gateway.as_str().context("a gateway")?.to_owned();
    one.exec(["ping", "-c1", "-W5", &gateway]).ok()?;
    world.tool("busybox").args(["ping", "-c1", "-W5", &of_one]).ok()?;
    let route = one.exec(["ip", "route"]).ok()?;
    ensure!(route.stdout.contains(&format!("default via {gateway} dev eth0")), "{route}");
    let hosts = one.exec(["cat", "/etc/hosts"]).ok()?;
    ensure!(hosts.stdout.contains(&format!("{of_one}\tfirst\n")), "{hosts}");
    ensure!(one.value("/HostConfig/NetworkMode")? == "bridge=isula0");
    ensure!(links(world)?.len() == 4, "lo, the bridge and two ends: {:?}", links(world)?);
    // The address stays with it while it restarts, and is free once it is down.
    one.isula("restart", ["-t", "0"]).ok()?;
    ensure!(address(&one)? == of_one, "{} is not {of_one}", address(&one)?);
    one.exec(["ping", "-c1", "-W5", &of_two]).ok()?;
    one.isula("stop", ["-t", "0"]).ok()?;
    ensure!(one.value("/NetworkSettings")? == serde_json::json!({}), "it has nothing any more");
    ensure!(links(world)?.len() == 3, "{:?}", links(world)?);
    let options = ["--net", "bridge", "--rm", "--ip", &of_one];
    let said = world.isula_with("run", &options, &world.busybox()?, &["ip", "addr"]).ok()?;
    ensure!(said.stdout.contains(&format!("inet {of_one}/24")), "{said}");
    two.remove()?;
    one.remove()?;
    no_links(world)
}

/// Our own, without what a shim would have given it next.
fn half_made(world: &World) -> Result<()> {
    let make = "ip link add isula0 type bridge";
    for rest in ["", "; ip address add 10.98.7.1/24 dev isula0"] {
        world.tool("sh").args(["-ec", &format!("{make}{rest}")]).ok()?;
        let one = sleeper(world, &["--name", "one"])?;
        let gateway = one.value("/NetworkSettings/Gateway")?;
        let gateway = gateway.as_str().context("a gateway")?.to_owned();
        ensure!(rest.is_empty() || gateway == "10.98.7.1", "{gateway}");
        one.exec(["ping", "-c1", "-W5", &gateway]).ok()?;
        one.remove()?;
        no_links(world)?;
    }
    Ok(())
}

fn named(world: &World) -> Result<()> {
    let ip = |words: &str| world.tool("ip").args(words.split(' ')).ok();
    ip("link add br7 type bridge")?;
    ip("address add 192.168.77.1/29 dev br7")?;
    ip("link set br7 up mtu 1400")?;
    let rootfs = world.busybox()?;
    let run = |options: &[&str], command: &[&str]| {
        world.isula_with(
            "run",
            &[&["--net", "bridge=br7", "--rm"], options].concat(),
            &rootfs,
            command,
        )
    };
    let mac = "02:00:00:00:00:07";
    let options = ["--ip", "192.168.77.5", "--mac-address", mac];
    let said = run(&options, &["ip", "addr", "show", "eth0"]).ok()?;
    for text in ["inet 192.168.77.5/29 brd 192.168.77.7", mac, "mtu 1400", "LOWER_UP"] {
        ensure!(said.stdout.contains(text), "{text} is not in {said}");
    }
    run(&["--ip", "192.168.77.7"], &["true"]).code(125)?.expect_stderr(
        "isula: run: --ip 192.168.77.7: bridge br7 gives addresses of 192.168.77.0/29, its own \
         192.168.77.1 excepted",
    )?;
    // Five containers fit, the sixth does not.
    let options = ["--net", "bridge=br7"];
    let fill: Vec<Container<'_>> =
        (0..5).map(|_| world.sleeper(&options)).collect::<Result<_>>()?;
    let taken = address(&fill[2])?;
    run(&[], &["true"]).code(125)?.expect_stderr("bridge br7: every address is taken")?;
    let id = fill[2].id()[..12].to_owned();
    run(&["--ip", &taken], &["true"])
        .code(125)?
        .expect_stderr(&format!("isula: run: --ip {taken}: container {id} has it"))?;
    for container in fill {
        container.remove()?;
    }
    ensure!(links(world)? == ["lo", "br7"], "a bridge of others stays: {:?}", links(world)?);
    ip("link delete br7")?;
    Ok(())
}

fn mapped(world: &World) -> Result<()> {
    let rootfs = world.on_ext4(&world.busybox()?)?;
    let options = ["--system-container", "--user-remap", "100000:100000:65536"];
    let options = [&options[..], &["--net", "bridge"]].concat();
    let container = world.run(&options, &rootfs, &["sleep", "86400"])?;
    let gateway = container.value("/NetworkSettings/Gateway")?;
    container.exec(["ping", "-c1", "-W5", gateway.as_str().context("a gateway")?]).ok()?;
    container.remove()?;
    no_links(world)
}

fn killed(world: &World) -> Result<()> {
    let container = sleeper(world, &[])?;
    let mut shims = tests::processes::of(world.name()).into_iter();
    let shim = shims.find(|it| it.argv.iter().any(|word| word.contains("isula-shim")));
    let pid = shim.context("a shim")?.pid.to_string();
    world.tool("kill").args(["-9", &pid]).ok()?;
    let had = address(&container)?;
    // It lives on, and so does its address.
    let other = sleeper(world, &[])?;
    ensure!(address(&other)? != had);
    other.remove()?;
    container.remove()?;
    world.until("its links are gone", Duration::from_secs(5), || {
        Ok((links(world)? == ["lo"]).then_some(()))
    })
}

/// The kernel removes a network namespace, and its links, some time after its last process.
fn stale(world: &World) -> Result<()> {
    let container = world.create(&["--net", "bridge"], &world.busybox()?, &["sleep", "86400"])?;
    let link = format!("veth{}", &container.id()[..8]);
    world.tool("ip").args(["link", "add", &link, "type", "veth", "peer", "name", "last"]).ok()?;
    container.isula("start", [""; 0]).ok()?;
    let gateway = container.value("/NetworkSettings/Gateway")?;
    let gateway = gateway.as_str().context("a gateway")?;
    container.exec(["ping", "-c1", "-W5", gateway]).ok()?;
    container.remove()?;
    no_links(world)
}

fn refused(world: &World) -> Result<()> {
    let ip = |words: &str| world.tool("ip").args(words.split(' ')).ok();
    let rootfs = world.busybox()?;
    let told = |name: &str, text: &str| -> Result<()> {
        let net = format!("bridge={name}");
        let call = world.isula_with("run", &["--rm", "--net", &net], &rootfs, &["true"]);
        call.code(125)?.expect_stderr(&format!("isula: run: {text}\n"))?;
        Ok(())
    };
    told("br9", "--net bridge=br9: there is no bridge br9; make it: ip link add br9 type bridge")?;
    told("lo", "--net bridge=lo: lo is not a bridge")?;
    ip("link add br9 type bridge")?;
    told("br9", "bridge br9 has no IPv4 address; give it one: ip address add ADDRESS dev br9")?;
    ip("link delete br9")?;
    no_links(world)
}
