//! `Runtime::exec` against a real kernel: containers of one static busybox, made and entered by
//! this program itself, which therefore has one thread.

mod sandbox;
mod stories;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Err(error) = sandbox::prepare() {
        // A harness of its own has no other way to say so.
        let trial = Trial::test("exec", move || Err(error.into()));
        return libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code();
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, stories::all()).exit_code()
}
