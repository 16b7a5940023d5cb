//! What an administrator decides: what a start goes on without, how much a container may be given,
//! who is told of a change, and what the program itself may do.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::need::{BUSYBOX, FUSE, ROOT};
use tests::{Container, Story, World, story};

use crate::added::hooked;
use crate::links::{Bridge, add_pair, has_link, ip_in};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_policy::a_start_goes_on_without_it", &[ROOT, BUSYBOX], without),
        story("hotplug_policy::what_must_be_there_takes_the_rest_back", &[ROOT, BUSYBOX], required),
        story("hotplug_policy::other_bounds", &[ROOT, BUSYBOX], bounds),
        story("hotplug_policy::the_journal_is_told", &[ROOT, BUSYBOX], journal),
        story("hotplug_policy::few_privileges", &[ROOT, BUSYBOX, FUSE], privileges),
    ]
}

fn stop(container: &Container<'_>) -> Result<()> {
    container.isula("stop", ["-t", "0"]).ok().map(drop)
}

/// A device, a path and a link that may be missing, and a route through the link.
fn without(world: &World) -> Result<()> {
    let bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = hooked(world, &[])?;
    let source = world.new_directory("source")?;
    let pair = format!("{}:/data", source.display());
    fs::write(source.join("file"), "")?;
    let link = world.path("by-id");
    std::os::unix::fs::symlink("/dev/fuse", &link)?;
    let device = format!("{}:/dev/xvdb", link.display());
    let may = ["--on-failure", "warn"];
    world.tools(["add-device", "web", &device]).args(may).ok()?;
    world.tools(["add-device", "web", "/dev/fuse:/dev/n1"]).ok()?;
    world.tools(["add-path", "web", &pair]).args(may).ok()?;
    world.tools(add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24"])).args(may).ok()?;
    world.tools(["add-route", "web", r#"[{"dest":"10.9.0.0/16","gw":"192.168.3.1"}]"#]).ok()?;
    world.tools(["add-path", "web", "/:/x", "--on-failure", "never"]).code(2)?;
    stop(&container)?;
    fs::remove_file(&link)?;
    fs::remove_dir_all(&source)?;
    drop(bridge);
    let started = container.isula("start", [""; 0]).output()?;
    ensure!(started.code() == 0, "{started}");
    let look = container.exec(["sh", "-c", ": < /dev/n1 && ls /dev/xvdb /data/file"]).output()?;
    ensure!(look.stdout.is_empty() && look.stderr.contains("xvdb"), "{look}");
    ensure!(!ip_in(world, &container, "-o link")?.contains("e1"), "it has no link");
    let drift = world.tools(["diff", "web"]).code(1)?;
    for element in ["device", "path", "nic", "route"] {
        ensure!(drift.stdout.lines().any(|line| line.starts_with(element)), "{drift}");
    }
    // They are recorded still, and there as soon as they can be.
    stop(&container)?;
    fs::create_dir(&source)?;
    let bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    container.isula("start", [""; 0]).ok()?;
    let drift = world.tools(["diff", "web"]).code(1)?;
    let alone = drift.stdout.lines().count() == 1 && drift.stdout.starts_with("device ");
    ensure!(alone, "the disk alone is missing: {drift}");
    world.tools(["remove-device", "web", ":/dev/xvdb"]).ok()?;
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    let record = world.root().join("engines/isula").join(container.id()).join("device_hook.json");
    let record = fs::read_to_string(record)?;
    ensure!(record.contains(r#""mayFail":["nic e1","path /data"]"#), "{record}");
    container.remove()?;
    drop(bridge);
    Ok(())
}

/// With one that may be missing there, and another that must not be.
fn required(world: &World) -> Result<()> {
    let bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = hooked(world, &[])?;
    let add = add_pair(&["--name", "h1:e1", "--ip", "192.168.3.4/24", "--on-failure", "warn"]);
    world.tools(add).ok()?;
    world.tools(["add-route", "web", r#"[{"dest":"10.9.0.0/16","gw":"192.168.3.9"}]"#]).ok()?;
    stop(&container)?;
    // With another address the gateway cannot be reached.
    world
        .tools(["update-nic", "web", "--name", "e1", "--ip", "192.168.77.4/24"])
        .ok()
        .context("nobody looks at it while it is stopped")?;
    let refused = container.isula("start", [""; 0]).output()?;
    ensure!(refused.code() != 0, "{refused}");
    refused.expect_stderr("10.9.0.0/16")?;
    ensure!(!has_link(world, "h1")?, "what was there is taken back");
    container.remove()?;
    drop(bridge);
    Ok(())
}

fn bounds(world: &World) -> Result<()> {
    let container = world.create(&["--name", "web"], &world.busybox()?, &["true"])?;
    let config = world.path("bounds.json");
    let with = |words: &[&str]| world.tools(words).arg("--config").arg(&config);
    let source = world.new_directory("source")?;
    let path = |number: u32| format!("{}:/data{number}", source.display());
    let add = |number: u32| with(&["add-path", "web", &path(number)]);
    fs::write(&config, r#"{"paths": 1, "physical-nics": 0}"#)?;
    add(1).ok()?;
    add(2).code(5)?.expect_stderr("Path already reach max limit")?;
    let eth = ["add-nic", "web", "--type", "eth", "--name", "p0:e1", "--ip", "10.0.0.1/8"];
    with(&eth).code(5)?.expect_stderr("Nic already reach max limit")?;
    fs::write(&config, r#"{"path": 1}"#)?;
    add(2).code(1)?.expect_stderr("it may say nics, physical-nics and paths")?;
    world.tools(["add-path", "web", &path(2)]).ok()?;
    container.remove()
}

fn journal(world: &World) -> Result<()> {
    let socket = world.path("journal");
    let listener = UnixDatagram::bind(&socket)?;
    listener.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut buffer = [0; 8192];
    let mut heard = || -> Result<String> {
        let length = listener.recv(&mut buffer).context("an entry")?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    let container = world.sleeper(&["--name", "web"])?;
    let tools = |words: &[&str]| world.tools(words).arg("--journal").arg(&socket);
    tools(&["add-device", "web", "/dev/fuse:/dev/n1"]).ok()?;
    let entry = heard()?;
    for field in [
        "PRIORITY=5\n",
        "SYSLOG_IDENTIFIER=isulad-tools\n",
        &format!("ISULA_CONTAINER={}\n", container.id()),
        "ISULA_ACTION=add\nISULA_ELEMENT=device /dev/n1\n",
        "ISULA_RESULT=done\n",
    ] {
        ensure!(entry.contains(field), "{entry}");
    }
    // What is refused before it is tried is no change; what fails is one that was tried.
    tools(&["add-device", "web", "/dev/fuse:/dev/n1"]).code(4)?;
    container.exec(["touch", "/dev/n2"]).ok()?;
    tools(&["add-device", "web", "/dev/fuse:/dev/n2"]).code(4)?;
    let entry = heard()?;
    ensure!(entry.contains("PRIORITY=3\n") && entry.contains("ISULA_ELEMENT=device /dev/n2\n"));
    ensure!(entry.contains("ISULA_RESULT=") && entry.contains("/dev/n2"), "{entry}");
    tools(&["remove-device", "web", ":/dev/n1"]).ok()?;
    let entry = heard()?;
    ensure!(entry.contains("MESSAGE=remove device /dev/n1, container "), "{entry}");
    container.remove()
}

/// Looked at while it waits for a filesystem that never answers.
fn privileges(world: &World) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    let dir = world.new_directory("fuse")?;
    let server = fs::File::options().read(true).write(true).open("/dev/fuse")?;
    let fd = server.as_raw_fd();
    world.mount("fuse", &dir, &format!("fd={fd},rootmode=40000,user_id=0,group_id=0"))?;
    let container = world.sleeper(&["--name", "web"])?;
    let pair = format!("{}:/m", dir.display());
    let call = world.tools(["--timeout", "60", "add-path", "web", &pair]);
    let mut child = call.command().spawn()?;
    let status = || fs::read_to_string(format!("/proc/{}/status", child.id()));
    let field = |name: &str| -> Result<String> {
        let status = status()?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).context(status.clone())?;
        Ok(line.trim_start_matches(':').trim().to_owned())
    };
    world.until("it has given up what it does not need", Duration::from_secs(10), || {
        Ok((field("NoNewPrivs")? == "1").then_some(()))
    })?;
    for set in ["CapEff", "CapPrm"] {
        world.until("its capabilities are few", Duration::from_secs(10), || {
            let held = u64::from_str_radix(&field(set)?, 16)?;
            // CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_SYS_TIME, CAP_KILL of
            // linux/capability.h; and CAP_SYS_ADMIN, which it needs.
            let not_needed = [16, 17, 22, 25, 5].iter().all(|cap| held & (1 << cap) == 0);
            Ok((not_needed && held & (1 << 21) != 0).then_some(()))
        })?;
    }
    child.kill()?;
    drop(server);
    child.wait()?;
    world.tools(["list-path", "web"]).ok()?.expect_stdout("[]\n")?;
    container.remove()
}
