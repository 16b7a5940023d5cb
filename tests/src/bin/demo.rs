//! The demonstration: a Debian with systemd as a container, from its first start to its removal.
//!
//! `cargo xtask demo` builds what this needs and names it in SYSC_BIN and SYSC_DEBIAN.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use tests::lxcfs::Lxcfs;
use tests::{Container, Disk, World};

fn main() -> ExitCode {
    tests::warden::guard(|| {
        // A thread of its own, as the world it enters is for good.
        let shown = std::thread::spawn(in_a_world).join();
        match shown.unwrap_or_else(|_| Err(anyhow!("a panic"))) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("demo: {error:#}"));
                ExitCode::FAILURE
            }
        }
    })
}

fn in_a_world() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "not root; run it as root");
    let world = World::enter()?;
    let shown = show(&world).map_err(|error| error.context(world.dump()));
    let left = world.leave();
    shown?;
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    say("\nGone without a trace: no process, mount, cgroup, link or file is left.");
    Ok(())
}

fn show(world: &World) -> Result<()> {
    let rootfs = world.debian()?;
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let lxcfs = Lxcfs::start(world)?;
    let [lxcfs_option, lxcfs_dir] = lxcfs.options();
    heading("Boot Debian with systemd as PID 1");
    let started = Instant::now();
    let container = world.run(
        &[
            "--system-container",
            "--restart",
            "on-reboot",
            "--name",
            "demo",
            // To mount a disk is another right than to open it.
            "--cap-add",
            "SYS_ADMIN",
            "--hook-spec",
            &spec,
            "--memory",
            "512m",
            &lxcfs_option,
            &lxcfs_dir,
        ],
        &rootfs,
        &["/sbin/init"],
    )?;
    took("PID 1 is running", started);
    container.until_booted()?;
    took("systemd has everything up", started);
    show_exec(&container, &["ps", "-eo", "pid,comm,args"])?;
    show_exec(&container, &["systemctl", "is-system-running"])?;

    heading("Its services and its journal");
    show_exec(&container, &["systemctl", "stop", "dbus.service", "dbus.socket"])?;
    show_exec(&container, &["systemctl", "start", "dbus.service"])?;
    show_exec(&container, &["systemctl", "is-active", "dbus.service"])?;
    show_exec(&container, &["journalctl", "--no-pager", "--lines", "3", "--unit", "dbus.service"])?;

    heading("A machine of its own, by lxcfs, before and after an update");
    show_exec(&container, &["sh", "-c", "free -m; nproc; uptime -p"])?;
    show_isula(
        world,
        &["update", "--memory", "1g", "--memory-swap", "2g", "--cpuset-cpus", "0", "demo"],
    )?;
    show_exec(&container, &["sh", "-c", "free -m; nproc"])?;

    heading("From the outside");
    show_isula(world, &["ps"])?;
    show_isula(world, &["inspect", "--format", "{{json .State}}", "demo"])?;

    let (disk, directory) = (Disk::new(world)?, world.new_directory("photos")?);
    std::fs::write(directory.join("note"), "from the host\n")?;
    plug(world, &container, &disk, &directory)?;

    heading("Reboot from the inside: same id, new PID 1");
    let before = container.pid()?;
    let started = Instant::now();
    container.exec(["systemctl", "reboot"]).output()?;
    world.until("a new PID 1", Duration::from_secs(60), || {
        Ok((container.status()? == "running" && container.pid()? != before).then_some(()))
    })?;
    took("a new PID 1 is running", started);
    container.until_booted()?;
    took("systemd has everything up again", started);
    say(&format!("    pid {before} before, {} after", container.pid()?));

    heading("What was plugged in is there again");
    show_exec(&container, &["mount", "/dev/xvdb", "/mnt"])?;
    show_exec(&container, &["cat", "/mnt/note", "/photos/note"])?;
    show_exec(&container, &["umount", "/mnt"])?;
    show_tools(world, &["list-device", "demo"])?;
    show_tools(world, &["list-path", "demo"])?;
    show_network(world, &container)?;

    heading("Out with it, while it runs");
    let disk_path = disk.path.clone();
    show_tools(world, &["remove-device", "demo", &disk_path])?;
    let photos = format!("{}:/photos", directory.display());
    show_tools(world, &["remove-path", "demo", &photos])?;
    let route = r#"[{"dest":"198.51.100.0/24","gw":"192.0.2.1"}]"#;
    show_tools(world, &["remove-route", "demo", route])?;
    show_tools(world, &["remove-nic", "--name", "demo0:eth0", "demo"])?;
    world.tool("ip").args(["link", "del", "br-demo"]).ok()?;
    drop(disk);

    heading("Stop: systemd shuts down in order");
    let started = Instant::now();
    container.isula("stop", [""; 0]).ok()?;
    took("stopped", started);
    ensure!(container.status()? == "exited", "its status is exited");
    show_isula(world, &["ps", "--all"])?;
    container.remove().context("remove the container")?;
    lxcfs.stop()
}

/// A disk, a directory, a link and a route into the running guest.
fn plug(
    world: &World,
    container: &Container<'_>,
    disk: &Disk<'_>,
    directory: &std::path::Path,
) -> Result<()> {
    heading("Plug in a disk and a directory, while it runs");
    show_tools(world, &["add-device", "demo", &format!("{}:/dev/xvdb", disk.path)])?;
    show_exec(container, &["mkfs.ext4", "-q", "/dev/xvdb"])?;
    show_exec(container, &["mount", "/dev/xvdb", "/mnt"])?;
    show_exec(
        container,
        &["sh", "-c", "echo on the disk > /mnt/note; df --output=source,size /mnt"],
    )?;
    show_exec(container, &["umount", "/mnt"])?;
    show_tools(world, &["add-path", "demo", &format!("{}:/photos:ro", directory.display())])?;
    show_exec(container, &["cat", "/photos/note"])?;

    heading("A network, while it runs: a link into a bridge of the host, and a route");
    for command in
        ["link add br-demo type bridge", "addr add 192.0.2.1/24 dev br-demo", "link set br-demo up"]
    {
        world.tool("ip").args(command.split(' ')).ok()?;
    }
    let link = ["--type", "veth", "--name", "demo0:eth0", "--ip", "192.0.2.2/24"];
    show_tools(world, &[&["add-nic"], &link[..], &["--bridge", "br-demo", "demo"]].concat())?;
    let route = r#"[{"dest":"198.51.100.0/24","gw":"192.0.2.1"}]"#;
    show_tools(world, &["add-route", "demo", route])?;
    show_network(world, container)
}

/// From the host into the guest, and the guest's way out.
fn show_network(world: &World, container: &Container<'_>) -> Result<()> {
    // A bridge learns for a moment who is where.
    world.until("an answer from the guest", Duration::from_secs(10), || {
        let ping = ["ping", "-c", "1", "-W", "1", "192.0.2.2"];
        let output = world.tool("busybox").args(ping).output()?;
        Ok((output.code() == 0).then_some(()))
    })?;
    say("  $ ping -c 1 192.0.2.2");
    say("    answered");
    show_exec(container, &["ip", "route"])
}

fn heading(text: &str) {
    say(&format!("\n== {text}"));
}

fn took(what: &str, since: Instant) {
    say(&format!("    {what} after {:.3} s", since.elapsed().as_secs_f64()));
}

fn show_exec(container: &Container<'_>, command: &[&str]) -> Result<()> {
    say(&format!("  $ isula exec demo {}", command.join(" ")));
    let output = container.exec(command).ok()?;
    output.stdout.lines().for_each(|line| say(&format!("    {line}")));
    Ok(())
}

fn show_isula(world: &World, command: &[&str]) -> Result<()> {
    say(&format!("  $ isula {}", command.join(" ")));
    let output = world.isula(command).ok()?;
    output.stdout.lines().for_each(|line| say(&format!("    {line}")));
    Ok(())
}

fn show_tools(world: &World, command: &[&str]) -> Result<()> {
    say(&format!("  $ isulad-tools {}", command.join(" ")));
    let output = world.tools(command).ok()?;
    output.stdout.lines().for_each(|line| say(&format!("    {line}")));
    took("done", Instant::now().checked_sub(output.elapsed).unwrap_or_else(Instant::now));
    Ok(())
}

fn say(line: &str) {
    // A closed stdout is no reason to leave a container behind.
    let _ = writeln!(std::io::stdout(), "{line}");
}
