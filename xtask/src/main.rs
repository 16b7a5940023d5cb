//! The project's own commands: `cargo xtask demo`, `test`, `vm`, `bench`, `tidy`, `man`.
//!
//! Each prints what it does as it starts it, with the seconds since it was called.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod cache;
mod demo;
#[cfg(feature = "cli")]
mod man;
mod packages;
mod rootfs;
mod step;
mod target;
mod test;
#[cfg(feature = "cli")]
mod tidy;
mod vm;

/// Builds, shows and checks this project
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Boot a Debian with systemd in a container and show it
    ///
    /// Installs what is missing from Debian's packages, builds the tools, makes a Debian rootfs
    /// (once) and boots it: services, log, reboot, stop, with the time of each. Needs root.
    Demo,
    /// Run every check and test
    Test(test::Args),
    /// Run the end-to-end tests, or a command, in a virtual machine
    ///
    /// The guest is a Debian with systemd as init and the unified cgroup hierarchy alone. Needs root.
    Vm(vm::Args),
    /// Measure, beside crun and runc
    ///
    /// Writes docs/perf/DATE-HOST/. Needs root, and the peers unless told to do without one.
    Bench(bench::Args),
    /// Check the rules of this repository that no compiler checks
    Tidy,
    /// Write the manual pages of the tools to docs/man
    Man,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Demo => demo::run(),
        Task::Test(args) => test::run(&args),
        Task::Vm(args) => vm::run(&args),
        Task::Bench(args) => bench::run(&args),
        #[cfg(feature = "cli")]
        Task::Tidy => tidy::run(),
        #[cfg(feature = "cli")]
        Task::Man => man::run(),
        #[cfg(not(feature = "cli"))]
        Task::Tidy => with_command_lines("tidy"),
        #[cfg(not(feature = "cli"))]
        Task::Man => with_command_lines("man"),
    };
    result.unwrap_or_else(|error| {
        step::say(&format!("xtask: {error:#}"));
        ExitCode::FAILURE
    })
}

/// The same task with the command lines of the tools compiled in, and what they link installed.
#[cfg(not(feature = "cli"))]
fn with_command_lines(task: &str) -> anyhow::Result<ExitCode> {
    packages::install(&[packages::BUILD])?;
    let mut cargo = step::cargo();
    cargo.args(["run", "--quiet", "--package", "xtask", "--features", "cli", "--", task]);
    let status = cargo.status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
