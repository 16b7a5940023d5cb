//! `cargo xtask bench`: builds for release and hands over to `tests/src/bin/bench`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::{packages, rootfs, step, target};

/// A round of reads takes half a minute; more than these change no median.
const LXCFS_ROUNDS: u32 = 5;

/// What `bench` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure: the start of a container, a read from lxcfs, or what isulad-tools does
    #[arg(value_parser = ["start", "lxcfs", "hotplug"])]
    what: String,
    /// Rounds of the short work
    #[arg(long, default_value_t = 25)]
    rounds: u32,
    /// Rounds of the system's boot
    #[arg(long, default_value_t = 15)]
    boots: u32,
    /// A peer to do without: isula, crun, runc
    #[arg(long)]
    without: Vec<String>,
    /// Where to write, instead of docs/perf/DATE-HOST
    #[arg(long)]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(rustix::process::geteuid().is_root(), "bench: not root; run it as root");
    packages::install(&[packages::BUILD, packages::ROOTFS, packages::TESTS, packages::PEERS])?;
    let host = step::output(Command::new("uname").arg("-n"))?;
    let date = step::output(Command::new("date").args(["-u", "+%F"]))?;
    let kind = if args.what == "start" { String::new() } else { format!("-{}", args.what) };
    let name = format!("docs/perf/{}-{}{kind}", date.trim(), host.trim());
    let output = args.output.clone().unwrap_or_else(|| step::root().join(name));
    if args.what == "lxcfs" {
        let output = std::path::absolute(output)?;
        let bench = || {
            let mut bench = step::cargo();
            bench.args(["bench", "--package", "lxcfs", "--bench", "peers", "--"]);
            bench
        };
        step::run(bench().arg(&output).arg(args.rounds.min(LXCFS_ROUNDS).to_string()))?;
        return Err(bench().arg("--scale").arg(output).exec()).context("start the benchmark");
    }
    step::step("building the tools (release)");
    let binaries = target::release()?;
    let debian = rootfs::get()?;
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    // In place of this process: an interrupt then reaches the one that cleans up.
    let mut bench = Command::new(binaries.join("bench"));
    bench.current_dir(step::root()).env("SYSC_BIN", &binaries).env("SYSC_DEBIAN", debian);
    bench
        .arg(&args.what)
        .arg(output)
        .args([args.rounds, args.boots].map(|count| count.to_string()));
    bench.arg(format!("cargo xtask {command}")).args(&args.without);
    Err(bench.exec()).context("start the benchmark")
}
