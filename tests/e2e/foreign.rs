//! `isula --runtime`: other people's OCI runtimes in our own's place.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::need::{BUSYBOX, CGROUP_V1, CGROUP_V2, CRUN, DEBIAN, ROOT, RUNC, USER_NS};
use tests::{Story, Terminal, World, story};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("foreign::a_life_under_runc", &[ROOT, BUSYBOX, RUNC], |world| life(world, "runc")),
        story("foreign::a_life_under_crun", &[ROOT, BUSYBOX, CRUN, CGROUP_V2], |world| {
            life(world, "crun")
        }),
        story("foreign::debian_boots_under_runc", &[ROOT, DEBIAN, RUNC], boots),
        story(
            "foreign::debian_with_mapped_ids_under_runc",
            &[ROOT, DEBIAN, RUNC, USER_NS],
            |world| crate::boot::mapped_shifted(world, &["--runtime", "runc"]),
        ),
        story("foreign::a_table_of_runtimes", &[ROOT, BUSYBOX, RUNC], table),
        story("foreign::our_own_by_its_path", &[ROOT, BUSYBOX], own),
        story("foreign::what_it_cannot_do_is_refused", &[ROOT, BUSYBOX, RUNC], refused),
        story(
            "foreign::limits_of_a_system_container_on_v1",
            &[ROOT, BUSYBOX, RUNC, CGROUP_V1],
            limits_on_v1,
        ),
    ]
}

/// Every verb, and the codes that a caller acts on.
fn life(world: &World, runtime: &str) -> Result<()> {
    let with = ["--runtime", runtime];
    let rootfs = world.busybox()?;
    let run = |options: &[&str], command: &[&str]| {
        world.isula_with("run", &[&with, options].concat(), &rootfs, command)
    };
    let output = run(&["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 5"]).code(5)?;
    ensure!(output.stdout == "out\n" && output.stderr == "err\n", "{output}");
    run(&["--rm"], &["/no/such"]).code(127)?.expect_stderr("/no/such")?;
    run(&["--rm"], &["/etc/passwd"]).code(126)?.expect_stderr("ermission denied")?;

    let script = "echo started; exec sleep 86400";
    let container = world.run(&with, &rootfs, &["sh", "-c", script])?;
    let named = world.isula(["ps", "--format", "{{.Runtime}}"]).ok()?;
    let name = Path::new(runtime).file_name().context("a name")?;
    ensure!(Path::new(named.line()) == Path::new(name), "{named}");
    container.exec(["sh", "-c", "exit 3"]).code(3)?;
    container.exec(["/no/such"]).code(127)?;
    let through = world.isula(["exec", "-i", container.id(), "cat"]).stdin("in\n").ok()?;
    ensure!(through.stdout == "in\n", "{through}");
    let mut terminal = Terminal::start(&world.isula(["exec", "-it", container.id(), "tty"]))?;
    terminal.expect("/dev/pts/")?;
    terminal.code(0)?;
    container.isula("exec", ["-d"]).arg("sleep").arg("1").ok()?;

    container.isula("pause", [""; 0]).ok()?;
    ensure!(container.status()? == "paused");
    container.isula("unpause", [""; 0]).ok()?;
    for restarts in 1..=3 {
        container.isula("restart", ["-t", "0"]).ok()?;
        // The next one would kill it before it has said so.
        world.until("it has said so again", Duration::from_secs(20), || {
            let logs = container.isula("logs", [""; 0]).ok()?;
            Ok((logs.stdout == "started\n".repeat(1 + restarts)).then_some(()))
        })?;
    }
    container.isula("kill", ["-s", "KILL"]).ok()?;
    container.until_status("exited")?;
    ensure!(container.exit_code()? == 137);
    container.isula("start", [""; 0]).ok()?;
    container.remove()?;
    nothing_left(world)
}

/// The state of neither us nor the other runtime.
fn nothing_left(world: &World) -> Result<()> {
    let root = world.state().join("runtime");
    for entry in std::fs::read_dir(&root)? {
        let entry = entry?.path();
        let is_container = |name: std::ffi::OsString| name.as_encoded_bytes()[0] != b'.';
        let inside = std::fs::read_dir(&entry)?.flatten();
        let inside = inside.filter(|entry| is_container(entry.file_name())).count();
        let is_root = entry.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        ensure!(is_root && inside == 0, "{} holds {inside} entries", entry.display());
    }
    Ok(())
}

fn boots(world: &World) -> Result<()> {
    let container = world.boot(&["--runtime", "runc"], &world.debian()?)?;
    ensure!(container.exec(["cat", "/proc/1/comm"]).ok()?.line() == "systemd");
    let stopped = container.isula("stop", [""; 0]).ok()?;
    ensure!(stopped.elapsed < Duration::from_secs(9), "killed and not shut down\n{stopped}");
    container.isula("start", [""; 0]).ok()?;
    container.until_booted()?;
    container.remove()
}

fn table(world: &World) -> Result<()> {
    let path = world.path("daemon.json");
    let log = world.path("runc.debug");
    // A runtime that says what it was called with.
    let wrapper = world.path("wrapper");
    std::fs::write(
        &wrapper,
        format!("#!/bin/sh\necho \"$@\" >> {}\nshift\nexec runc \"$@\"\n", log.display()),
    )?;
    world.tool("chmod").arg("755").arg(&wrapper).ok()?;
    let entry = json!({ "path": wrapper, "runtime-args": ["--wrapped"] });
    std::fs::write(&path, json!({ "runtimes": { "mine": entry } }).to_string())?;
    let rootfs = world.busybox()?;
    let pod = "io.kubernetes.cri.sandbox-id=pod7";
    let options = ["--daemon-json", path.to_str().context("a name")?, "--rm", "--runtime", "mine"];
    let options = [&options[..], &["--annotation", pod]].concat();
    let call = world.isula_with("run", &options, &rootfs, &["true"]);
    call.ok()?;
    let said = std::fs::read_to_string(&log)?;
    for verb in ["create", "start", "delete"] {
        let called = said.lines().any(|line| {
            line.starts_with("--wrapped --root ") && line.split(' ').any(|word| word == verb)
        });
        ensure!(called, "{verb} in\n{said}");
    }
    let call = world.isula_with("run", &["--runtime", "mine"], &rootfs, &["true"]);
    call.code(125)?.expect_stderr(
        "--runtime \"mine\": no such runtime; install it, give its absolute path, or add it to \
         runtimes in /etc/isulad/daemon.json",
    )?;
    Ok(())
}

/// Ours speaks the same language.
fn own(world: &World) -> Result<()> {
    let program = tests::world::binaries()?.join("isula-runtime");
    life(world, program.to_str().context("a name")?)
}

fn refused(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let refuses = |options: &[&str], text: &str| -> Result<()> {
        let options = [&["--rm", "--runtime", "runc"], options].concat();
        world.isula_with("run", &options, &rootfs, &["true"]).code(125)?.expect_stderr(text)?;
        Ok(())
    };
    refuses(
        &["--system-container", "--ns-change-opt", "net"],
        "/proc/sys/net stays writable with isula's own runtime only, not with runc; drop \
         --ns-change-opt or --runtime",
    )?;
    refuses(
        &["--system-container", "--user-remap", "100000:100000:65536"],
        "belongs to the host's root, and runc cannot show it as the container's; chown it to the \
         mapped ids, or drop --runtime",
    )?;
    refuses(&["--hook-spec", "/no/such"], "/no/such")?;
    ensure!(!Path::new(&world.state()).join("runtime/.runc").exists(), "runc was asked");
    Ok(())
}

fn limits_on_v1(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let options = ["--rm", "--runtime", "runc", "--system-container", "-m", "64M"];
    world.isula_with("run", &options, &rootfs, &["true"]).code(125)?.expect_stderr(
        "on cgroup v1 runc lets a system container write the files of its own limits; drop the \
         limits or --runtime",
    )?;
    Ok(())
}
