//! The daemon: holder, and by a hidden flag worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    ui::report::run("lxcfs", lxcfs::cli::daemon::main)
}
