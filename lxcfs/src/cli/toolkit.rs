//! `lxcfs-toolkit`: put the daemon's files into running containers, take them away, look.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use linux::{
    mount::{self, Propagation},
    mountinfo::MountInfo,
};
use serde_json::json;
use ui::{
    exit::Exit,
    report::{self, Report},
    table::Table,
};

use crate::toolkit::{
    daemon::Daemon,
    discover::{self, Filter, Found},
    run::{self, Change, Outcome},
};

/// Some containers were done and some not.
const PARTLY: Exit = Exit(2);

/// Put the files of lxcfs into running containers
#[derive(Debug, Parser)]
#[command(name = "lxcfs-toolkit", version)]
pub struct Cli {
    /// Where lxcfs is mounted
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/lxc/lxcfs")]
    path: PathBuf,

    /// Runtime directory of lxcfs
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/lxcfs")]
    runtime_dir: PathBuf,

    /// Whose containers: isulad, docker, containerd, crio, podman, lxc, auto
    ///
    /// auto: those of isulad, and any that has files of lxcfs already.
    #[arg(long, global = true, value_name = "ENGINE", default_value = "auto")]
    runtime: Filter,

    /// Seconds a command may take (default: 30; check-lxcfs: 15)
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: Option<u64>,

    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,

    /// Append the log to a file instead of stderr
    #[arg(long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mount the files anew, with no moment without them
    Remount(Choice),
    /// Take the files away, whole stacks of them
    Umount(Choice),
    /// Say whether lxcfs answers: exit code 0 or 1
    CheckLxcfs(NoArguments),
    /// Make the directory above the mount a shared mount of its own
    Prestart(NoArguments),
    /// List containers, and how the daemon is
    Status(NoArguments),
}

#[derive(Debug, Args)]
struct Choice {
    /// Every container
    #[arg(short, long)]
    all: bool,

    /// One container, by id or the start of it
    #[arg(short, long, value_name = "ID")]
    container_id: Option<String>,

    /// Only mounts whose daemon will never answer again
    #[arg(long)]
    dead_only: bool,

    #[arg(hide = true)]
    extra: Vec<String>,
}

#[derive(Debug, Args)]
struct NoArguments {
    #[arg(hide = true)]
    extra: Vec<String>,
}

/// What `lxcfs-toolkit` does.
pub fn main() -> Report {
    match Cli::try_parse() {
        Ok(cli) => run(&cli),
        // Help and version are no errors; wrong usage was 1 in the predecessor, and scripts ask.
        Err(error) => {
            error.print().context("write to the terminal")?;
            Ok(if error.use_stderr() { Exit::FAILED } else { Exit::DONE })
        }
    }
}

fn run(cli: &Cli) -> Report {
    super::init_log(cli.log.as_deref(), None)?;
    let daemon = Daemon { mount: cli.path.clone(), runtime_dir: cli.runtime_dir.clone() };
    match &cli.command {
        Command::Remount(choice) => {
            check_choice("remount", choice)?;
            change(cli, &daemon, choice, Change::Remount)
        }
        Command::Umount(choice) => {
            check_choice("umount", choice)?;
            change(cli, &daemon, choice, Change::Umount)
        }
        Command::CheckLxcfs(arguments) => {
            check_none(arguments)?;
            let limit = cli.timeout.unwrap_or(15);
            if !daemon.is_ready_within(Duration::from_secs(limit)) {
                bail!("lxcfs is not ready");
            }
            say(cli, "lxcfs is running")
        }
        Command::Prestart(arguments) => {
            check_none(arguments)?;
            prestart(&daemon)?;
            say(cli, "prestart done")
        }
        Command::Status(arguments) => {
            check_none(arguments)?;
            status(cli, &daemon)
        }
    }
}

fn check_choice(command: &str, choice: &Choice) -> Result<()> {
    if !choice.extra.is_empty() {
        bail!("{command}: requires none args");
    }
    if !choice.all && choice.container_id.is_none() {
        bail!("You must choose at least one container");
    }
    if choice.all && choice.container_id.is_some() {
        bail!("--all and --container-id exclude each other");
    }
    Ok(())
}

fn check_none(arguments: &NoArguments) -> Result<()> {
    if !arguments.extra.is_empty() {
        bail!("don't need any args");
    }
    Ok(())
}

fn change(cli: &Cli, daemon: &Daemon, choice: &Choice, change: Change) -> Report {
    let limit = Duration::from_secs(cli.timeout.unwrap_or(30));
    if change == Change::Remount && !daemon.is_ready_within(limit.min(Duration::from_secs(15))) {
        bail!("lxcfs is not ready");
    }
    // An id says which container is meant, so its engine does not matter.
    let found = match &choice.container_id {
        Some(id) => vec![pick(id)?],
        None => discover::containers(cli.runtime)?,
    };
    let outcomes = run::all(daemon, found, change, choice.dead_only, limit);
    tell(cli, &outcomes)
}

fn pick(id: &str) -> Result<Found> {
    use discover::Engine;
    let engines = [
        Engine::Isulad,
        Engine::Docker,
        Engine::Containerd,
        Engine::Crio,
        Engine::Podman,
        Engine::Lxc,
        Engine::Unknown,
    ];
    let mut found = Vec::new();
    for engine in engines {
        found.extend(discover::containers(Filter::Only(engine))?);
    }
    discover::pick(&found, id).cloned().map_err(|cause| anyhow!(cause))
}

#[expect(clippy::print_stdout, reason = "the outcome is what was asked for")]
fn tell(cli: &Cli, outcomes: &[Outcome]) -> Report {
    if cli.json {
        println!("{}", serde_json::to_string(outcomes).context("write the outcome")?);
    }
    let errors: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| Some(anyhow!("{}: {}", outcome.id, outcome.error.as_ref()?)))
        .collect();
    let exit = match errors.len() {
        0 => return Ok(Exit::DONE),
        failed if failed == outcomes.len() => Exit::FAILED,
        _ => PARTLY,
    };
    let error = report::Many::check(errors).expect_err("there are errors");
    eprint(&report::text("lxcfs-toolkit", &error));
    Ok(exit)
}

#[expect(clippy::print_stderr, reason = "the exit code is ours to choose, so the text is too")]
fn eprint(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "the predecessor's words, which scripts look for")]
fn say(cli: &Cli, text: &str) -> Report {
    if cli.json {
        println!("{}", json!({ "message": text }));
    } else {
        println!("{text}");
    }
    Ok(Exit::DONE)
}

/// Makes the directory above the mount a shared mount, so that containers that have it as a slave
/// receive the daemon's mount whenever it comes. Dead mounts of the daemon go; a living one stays.
fn prestart(daemon: &Daemon) -> Result<()> {
    let parent = daemon.parent();
    std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    let tops = || -> Result<Vec<MountInfo>> {
        let mut mounts = linux::mountinfo::of_self()?;
        mounts.reverse();
        Ok(mounts)
    };
    let is_mounted =
        |path: &Path| -> Result<bool> { Ok(tops()?.iter().any(|mount| mount.mount_point == path)) };
    while is_mounted(&daemon.mount)? && !daemon.is_ready_within(Duration::from_secs(1)) {
        mount::detach(&daemon.mount)?;
    }
    std::fs::create_dir_all(&daemon.mount)
        .with_context(|| format!("make {}", daemon.mount.display()))?;
    if !is_mounted(parent)? {
        // With what is mounted below: the living daemon's mount stays in sight.
        let clone = mount::clone_tree_at(parent, true)?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let place = rustix::fs::open(parent, flags, rustix::fs::Mode::empty())
            .with_context(|| format!("open {}", parent.display()))?;
        mount::attach(&clone, &place)?;
    }
    let top = tops()?.into_iter().find(|mount| mount.mount_point == parent);
    if top.is_none_or(|mount| mount.propagation.shared.is_none()) {
        mount::set_propagation(parent, Propagation::Shared, false)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the status is what was asked for")]
fn status(cli: &Cli, daemon: &Daemon) -> Report {
    let limit = Duration::from_secs(cli.timeout.unwrap_or(2));
    let ready = daemon.is_ready_within(limit);
    let told = daemon.status();
    let found = discover::containers(cli.runtime)?;
    if cli.json {
        let containers: Vec<_> = found
            .iter()
            .map(|container| {
                json!({
                    "id": container.id,
                    "pid": container.pid.get(),
                    "runtime": container.engine.name(),
                    "mounts": container.mounts,
                })
            })
            .collect();
        let status = json!({ "ready": ready, "daemon": told.ok(), "containers": containers });
        println!("{status}");
        return Ok(if ready { Exit::DONE } else { Exit::FAILED });
    }
    println!("lxcfs is {}", if ready { "running" } else { "not ready" });
    match told {
        Ok(told) => {
            println!(
                "worker {} version {} reads {} restarts {} passthrough {}",
                told.worker, told.version, told.reads, told.restarts, told.passthrough
            );
            for (cause, count) in told.fallbacks.iter().filter(|(_, count)| *count > 0) {
                println!("host values shown: {cause} {count}");
            }
        }
        Err(error) => println!("no status: {error}"),
    }
    let mut table = Table::new(["CONTAINER", "PID", "RUNTIME", "MOUNTS"]);
    for container in &found {
        table.row([
            container.id.clone(),
            container.pid.to_string(),
            container.engine.name().to_owned(),
            container.mounts.to_string(),
        ]);
    }
    print!("{}", table.render());
    Ok(if ready { Exit::DONE } else { Exit::FAILED })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    fn refused(line: &[&str]) -> String {
        match Cli::try_parse_from([&["lxcfs-toolkit"], line].concat()) {
            Ok(cli) => format!("{:#}", run_checks(&cli).unwrap_err()),
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    fn run_checks(cli: &Cli) -> Result<()> {
        match &cli.command {
            Command::Remount(choice) => check_choice("remount", choice),
            Command::Umount(choice) => check_choice("umount", choice),
            Command::CheckLxcfs(none) | Command::Prestart(none) | Command::Status(none) => {
                check_none(none)
            }
        }
    }

    #[test]
    fn the_predecessors_words() {
        expect!["remount: requires none args"].assert_eq(&refused(&["remount", "-a", "x"]));
        expect!["umount: requires none args"].assert_eq(&refused(&["umount", "-a", "x"]));
        expect!["You must choose at least one container"].assert_eq(&refused(&["remount"]));
        expect!["don't need any args"].assert_eq(&refused(&["check-lxcfs", "x"]));
        expect!["--all and --container-id exclude each other"]
            .assert_eq(&refused(&["umount", "-a", "-c", "ab"]));
        expect![[r#"error: invalid value 'rkt' for '--runtime <ENGINE>': unknown runtime "rkt"; write isulad, docker, containerd, crio, podman, lxc or auto"#]]
            .assert_eq(&refused(&["--runtime", "rkt", "status"]));
    }
}
