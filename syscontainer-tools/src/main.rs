//! Adds to running containers, and remembers it.

use std::process::ExitCode;

fn main() -> ExitCode {
    syscontainer_tools::cli::main()
}
