//! containerd by its own command line. `ctr` has no logs, no cp and no update; a restart is a new
//! task of the same container.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::{Call, Terminal, World, wait};

use super::{Daemon, host, last_words, program};

/// Without the interface that needs an image to pause.
pub(crate) const NO_CRI: &str = "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]";

/// `ctr`, up to its words.
pub(crate) type Ctr<'w> = dyn Fn(&[&str]) -> Call + 'w;

/// Runs `story` with a containerd of its own; `plugins` is a part of its configuration.
pub(crate) fn with_containerd(
    world: &World,
    plugins: &str,
    story: impl FnOnce(&Ctr<'_>) -> Result<()>,
) -> Result<()> {
    let config = world.path("containerd.toml");
    let text = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\n{plugins}\n[grpc]\naddress = {:?}\n",
        world.path("containerd"),
        host(world)?.join("run/containerd"),
        world.path("containerd.sock")
    );
    fs::write(&config, text)?;
    let log = world.path("containerd.log");
    let daemon = Daemon::start(&world.tool("containerd").arg("-c").arg(&config), &log)?;
    let ctr = |words: &[&str]| {
        world.tool("ctr").arg("--address").arg(world.path("containerd.sock")).args(words)
    };
    wait::until("containerd answers", Duration::from_secs(30), || {
        Ok(ctr(&["version"]).output()?.status.success().then_some(()))
    })?;
    let told = story(&ctr);
    told.map_err(|error| error.context(last_words("containerd", &log)))?;
    daemon.stop()
}

pub(crate) fn ctr_run(world: &World, ctr: &Ctr<'_>, words: &[&str]) -> Result<Call> {
    let program = program()?;
    let cgroup = format!("/{}/{}", world.name(), words.len());
    Ok(ctr(&["run", "--runc-binary"]).arg(program).args(["--cgroup", &cgroup]).args(words))
}

fn state(ctr: &Ctr<'_>, name: &str) -> Result<String> {
    Ok(column(ctr, name, 2)?.unwrap_or_else(|| "gone".to_owned()))
}

/// Name, pid and state of a task.
fn column(ctr: &Ctr<'_>, name: &str, number: usize) -> Result<Option<String>> {
    let output = ctr(&["task", "ls"]).ok()?;
    let line = output.stdout.lines().find(|line| line.starts_with(&format!("{name} ")));
    Ok(line.and_then(|line| line.split_whitespace().nth(number)).map(str::to_owned))
}

/// Waits until systemd takes its signals from a signalfd(2), as it blocks them for it: before that
/// the kernel drops what an init is sent and has no handler for (kernel/signal.c, sig_ignored()).
fn hears(ctr: &Ctr<'_>, name: &str) -> Result<()> {
    const SHUT_DOWN: u64 = 1 << (34 + 3 - 1);
    let pid = column(ctr, name, 1)?.context("it has a pid")?;
    wait::until("systemd hears its signals", Duration::from_secs(30), || {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let blocked = u64::from_str_radix(blocked.unwrap_or_default().trim(), 16)?;
        Ok((blocked & SHUT_DOWN != 0).then_some(()))
    })
}

/// Every verb on a container that runs; `processes` of it are the least there are.
fn verbs(ctr: &Ctr<'_>, name: &str, processes: usize) -> Result<()> {
    let exec = ctr(&["task", "exec", "--exec-id", "x", name, "sh", "-c", "echo in; exit 5"]);
    ensure!(exec.code(5)?.stdout == "in\n");
    // ctr gives up on the output of a program that ends before ctr has asked for its size.
    let stays = ["task", "exec", "-t", "--exec-id", "t", name, "sh", "-c", "tty; read line"];
    let mut terminal = Terminal::start(&ctr(&stays))?;
    terminal.expect("/dev/pts/")?;
    terminal.send("\n")?;
    terminal.code(0)?;
    ensure!(state(ctr, name)? == "RUNNING", "it is {}", state(ctr, name)?);
    let listed = ctr(&["task", "ps", name]).ok()?;
    ensure!(listed.stdout.lines().count() > processes, "{listed}");
    ctr(&["task", "pause", name]).ok()?;
    ensure!(state(ctr, name)? == "PAUSED", "it is {}", state(ctr, name)?);
    ctr(&["task", "resume", name]).ok()?;
    ensure!(ctr(&["task", "metrics", name]).ok()?.stdout.contains("memory"));
    Ok(())
}

fn end(ctr: &Ctr<'_>, name: &str, signal: &str) -> Result<()> {
    ctr(&["task", "kill", "-s", signal, name]).ok()?;
    wait::until("it is down", Duration::from_secs(30), || {
        Ok((state(ctr, name)? != "RUNNING").then_some(()))
    })?;
    ctr(&["task", "rm", name]).output()?;
    Ok(())
}

/// A new task of the same container, ten times.
fn restart(ctr: &Ctr<'_>, name: &str, signal: &str) -> Result<()> {
    for _ in 0..10 {
        if signal != "SIGKILL" {
            hears(ctr, name)?;
        }
        end(ctr, name, signal)?;
        ctr(&["task", "start", "-d", name]).ok()?;
        ensure!(state(ctr, name)? == "RUNNING", "it is {}", state(ctr, name)?);
    }
    Ok(())
}

pub(super) fn daily(world: &World) -> Result<()> {
    let rootfs = world.busybox()?.to_string_lossy().into_owned();
    with_containerd(world, NO_CRI, |ctr| {
        let run = |words: &[&str]| ctr_run(world, ctr, words);
        let output = run(&["--rm", "--rootfs", &rootfs, "a", "sh", "-c", "echo out; exit 4"])?;
        let output = output.code(4)?;
        ensure!(output.stdout == "out\n", "{output}");
        run(&["-d", "--rootfs", &rootfs, "b", "sleep", "1000"])?.ok()?;
        verbs(ctr, "b", 1)?;
        restart(ctr, "b", "SIGKILL")?;
        end(ctr, "b", "SIGKILL")?;
        ctr(&["containers", "rm", "b"]).ok()?;
        Ok(())
    })
}

pub(super) fn boots(world: &World) -> Result<()> {
    let rootfs = world.debian()?.to_string_lossy().into_owned();
    with_containerd(world, NO_CRI, |ctr| {
        let annotation = "org.isula.system-container=true";
        let words = ["-d", "--annotation", annotation, "--rootfs", &rootfs, "s", "/sbin/init"];
        ctr_run(world, ctr, &words)?.ok()?;
        let up = |ctr: &Ctr<'_>| {
            let mut count = 0;
            wait::until("systemd is running", Duration::from_secs(60), || {
                count += 1;
                let words = ["s", "systemctl", "is-system-running"];
                let exec = ctr(&["task", "exec", "--exec-id", &format!("x{count}")]).args(words);
                Ok((exec.output()?.stdout.trim() == "running").then_some(()))
            })
        };
        up(ctr)?;
        verbs(ctr, "s", 3)?;
        // SIGTERM, which systemd would take for "execute yourself again".
        restart(ctr, "s", "SIGTERM")?;
        up(ctr)?;
        end(ctr, "s", "SIGTERM")?;
        ctr(&["containers", "rm", "s"]).ok()?;
        Ok(())
    })
}
