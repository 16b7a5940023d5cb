//! The stories. `--stress` tells the long ones; a filter is a part of a name.

#![forbid(unsafe_code)]

use std::process::ExitCode;

mod world;

fn main() -> ExitCode {
    tests::warden::guard(|| tests::runner::run([world::stories()].concat()))
}
