//! Puts the daemon's files into running containers.

use std::process::ExitCode;

fn main() -> ExitCode {
    ui::report::run("lxcfs-toolkit", lxcfs::cli::toolkit::main)
}
