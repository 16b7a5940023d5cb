//! One container's supervisor: see `engine_ext::shim`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match engine_ext::shim::run(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Its stderr is the caller's until there is a container, and /dev/null after that.
            let _ = writeln!(std::io::stderr(), "isula-shim: {error:#}");
            ExitCode::from(125)
        }
    }
}
