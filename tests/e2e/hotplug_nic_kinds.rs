//! Kinds of links and bridges beyond the usual pair, and bounds on what they carry.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, IPVLAN, OPEN_VSWITCH, POLICE, ROOT};
use tests::{Call, Container, Story, World, story};

use crate::links::{Bridge, Port, add_pair, has_link, ip, ip_in, ping};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_nic_kinds::a_macvlan", &[ROOT, BUSYBOX], macvlan),
        story("hotplug_nic_kinds::an_ipvlan", &[ROOT, BUSYBOX, IPVLAN], ipvlan),
        story("hotplug_nic_kinds::a_port_of_open_vswitch", &[ROOT, BUSYBOX, OPEN_VSWITCH], vswitch),
        story("hotplug_nic_kinds::rates_are_in_force", &[ROOT, BUSYBOX], rates),
        story("hotplug_nic_kinds::rates_that_no_guest_can_lift", &[ROOT, BUSYBOX, POLICE], policed),
    ]
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

fn ipvlan(world: &World) -> Result<()> {
    let _port = Port::new(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    for (name, address) in [("u0:i1", "10.5.0.11/24"), ("u0:i2", "10.5.0.12/24")] {
        // A link carries links of one of the two kinds.
        let refused = world.tools(["add-nic", "web", "--type", "ipvlan", "--name", name, "--ip"]);
        refused.arg(address).code(1)?.expect_stderr("EBUSY")?;
    }
    ip(world, "link del p0")?;
    for (name, address) in [("u0:i1", "10.5.0.11/24"), ("u0:i2", "10.5.0.12/24")] {
        world
            .tools(["add-nic", "web", "--type", "ipvlan", "--name", name, "--ip", address])
            .ok()?;
    }
    let seen = ip_in(world, &container, "-d -o link show dev i1")?;
    ensure!(seen.contains("ipvlan"), "{seen}");
    ping(&container, "10.5.0.12")?;
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    world.tools(["remove-nic", "web", "--name", "u0:i1"]).ok()?;
    let left = ip_in(world, &container, "-o link")?;
    ensure!(!left.contains("i1@") && left.contains("i2@"), "{left}");
    container.remove()
}

/// A switch of this story's own, in user space; it ends with this value.
struct Switch<'w> {
    world: &'w World,
    processes: Vec<std::process::Child>,
}

impl<'w> Switch<'w> {
    fn start(world: &'w World) -> Result<Self> {
        let mut switch = Self { world, processes: Vec::new() };
        let database = world.path("ovs.db");
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        world.tool("ovsdb-tool").arg("create").arg(&database).arg(schema).ok()?;
        let socket = format!("--remote=punix:{}", world.path("db.sock").display());
        switch.run(switch.with_place("ovsdb-server").arg(&database).arg(socket))?;
        world.until("its database answers", Duration::from_secs(10), || {
            let asked = switch.vsctl(&["--no-wait", "init"]).output()?;
            Ok((asked.code() == 0).then_some(()))
        })?;
        let socket = format!("unix:{}", world.path("db.sock").display());
        switch.run(switch.with_place("ovs-vswitchd").arg(socket))?;
        let user_space = ["--", "set", "bridge", "ovs0", "datapath_type=netdev"];
        switch.vsctl(&[&["add-br", "ovs0"], &user_space[..]].concat()).ok()?;
        Ok(switch)
    }

    fn with_place(&self, program: &str) -> Call {
        self.world
            .tool(program)
            .env("OVS_RUNDIR", self.world.path(""))
            .args(["--pidfile", "-vfile:off"])
    }

    fn run(&mut self, call: Call) -> Result<()> {
        let null = std::process::Stdio::null;
        let child = call.command().stdin(null()).stdout(null()).stderr(null()).spawn()?;
        self.processes.push(child);
        Ok(())
    }

    fn vsctl(&self, words: &[&str]) -> Call {
        let call = self.world.tool("ovs-vsctl").env("OVS_RUNDIR", self.world.path(""));
        call.arg("--timeout=10").args(words)
    }

    fn ports(&self) -> Result<String> {
        Ok(self.vsctl(&["list-ports", "ovs0"]).ok()?.stdout)
    }

    fn tools(&self, words: &[&str]) -> Call {
        self.world.tools(words).env("OVS_RUNDIR", self.world.path(""))
    }
}

impl Drop for Switch<'_> {
    fn drop(&mut self) {
        let _ = self.vsctl(&["--if-exists", "del-br", "ovs0"]).output();
        for child in self.processes.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The switch in user space makes this link for itself.
        for link in ["ovs0", "ovs-netdev"] {
            let _ = self.world.tool("ip").args(["link", "del", link]).output();
        }
    }
}

fn vswitch(world: &World) -> Result<()> {
    let switch = Switch::start(world)?;
    ip(world, "address add 192.168.3.1/24 dev ovs0")?;
    ip(world, "link set ovs0 up")?;
    let _bridge = Bridge::new(world, "br0", "192.168.4.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    let nic = ["add-nic", "web", "--type", "veth", "--bridge", "ovs0", "--name", "h1:e1", "--ip"];
    switch.tools(&[&nic[..], &["192.168.3.4/24"]].concat()).ok()?;
    ensure!(switch.ports()? == "h1\n", "{}", switch.ports()?);
    ping(&container, "192.168.3.1")?;
    switch.tools(&["diff", "web"]).ok()?.expect_stdout("")?;
    // To a bridge of the kernel's and back; no port is left behind.
    let to = |bridge: &str, ip: &str| {
        switch.tools(&["update-nic", "web", "--name", "e1", "--bridge", bridge, "--ip", ip]).ok()
    };
    to("br0", "192.168.4.4/24")?;
    ensure!(switch.ports()?.is_empty(), "{}", switch.ports()?);
    ping(&container, "192.168.4.1")?;
    to("ovs0", "192.168.3.4/24")?;
    ping(&container, "192.168.3.1")?;
    switch.tools(&["remove-nic", "web", "--name", "e1"]).ok()?;
    ensure!(switch.ports()?.is_empty() && !has_link(world, "h1")?, "{}", switch.ports()?);
    container.remove()
}

/// How many bits a second get from one to the other, over a second or so.
fn speed(world: &World, container: &Container<'_>, into: bool) -> Result<f64> {
    const BYTES: u32 = 400_000;
    let listen = "nc -l -p 7000 > $1";
    let send = format!("head -c {BYTES} /dev/zero | nc $1 7000");
    let pid = container.pid()?.to_string();
    let inside = |script: &str, argument: &str| {
        let words = ["-n", "-t", &pid, "busybox", "sh", "-c", script, "sh", argument];
        world.tool("nsenter").args(words)
    };
    let outside = |script: &str, argument: &str| {
        world.tool("busybox").args(["sh", "-c", script, "sh", argument])
    };
    let file = world.path("received");
    let file_text = file.to_string_lossy().into_owned();
    let listener = match into {
        true => inside(listen, &file_text),
        false => outside(listen, &file_text),
    };
    // At the end of its input it would hang up.
    let mut listener = listener.command().stdin(std::process::Stdio::piped()).spawn()?;
    let sender = || match into {
        true => outside(&send, "192.168.3.4"),
        false => inside(&send, "192.168.3.1"),
    };
    let started = std::cell::Cell::new(Instant::now());
    world.until("somebody listens", Duration::from_secs(10), || {
        started.set(Instant::now());
        sender().output()?;
        Ok(std::fs::metadata(&file).is_ok_and(|file| file.len() > 0).then_some(()))
    })?;
    world.until("all of it is there", Duration::from_secs(60), || {
        Ok((std::fs::metadata(&file)?.len() == u64::from(BYTES)).then_some(()))
    })?;
    let elapsed = started.get().elapsed();
    listener.wait()?;
    std::fs::remove_file(&file)?;
    Ok(f64::from(BYTES) * 8.0 / elapsed.as_secs_f64())
}

fn rates(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    let bounds = ["--ingress-rate", "2mbit", "--egress-rate", "1000k"];
    world.tools(add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24"])).args(bounds).ok()?;
    let listed = world.tools(["list-nic", "web"]).ok()?.stdout;
    ensure!(listed.contains(r#""IngressRate":2000000,"EgressRate":1000000"#), "{listed}");
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    for (into, bound) in [(true, 2.0e6), (false, 1.0e6)] {
        let speed = speed(world, &container, into)?;
        // The bucket is full at the beginning.
        ensure!(speed < bound * 1.5, "{speed} bits a second, into it: {into}");
    }
    let refused = world.tools(["update-nic", "web", "--name", "e1", "--egress-rate", "fast"]);
    refused.code(2)?.expect_stderr("write a number of bits a second")?;
    world
        .tools(["update-nic", "web", "--name", "e1", "--ingress-rate", "0", "--egress-rate", "3g"])
        .ok()?
        .expect_stdout(
            "Update Ingress rate for network interface (e1,none) done\n\
             Update Egress rate for network interface (e1,3gbit) done\n",
        )?;
    ensure!(!ip(world, "-d link show dev h1")?.contains("tbf"), "nothing bounds what goes in");
    world.tools(["update-nic", "web", "--name", "e1", "--egress-rate", "0"]).ok()?;
    let left =
        ip_in(world, &container, "-d link show dev e1")? + &ip(world, "-d link show dev h1")?;
    ensure!(!left.contains("tbf"), "{left}");
    let refused = world.tools(["add-nic", "web", "--type", "macvlan", "--name", "h1:m1"]);
    let refused = refused.args(["--ip", "10.0.0.1/8", "--ingress-rate", "1m"]);
    refused.code(2)?.expect_stderr("the host has no end that --ingress-rate could be set on")?;
    container.remove()
}

/// The container's root may change all of its own queues.
fn policed(world: &World) -> Result<()> {
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    let add = add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24", "--egress-rate", "1m"]);
    world.tools(add).ok()?;
    let pid = container.pid()?.to_string();
    let lift = ["-n", "-t", &pid, "tc", "qdisc", "del", "dev", "e1", "root"];
    ensure!(world.tool("nsenter").args(lift).output()?.code() != 0, "it has none to lift");
    let speed = speed(world, &container, false)?;
    ensure!(speed < 1.5e6, "{speed} bits a second out of it");
    world.tools(["update-nic", "web", "--name", "e1", "--egress-rate", "0"]).ok()?;
    container.remove()
}
