//! Replays a container's record before it starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    ui::report::run("syscontainer-hooks", hooks::cli::main)
}
