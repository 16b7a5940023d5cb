//! The `isula` command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ui::run("isula", engine_ext::cli::main)
}
