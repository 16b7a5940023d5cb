//! `--publish`: real connections to ports of the host, from it, from its containers and from another
//! machine (a network namespace beside it); what is refused; and what is left.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use linux::ns::{Kind, Namespace, in_net_ns};
use linux::process::Pid;
use serde_json::json;
use tests::need::{BUSYBOX, DEBIAN, NFT, ROOT};
use tests::{Container, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX, NFT];
    vec![
        story("publish::from_everywhere_and_again_after_a_stop", NEEDS, everywhere),
        story("publish::ports_that_are_found", NEEDS, found),
        story("publish::ports_that_are_taken", NEEDS, taken),
        story("publish::whose_shim_was_killed", NEEDS, killed),
        story("publish::the_hosts_loopback_stays_its_own", NEEDS, loopback),
        story("publish::what_the_host_has_to_have", NEEDS, lacking),
        story("publish::nothing_without_it_and_nothing_of_others", NEEDS, nothing),
        story("publish::of_a_guest_that_reboots", &[ROOT, DEBIAN, NFT], reboots),
    ]
}

/// Answers on 80/tcp with its name.
const SERVER: &str = "hostname > /tmp/index.html; exec httpd -f -p 80 -h /tmp";

/// A host with an address that others reach, which forwards.
fn host(world: &World) -> Result<()> {
    sh(world, "ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward")
}

fn sh(world: &World, script: &str) -> Result<()> {
    world.tool("sh").args(["-ec", script]).ok().map(drop)
}

fn server<'w>(world: &'w World, name: &str, options: &[&str]) -> Result<Container<'w>> {
    server_on(world, "bridge", name, options)
}

fn server_on<'w>(
    world: &'w World,
    net: &str,
    name: &str,
    options: &[&str],
) -> Result<Container<'w>> {
    let options = [&["--net", net, "--name", name, "-h", name], options].concat();
    let container = world.run(&options, &world.busybox()?, &["sh", "-c", SERVER])?;
    world.until("it serves", Duration::from_secs(10), || {
        Ok(inside(&container, || asked_by_tcp("127.0.0.1:80")).ok())
    })?;
    Ok(container)
}

/// What a connection is answered with.
fn asked_by_tcp(address: &str) -> Result<String> {
    let limit = Duration::from_secs(10);
    let connected = TcpStream::connect_timeout(&address.parse()?, limit);
    let mut stream = connected.with_context(|| format!("connect {address}"))?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}

/// Does something in the container's network.
fn inside<T: Send>(container: &Container<'_>, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let pid = i32::try_from(container.pid()?).ok().and_then(Pid::new).context("a pid")?;
    in_net_ns(Namespace::of_pid(pid, Kind::Net)?, || Ok(act()))?
}

fn udp_in(container: &Container<'_>, address: &str) -> Result<UdpSocket> {
    inside(container, || UdpSocket::bind(address).with_context(|| format!("bind {address}")))
}

/// Whether what `client` sends to `address` gets to `server`, and an answer back from there.
fn udp_reaches(client: &UdpSocket, address: &str, server: &UdpSocket) -> Result<()> {
    for socket in [client, server] {
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    let mut text = [0; 16];
    client.send_to(b"ask", address).with_context(|| format!("ask {address}"))?;
    let (length, from) = server.recv_from(&mut text).with_context(|| format!("hear {address}"))?;
    ensure!(&text[..length] == b"ask");
    server.send_to(b"answer", from)?;
    let (length, from) = client.recv_from(&mut text).with_context(|| format!("learn {address}"))?;
    ensure!(&text[..length] == b"answer" && from.to_string() == address, "{from} answers");
    Ok(())
}

fn tables(world: &World) -> Result<String> {
    Ok(world.tool("nft").args(["list", "tables"]).ok()?.stdout)
}

/// Another machine: a container that is linked to the host by hand, not to our bridge.
fn neighbour(world: &World) -> Result<Container<'_>> {
    let neighbour = world.sleeper(&["--name", "neighbour"])?;
    let pid = neighbour.pid()?;
    sh(
        world,
        &format!(
            "ip link add lan type veth peer name lan0 netns {pid}
             ip address add 192.0.2.1/24 dev lan
             ip link set lan up
             nsenter -n -t {pid} ip address add 192.0.2.2/24 dev lan0
             nsenter -n -t {pid} ip link set lan0 up"
        ),
    )?;
    Ok(neighbour)
}

/// The kernel would take the link away in its own time, after the network namespace.
fn leave(world: &World, neighbour: Container<'_>) -> Result<()> {
    sh(world, "ip link delete lan")?;
    neighbour.remove()
}

fn everywhere(world: &World) -> Result<()> {
    host(world)?;
    let outside = neighbour(world)?;
    let web = server(world, "web", &["-p", "8080:80", "-p", "192.0.2.1:5353:53/udp"])?;
    let peer = world.sleeper(&["--net", "bridge"])?;
    let reached = || -> Result<()> {
        ensure!(asked_by_tcp("127.0.0.1:8080")? == "web");
        ensure!(asked_by_tcp("192.0.2.1:8080")? == "web");
        let names = udp_in(&web, "0.0.0.0:53")?;
        for client in [UdpSocket::bind("0.0.0.0:0")?, udp_in(&outside, "0.0.0.0:0")?] {
            udp_reaches(&client, "192.0.2.1:5353", &names)?;
        }
        let by = |who: &Container<'_>, place: &str| -> Result<()> {
            let said = inside(who, || asked_by_tcp("192.0.2.1:8080"));
            let said = said.with_context(|| format!("from {place}"))?;
            ensure!(said == "web", "from {place}: {said}");
            Ok(())
        };
        by(&outside, "another machine")?;
        by(&peer, "its own network")?;
        by(&web, "itself")?;
        Ok(())
    };
    reached()?;

    // What people and programs are told.
    let port = |words: &[&str]| web.isula("port", [""; 0]).args(words).output();
    let all = port(&[])?;
    ensure!(all.stdout == "80/tcp -> 0.0.0.0:8080\n53/udp -> 192.0.2.1:5353\n", "{all}");
    ensure!(port(&["80"])?.stdout == "0.0.0.0:8080\n");
    ensure!(port(&["53/udp"])?.stdout == "192.0.2.1:5353\n");
    let id = web.id();
    port(&["81"])?.expect_stderr(&format!("no public port '81/tcp' published for {id}"))?;
    port(&["x"])?.expect_stderr("isula: port: Invalid port 'x'; it is not PORT or PORT/tcp")?;
    let listed = world.isula(["ps", "--filter", "name=web", "--format", "{{.Ports}}"]).ok()?;
    listed.expect_stdout("0.0.0.0:8080->80/tcp, 192.0.2.1:5353->53/udp\n")?;
    ensure!(
        web.value("/NetworkSettings/Ports")?
            == json!({ "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }],
                       "53/udp": [{ "HostIp": "192.0.2.1", "HostPort": "5353" }] })
    );
    ensure!(
        web.value("/HostConfig/PortBindings")?
            == json!({ "80/tcp": [{ "HostIp": "", "HostPort": "8080" }],
                       "53/udp": [{ "HostIp": "192.0.2.1", "HostPort": "5353" }] })
    );
    ensure!(web.value("/Config/ExposedPorts")? == json!({ "80/tcp": {}, "53/udp": {} }));

    web.isula("stop", ["-t", "0"]).ok()?;
    ensure!(tables(world)?.is_empty(), "{}", tables(world)?);
    ensure!(asked_by_tcp("127.0.0.1:8080").is_err(), "nobody is there");
    ensure!(port(&[])?.stdout.is_empty());
    web.isula("start", [""; 0]).ok()?;
    world.until("it serves again", Duration::from_secs(10), || Ok(reached().ok()))?;
    web.remove()?;
    ensure!(tables(world)?.is_empty(), "{}", tables(world)?);
    peer.remove()?;
    leave(world, outside)
}

fn found(world: &World) -> Result<()> {
    host(world)?;
    let options = ["-p", "80", "-P", "--expose", "80-81", "--expose", "53/udp"];
    let one = server(world, "one", &options)?;
    let published = |container: &Container<'_>, inside: &str| -> Result<String> {
        let said = container.isula("port", [""; 0]).arg(inside).ok()?;
        Ok(said.line().replace("0.0.0.0", "127.0.0.1"))
    };
    let address = published(&one, "80")?;
    ensure!(asked_by_tcp(&address)? == "one");
    let (client, names) = (UdpSocket::bind("127.0.0.1:0")?, udp_in(&one, "0.0.0.0:53")?);
    udp_reaches(&client, &published(&one, "53/udp")?, &names)?;
    published(&one, "81")?;
    ensure!(one.value("/HostConfig/PublishAllPorts")? == json!(true));
    // Of a range of the host the first that is free, or one to one.
    let two = server(world, "two", &["-p", "127.0.0.1:7000-7001:80"])?;
    let three = server(world, "three", &["-p", "7000-7001:80", "-p", "7010-7011:80-81"])?;
    ensure!(published(&two, "80")? == "127.0.0.1:7000");
    ensure!(asked_by_tcp("127.0.0.1:7001")? == "three");
    ensure!(asked_by_tcp("127.0.0.1:7010")? == "three");
    let options = ["--net", "bridge", "-p", "7000-7001:80"];
    let refused = world.isula_with("run", &options, &world.busybox()?, &["true"]).code(125)?;
    refused.expect_stderr(&format!(
        "isula: run: --publish 7000-7001:80/tcp: every one is taken; the last: container {} has it",
        &three.id()[..12]
    ))?;
    world.remove_containers();
    for container in [one, two, three] {
        container.forget();
    }
    ensure!(tables(world)?.is_empty(), "{}", tables(world)?);
    Ok(())
}

/// `run` with these is refused with this text, and nothing is made.
fn refused(world: &World, options: &[&str], text: &str) -> Result<()> {
    let options = [&["--net", "bridge", "--rm"], options].concat();
    let output = world.isula_with("run", &options, &world.busybox()?, &["true"]).code(125)?;
    output.expect_stderr(&format!("isula: run: {text}\n"))?;
    Ok(())
}

fn taken(world: &World) -> Result<()> {
    host(world)?;
    let listener = TcpListener::bind("127.0.0.1:8080")?;
    refused(
        world,
        &["-p", "8080:80"],
        "--publish 8080:80/tcp: a program of the host has 0.0.0.0:8080 (tcp); see which: ss -ltunp \
         'sport = :8080'",
    )?;
    refused(
        world,
        &["-p", "198.51.100.1:8080:80"],
        "--publish 198.51.100.1:8080:80/tcp: 198.51.100.1 is no address of this host; see ip -4 \
         address",
    )?;
    sh(world, "echo 8080 8080 > /proc/sys/net/ipv4/ip_local_port_range")?;
    refused(
        world,
        &["-p", "127.0.0.1::80"],
        "--publish 127.0.0.1::80/tcp: no port of the host is free; see sysctl \
         net.ipv4.ip_local_port_range",
    )?;
    sh(world, "echo 32768 60999 > /proc/sys/net/ipv4/ip_local_port_range")?;
    ensure!(tables(world)?.is_empty() && !links(world)?.contains("isula0"), "nothing is made");
    // Another protocol, and another address, are other ports.
    let beside = server(world, "beside", &["-p", "8080:53/udp", "-p", "127.0.0.2:8080:80"])?;
    let (client, names) = (UdpSocket::bind("127.0.0.1:0")?, udp_in(&beside, "0.0.0.0:53")?);
    udp_reaches(&client, "127.0.0.1:8080", &names)?;
    ensure!(asked_by_tcp("127.0.0.2:8080")? == "beside");
    drop(listener);
    // The port is the container's now, whoever asks for it.
    ensure!(TcpListener::bind("127.0.0.2:8080").is_err(), "the port is reserved");
    let id = beside.id()[..12].to_owned();
    let text = format!("--publish 8080:80/tcp: container {id} has it");
    refused(world, &["-p", "8080:80"], &text)?;
    beside.remove()?;
    server(world, "after", &["-p", "8080:80"])?.remove()
}

fn links(world: &World) -> Result<String> {
    Ok(world.tool("ip").args(["-br", "link"]).ok()?.stdout)
}

fn killed(world: &World) -> Result<()> {
    host(world)?;
    let kill_shims = || -> Result<()> {
        let all = tests::processes::of(world.name()).into_iter();
        let shims = all.filter(|it| it.argv.iter().any(|word| word.contains("isula-shim")));
        for shim in shims {
            world.tool("kill").args(["-9", &shim.pid.to_string()]).ok()?;
        }
        Ok(())
    };
    let web = server(world, "web", &["-p", "8080:80", "-p", "81"])?;
    kill_shims()?;
    // It lives on, and is served; its ports are nobody else's.
    ensure!(asked_by_tcp("127.0.0.1:8080")? == "web");
    let text = format!("--publish 8080:80/tcp: container {} has it", &web.id()[..12]);
    refused(world, &["-p", "8080:80"], &text)?;
    let other = server(world, "other", &["-p", "8081:80"])?;
    ensure!(asked_by_tcp("127.0.0.1:8080")? == "web" && asked_by_tcp("127.0.0.1:8081")? == "other");
    web.isula("stop", ["-t", "0"]).ok()?;
    ensure!(asked_by_tcp("127.0.0.1:8080").is_err());
    ensure!(asked_by_tcp("127.0.0.1:8081")? == "other");
    web.isula("start", [""; 0]).ok()?;
    world.until("it serves again", Duration::from_secs(10), || {
        Ok(asked_by_tcp("127.0.0.1:8080").ok())
    })?;
    // All of both at once: what is left of them is in nobody's way, and goes with them.
    kill_shims()?;
    for container in [&web, &other] {
        let pid = container.pid()?.to_string();
        world.tool("kill").args(["-9", &pid]).ok()?;
    }
    web.until_status("exited")?;
    let third = server(world, "third", &["-p", "8080:80"])?;
    ensure!(asked_by_tcp("127.0.0.1:8080")? == "third");
    ensure!(asked_by_tcp("127.0.0.1:8081").is_err(), "the third has the address of the first");
    web.remove()?;
    ensure!(asked_by_tcp("127.0.0.1:8080")? == "third");
    other.remove()?;
    third.remove()?;
    ensure!(tables(world)?.is_empty(), "{}", tables(world)?);
    world.until("its links are gone", Duration::from_secs(5), || {
        Ok((!links(world)?.contains("veth")).then_some(()))
    })
}

/// Packets from 127.0.0.1 have to reach the bridge; none may come from there to 127.0.0.1, nor to what
/// is published there from the wire.
fn loopback(world: &World) -> Result<()> {
    host(world)?;
    let outside = neighbour(world)?;
    let web = server(world, "web", &["-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:53:53/udp"])?;
    ensure!(asked_by_tcp("127.0.0.1:8080")? == "web");
    let names = udp_in(&web, "0.0.0.0:53")?;
    udp_reaches(&UdpSocket::bind("127.0.0.1:0")?, "127.0.0.1:53", &names)?;
    // Two that send to the host what is meant for 127.0.0.1.
    sh(world, "echo 1 > /proc/sys/net/ipv4/conf/lan/route_localnet")?;
    let gateway = web.value("/NetworkSettings/Gateway")?;
    let bridge = gateway.as_str().context("a gateway")?;
    let own = UdpSocket::bind("127.0.0.1:9")?;
    for (who, link, gateway, port, nobody) in [
        (&web, "eth0", bridge, 9, &own),
        (&outside, "lan0", "192.0.2.1", 9, &own),
        (&outside, "lan0", "192.0.2.1", 53, &names),
    ] {
        let pid = who.pid()?;
        sh(
            world,
            &format!(
                "nsenter -n -t {pid} sh -ec '
                    echo 1 > /proc/sys/net/ipv4/conf/{link}/route_localnet
                    ip -4 route flush table local dev lo
                    ip route replace 127.0.0.1 via {gateway}'"
            ),
        )?;
        let sender = udp_in(who, "0.0.0.0:0")?;
        sender.send_to(b"let me in", (Ipv4Addr::LOCALHOST, port))?;
        nobody.set_read_timeout(Some(Duration::from_millis(500)))?;
        // The host itself lets in what comes by the link it was told to.
        let expected = link == "lan0" && port == 9;
        ensure!(nobody.recv(&mut [0; 16]).is_ok() == expected, "{link} to {port}: {expected}");
    }
    web.remove()?;
    leave(world, outside)
}

fn lacking(world: &World) -> Result<()> {
    sh(world, "ip link set lo up; echo 0 > /proc/sys/net/ipv4/ip_forward")?;
    refused(
        world,
        &["-p", "8080:80"],
        "--publish 8080:80/tcp: this host forwards no packets, so that only it could connect; let \
         it: sysctl -w net.ipv4.ip_forward=1, or publish on 127.0.0.1",
    )?;
    let web = server(world, "web", &["-p", "127.0.0.1:8080:80"])?;
    ensure!(asked_by_tcp("127.0.0.1:8080")? == "web");
    web.remove()?;
    sh(
        world,
        "ip link add br7 type bridge; ip address add 192.168.77.1/24 dev br7; ip link set br7 up",
    )?;
    let options = ["--net", "bridge=br7", "-p", "127.0.0.1:8080:80"];
    let call = || world.isula_with("run", &options, &world.busybox()?, &["true"]).output();
    call()?.expect_stderr(
        "isula: run: --publish 127.0.0.1:8080:80/tcp: bridge br7 takes no packets from 127.0.0.1; \
         let it: sysctl -w net/ipv4/conf/br7/route_localnet=1\n",
    )?;
    world.tool("sysctl").args(["-qw", "net/ipv4/conf/br7/route_localnet=1"]).ok()?;
    world.remove_containers();
    let web = server_on(world, "bridge=br7", "web", &["-p", "127.0.0.1:8080:80"])?;
    ensure!(asked_by_tcp("127.0.0.1:8080")? == "web");
    web.remove()?;
    sh(world, "ip link delete br7")?;
    // A host without the program that does it.
    let options = ["--rm", "--net", "bridge", "-p", "127.0.0.1:8080:80"];
    let rootfs = world.busybox()?;
    let call = world.isula_with("run", &options, &rootfs, &["true"]).env("PATH", "/nowhere");
    call.code(125)?.expect_stderr(
        "isula: run: --publish: nft is not installed; apt-get install nftables, or dnf install \
         nftables\n",
    )?;
    // One where the kernel lets that program do nothing: what it said is told.
    let programs = world.new_directory("programs")?;
    let powerless = "#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
                     exec setpriv --bounding-set=-net_admin nft \"$@\"\n";
    std::fs::write(programs.join("nft"), powerless)?;
    std::fs::set_permissions(programs.join("nft"), Permissions::from_mode(0o755))?;
    let call = world.isula_with("run", &options, &rootfs, &["true"]).env("PATH", &programs);
    call.code(125)?.expect_stderr(
        "isula: run: --publish: nft: netlink: Error: cache initialization failed: Operation not \
         permitted; the kernel needs nf_tables with NAT: modprobe -a nf_tables nft_chain_nat\n",
    )?;
    ensure!(tables(world)?.is_empty() && !links(world)?.contains("isula0"), "nothing is left");
    Ok(())
}

fn nothing(world: &World) -> Result<()> {
    host(world)?;
    let ruleset =
        || -> Result<String> { Ok(world.tool("nft").args(["list", "ruleset"]).ok()?.stdout) };
    let bare = server(world, "bare", &["--expose", "80"])?;
    ensure!(ruleset()?.is_empty(), "nobody asked for anything: {}", ruleset()?);
    bare.remove()?;
    sh(
        world,
        "nft add table inet theirs
         nft add chain inet theirs in '{ type filter hook input priority 0; policy accept; }'
         nft add rule inet theirs in tcp dport 22 accept",
    )?;
    let theirs = ruleset()?;
    let web = server(world, "web", &["-p", "8080:80"])?;
    ensure!(ruleset()?.starts_with(&theirs), "{theirs} in {}", ruleset()?);
    // A firewall that is made anew takes our table away; the next change brings it back.
    sh(world, "nft delete table ip $(nft list tables | sed -n 's/table ip //p')")?;
    ensure!(asked_by_tcp("127.0.0.1:8080").is_err());
    web.isula("restart", ["-t", "0"]).ok()?;
    world.until("it serves again", Duration::from_secs(10), || {
        Ok(asked_by_tcp("127.0.0.1:8080").ok())
    })?;
    web.remove()?;
    ensure!(ruleset()? == theirs, "{}", ruleset()?);
    Ok(())
}

fn reboots(world: &World) -> Result<()> {
    host(world)?;
    let options = ["--restart", "on-reboot", "--net", "bridge", "-p", "8080:80", "-p", "81"];
    let guest = world.boot(&options, &world.debian()?)?;
    let before = guest.isula("port", [""; 0]).ok()?.stdout;
    let pid = guest.pid()?;
    let _ = guest.exec(["systemctl", "reboot"]).output()?;
    world.until("another init", Duration::from_secs(60), || {
        Ok((guest.pid().is_ok_and(|now| now != pid)).then_some(()))
    })?;
    guest.until_booted()?;
    // Free ones were found once, and stay.
    guest.isula("port", [""; 0]).ok()?.expect_stdout(&before)?;
    guest.remove()?;
    ensure!(tables(world)?.is_empty(), "{}", tables(world)?);
    Ok(())
}
