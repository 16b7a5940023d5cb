//! `cargo xtask bench`: builds for release and hands over to `tests/src/bin/bench`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
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
    /// Rounds of the system's boot, 15 if nothing is said (start)
    #[arg(long)]
    boots: Option<u32>,
    /// A peer to do without: floor, isula, crun, runc, ...
    #[arg(long)]
    without: Vec<String>,
    /// Where to write, instead of docs/perf/DATE-HOST
    #[arg(long)]
    output: Option<PathBuf>,
}

/// How often a system boots when nobody says.
const BOOTS: u32 = 15;

/// Options of one benchmark that another would pass over.
fn check(args: &Args) -> Result<()> {
    for (option, is_given) in
        [("--boots", args.boots.is_some()), ("--without", !args.without.is_empty())]
    {
        let what = &args.what;
        ensure!(
            what == "start" || !is_given,
            "bench {what}: {option} is for bench start; leave it out"
        );
    }
    Ok(())
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    check(args)?;
    ensure!(rustix::process::geteuid().is_root(), "bench: not root; run it as root");
    packages::install(&[packages::BUILD, packages::ROOTFS, packages::TESTS, packages::PEERS])?;
    let host = step::output(Command::new("uname").arg("-n"))?;
    let date = step::output(Command::new("date").args(["-u", "+%F"]))?;
    let kind = if args.what == "start" { "" } else { &args.what };
    // A machine may be without a name.
    let words = [date.trim(), host.trim(), kind].into_iter().filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    let output = args.output.clone().unwrap_or_else(|| step::root().join("docs/perf").join(name));
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
    let binaries = installed(&target::release()?)?;
    let debian = rootfs::get()?;
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    // In place of this process: an interrupt then reaches the one that cleans up.
    let mut bench = Command::new(binaries.join("bench"));
    bench.current_dir(step::root()).env("SYSC_BIN", &binaries).env("SYSC_DEBIAN", debian);
    bench
        .arg(&args.what)
        .arg(output)
        .args([args.rounds, args.boots.unwrap_or(BOOTS)].map(|count| count.to_string()));
    bench.arg(format!("cargo xtask {command}")).args(&args.without);
    Err(bench.exec()).context("start the benchmark")
}

/// Copies the tools, as a package manager does that installs them, and returns where they are.
///
/// The linker writes through a mapping, which leaves single pages in the page cache; what is written
/// in large pieces is there in large folios, of which a page fault maps all that are near. Linux
/// 6.18, ext4: a start from the one has 307 page faults, from the other 273, and takes 6% less time.
fn installed(binaries: &Path) -> Result<PathBuf> {
    let directory = binaries.join("installed");
    std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    for entry in binaries.read_dir().with_context(|| format!("list {}", binaries.display()))? {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if from.is_file()
            && from.extension().is_none()
            && !name.as_encoded_bytes().starts_with(b".")
        {
            let text = std::fs::read(&from).with_context(|| format!("read {}", from.display()))?;
            let to = directory.join(name);
            // Whoever still runs an older one keeps it.
            let _ = std::fs::remove_file(&to);
            std::fs::write(&to, text)
                .and_then(|()| std::fs::set_permissions(&to, from.metadata()?.permissions()))
                .with_context(|| format!("write {}", to.display()))?;
        }
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_another_benchmark_are_refused() {
        let args = |what: &str, boots, without: &[&str]| Args {
            what: what.to_owned(),
            rounds: 1,
            boots,
            without: without.iter().map(|&name| name.to_owned()).collect(),
            output: None,
        };
        let text = |args: Args| check(&args).unwrap_err().to_string();
        assert!(check(&args("start", Some(2), &["runc"])).is_ok());
        assert!(check(&args("hotplug", None, &[])).is_ok());
        assert_eq!(
            text(args("hotplug", None, &["floor"])),
            "bench hotplug: --without is for bench start; leave it out"
        );
        assert_eq!(
            text(args("lxcfs", Some(2), &[])),
            "bench lxcfs: --boots is for bench start; leave it out"
        );
    }
}
