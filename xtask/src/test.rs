//! `cargo xtask test`: every check and test, and one line that counts them.

use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Result, anyhow};

use crate::{packages, rootfs, step};

/// What `test` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose name contains this, and no other checks
    filter: Option<String>,
    /// Tell the long end-to-end stories too: many starts, many at once
    #[arg(long)]
    stress: bool,
}

/// What has been counted so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Names of what failed, reasons of what was skipped.
    failures: Vec<String>,
    skips: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    step::step("looking for the packages this needs");
    packages::install(&[packages::BUILD, packages::ROOTFS, packages::TESTS, packages::ENGINES])?;
    // While the compiler works, mmdebstrap mostly waits for the network and the disk.
    let debian = rustix::process::geteuid().is_root().then(|| thread::spawn(rootfs::get));

    let mut tally = Tally::default();
    if args.filter.is_none() {
        tally.check("formatting", step::cargo().args(["fmt", "--all", "--check"]))?;
        tally.check(
            "clippy",
            step::cargo()
                .args(["clippy", "--quiet", "--workspace", "--all-targets", "--all-features"])
                .args(["--", "--deny", "warnings"]),
        )?;
        tally.check(
            "documentation",
            step::cargo()
                .args(["doc", "--quiet", "--workspace", "--no-deps", "--all-features"])
                .env("RUSTDOCFLAGS", "--deny warnings"),
        )?;
    }
    tally.check(
        "build",
        step::cargo().args(["build", "--quiet", "--workspace", "--all-features"]),
    )?;
    let filter: Vec<&str> = args.filter.iter().map(String::as_str).collect();
    tally.tests(
        "tests of the crates",
        step::cargo()
            .args(["test", "--quiet", "--workspace", "--exclude", "tests", "--all-features"])
            .args(["--no-fail-fast", "--"])
            .args(&filter),
    )?;

    let mut end_to_end = step::cargo();
    end_to_end.args(["test", "--package", "tests", "--no-fail-fast", "--"]);
    let debian = debian.map(|made| made.join().map_err(|_| anyhow!("the rootfs maker panicked")));
    let debian = debian.transpose()?.transpose()?.map(|rootfs| ("SYSC_DEBIAN", rootfs));
    end_to_end.args(&filter).envs(debian.clone());
    tally.tests("end to end", &mut end_to_end)?;
    if args.stress {
        for package in ["tests", "lxcfs"] {
            let mut stress = step::cargo();
            stress.args(["test", "--package", package, "--test", "e2e", "--", "--stress"]);
            stress.args(&filter).envs(debian.clone());
            tally.tests("end to end, the long stories", &mut stress)?;
        }
    }
    Ok(tally.report())
}

impl Tally {
    /// A check that passes or fails as a whole.
    fn check(&mut self, what: &str, command: &mut Command) -> Result<()> {
        step::step(&format!("{what}: {}", step::shown(command)));
        if command.status()?.success() {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(what.to_owned());
        }
        Ok(())
    }

    /// A command that runs tests and says so in the words of Rust's test harness.
    fn tests(&mut self, what: &str, command: &mut Command) -> Result<()> {
        step::step(&format!("{what}: {}", step::shown(command)));
        let before = self.failed;
        let status = step::watched(command, |line| self.read(line))?;
        if !status.success() && self.failed == before {
            self.failed += 1;
            self.failures.push(format!("{what}: {}", step::shown(command)));
        }
        Ok(())
    }

    /// Reads one line of a test harness's output.
    fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |word: &str| {
                counts
                    .split([';', '.'])
                    .find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
            };
            self.passed += count("passed").unwrap_or(0);
            self.failed += count("failed").unwrap_or(0);
            self.skipped += count("ignored").unwrap_or(0);
        } else if let Some(name) = line.strip_prefix("---- ") {
            let name = name.trim_end_matches(" stdout ----").trim_end_matches(" ----");
            self.failures.push(name.to_owned());
        } else if let Some(skip) = line.strip_prefix("skipped: ") {
            self.skips.push(skip.to_owned());
        }
    }

    /// The summary; its last line is the count.
    fn report(&self) -> ExitCode {
        step::step("done");
        self.skips.iter().for_each(|skip| step::say(&format!("skipped: {skip}")));
        self.failures.iter().for_each(|failure| step::say(&format!("failed: {failure}")));
        step::say(&format!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        ));
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_failures_and_skips_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "test a ... ok",
            "test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 1 filtered out; finished",
            "---- host::story stdout ----",
            "---- world::story ----",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            "skipped: run::with_crun: needs crun: run crun: not found",
        ] {
            tally.read(line);
        }
        assert_eq!((tally.passed, tally.failed, tally.skipped), (6, 2, 2));
        assert_eq!(tally.failures, ["host::story", "world::story"]);
        assert_eq!(tally.skips, ["run::with_crun: needs crun: run crun: not found"]);
    }
}
