//! The daemon and its toolkit against the real kernel: stories in namespaces and cgroups of their
//! own. Needs root and /dev/fuse; without them every story is ignored, and says so.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where its world is not as it should be, and says so"
)]

mod cpu;
mod guest;
mod identity;
mod manager;
mod memory;
mod peer;
mod readers;
mod robust;
mod semantics;
mod toolkit;
mod values;
mod world;

use libtest_mimic::{Arguments, Trial};

/// What a story needs of the machine; the first that is missing is why it is ignored.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    if !std::path::Path::new("/dev/fuse").exists() {
        return Some("needs /dev/fuse");
    }
    None
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == readers::MODE) {
        return readers::main(&args[1..]);
    }
    // The long stories instead of the others, as for the other end-to-end tests.
    let (flags, args): (Vec<_>, Vec<_>) = std::env::args_os().partition(|arg| arg == "--stress");
    let mut arguments = Arguments::from_iter(args);
    // Stories measure time and share the machine's processors.
    arguments.test_threads.get_or_insert(2);
    let stories: &[&[Story]] = if flags.is_empty() {
        &[
            memory::STORIES,
            cpu::STORIES,
            values::STORIES,
            identity::STORIES,
            semantics::STORIES,
            robust::STORIES,
            manager::STORIES,
            toolkit::STORIES,
            peer::STORIES,
        ]
    } else {
        &[robust::STRESS, identity::STRESS, cpu::STRESS, toolkit::STRESS]
    };
    let trials = stories.iter().copied().flatten().map(|&(name, story)| {
        let trial = Trial::test(name, move || {
            // A thread of its own: it unshares its mount namespace for good.
            let outcome = std::thread::spawn(story).join();
            outcome.map_err(|panic| {
                let text = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                text.unwrap_or_else(|| "panicked".into()).into()
            })
        });
        trial.with_ignored_flag(missing().is_some())
    });
    if let Some(reason) = missing() {
        eprintln!("every story is ignored: {reason}");
    }
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Name and body.
type Story = (&'static str, fn());
