//! Gives a container that starts the files of lxcfs.

use std::process::ExitCode;

fn main() -> ExitCode {
    ui::report::run("lxcfs-hook", hooks::lxcfs::main)
}
