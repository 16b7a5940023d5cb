//! The options that only system containers have, by the examples of the predecessor's guide.

use std::os::unix::fs::{MetadataExt, symlink};

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("system::ns_change_opt_net", NEEDS, change_net),
        story("system::ns_change_opt_ipc", NEEDS, change_ipc),
        story("system::host_channel", NEEDS, host_channel),
        story("system::env_target_file", NEEDS, env_target_file),
        story("system::network_files_are_written_into_the_rootfs", NEEDS, network_files),
        story("system::sysctl", NEEDS, sysctl),
        story("system::shm_and_tmpfs_sizes", NEEDS, sizes),
    ]
}

const SYSTEM: &[&str] = &["--rm", "--system-container"];

fn run(world: &World, options: &[&str], script: &str) -> Result<tests::Call> {
    let rootfs = world.busybox()?;
    Ok(world.isula_with("run", &[SYSTEM, options].concat(), &rootfs, &["sh", "-c", script]))
}

fn change_net(world: &World) -> Result<()> {
    let script = "grep -o ' /proc/sys[^ ]* [^ ]* r[wo]' /proc/mounts | awk '{print $1, $3}'";
    let output = run(world, &["--ns-change-opt", "net"], script)?.ok()?;
    // Not every kernel has a sysrq key.
    let sysrq = std::path::Path::new("/proc/sysrq-trigger").exists();
    let sysrq = if sysrq { "/proc/sysrq-trigger ro\n" } else { "" };
    output.expect_stdout(&format!("/proc/sys ro\n{sysrq}/proc/sys/net rw\n"))?;
    let script = "echo 77 > /proc/sys/net/ipv4/ip_default_ttl && \
                  cat /proc/sys/net/ipv4/ip_default_ttl; echo 1 > /proc/sys/kernel/panic";
    let output = run(world, &["--ns-change-opt", "net"], script)?.code(1)?;
    ensure!(output.stdout == "77\n" && output.stderr.contains("Read-only"), "{output}");
    Ok(())
}

fn change_ipc(world: &World) -> Result<()> {
    let before = std::fs::read_to_string("/proc/sys/kernel/shmmni")?;
    let script = "echo 99 > /proc/sys/kernel/shmmni && cat /proc/sys/kernel/shmmni";
    run(world, &["--ns-change-opt", "ipc"], script)?.ok()?.expect_stdout("99\n")?;
    ensure!(std::fs::read_to_string("/proc/sys/kernel/shmmni")? == before, "the host's is its own");
    let rootfs = world.busybox()?;
    let call = world.isula_with("run", &["--rm", "--ns-change-opt", "ipc"], &rootfs, &["true"]);
    call.code(125)?.expect_stderr("ns-change-opt")?;
    Ok(())
}

fn host_channel(world: &World) -> Result<()> {
    let host = world.path("channel");
    let option = format!("{}:/testdir:rw:32M", host.display());
    let rootfs = world.busybox()?;
    let options = ["--system-container", "--host-channel", &option];
    let container = world.run(&options, &rootfs, &["sleep", "600"])?;
    ensure!(host.metadata()?.mode() & 0o7777 == 0o1777, "mode {:o}", host.metadata()?.mode());
    let script = "dd if=/dev/zero of=/testdir/test.file bs=1024 count=64K";
    let output = container.exec(["sh", "-c", script]).output()?;
    ensure!(output.stderr.contains("No space left on device"), "{output}");
    ensure!(host.join("test.file").metadata()?.len() == 32 << 20, "32 MiB are seen from the host");
    container.isula("stop", ["-t", "0"]).ok()?;
    container.isula("start", [""; 0]).ok()?;
    container.exec(["test", "-s", "/testdir/test.file"]).ok()?;
    container.remove()?;
    ensure!(!host.exists(), "it is gone with the container");
    Ok(())
}

fn env_target_file(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    std::fs::write(rootfs.join("etc/environment"), "# kept\nabc=1\nonly=file\n")?;
    let options = ["--env-target-file", "/etc/environment", "-e", "abc=123"];
    let script = "cat /etc/environment; echo env: $abc $only";
    let call =
        world.isula_with("run", &[SYSTEM, &options].concat(), &rootfs, &["sh", "-c", script]);
    let output = call.ok()?;
    for line in ["abc=123", "only=file", "env: 123 file"] {
        ensure!(output.stdout.lines().any(|found| found == line), "{line} in\n{output}");
    }
    ensure!(!output.stdout.contains("abc=1\n"), "{output}");
    Ok(())
}

fn network_files(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    symlink("/etc/hosts", rootfs.join("etc/alias"))?;
    let options = ["-h", "guest", "--add-host", "db:10.0.0.7", "--dns", "10.0.0.1"];
    let script = "hostname; cat /etc/hosts /etc/resolv.conf";
    let call =
        world.isula_with("run", &[SYSTEM, &options].concat(), &rootfs, &["sh", "-c", script]);
    let output = call.ok()?;
    ensure!(output.stdout.starts_with("guest\n"), "{output}");
    ensure!(output.stdout.contains("10.0.0.7") && output.stdout.contains("db"), "{output}");
    ensure!(output.stdout.contains("nameserver 10.0.0.1"), "{output}");
    let hosts = std::fs::read_to_string(rootfs.join("etc/hosts"))?;
    ensure!(hosts.contains("10.0.0.7"), "in the rootfs itself: {hosts}");
    Ok(())
}

fn sysctl(world: &World) -> Result<()> {
    let script = "cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_forward";
    let options = ["--sysctl", "kernel.shmmni=77", "--sysctl", "net.ipv4.ip_forward=1"];
    run(world, &options, script)?.ok()?.expect_stdout("77\n1\n")?;
    run(world, &["--sysctl", "vm.swappiness=1"], "true")?
        .code(125)?
        .expect_stderr("Sysctl 'vm.swappiness=1' is not whitelist")?;
    let before = std::fs::read_to_string("/proc/sys/kernel/pid_max")?;
    let output = run(world, &["--sysctl", "kernel.pid_max=4000"], "cat /proc/sys/kernel/pid_max")?;
    match linux::kernel::version() >= (6, 14) {
        true => output.ok()?.expect_stdout("4000\n")?,
        false => output.code(125)?.expect_stderr(
            "Sysctl 'kernel.pid_max=4000' is not kernel namespaced, it cannot be changed; it needs \
             Linux 6.14",
        )?,
    };
    let after = std::fs::read_to_string("/proc/sys/kernel/pid_max")?;
    ensure!(after == before, "the host's: {before} before, {after} after");
    Ok(())
}

fn sizes(world: &World) -> Result<()> {
    let script = "df -k /dev/shm | awk 'END { print $2 }'";
    run(world, &["--shm-size", "8M"], script)?.ok()?.expect_stdout("8192\n")?;
    let script = "df -k /run | awk 'END { print $2 }'";
    run(world, &["-m", "64M"], script)?.ok()?.expect_stdout("32768\n")?;
    Ok(())
}
