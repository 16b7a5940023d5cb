//! Each wrapper against the kernel at hand, looked at by another program or through another file.
//!
//! A test runs in a process of its own that has one thread (fork needs that) and new mount,
//! network and IPC namespaces, so whatever it mounts or leaves is gone when it ends. Without root
//! every test is ignored, and says so.

#![expect(
    clippy::unwrap_used,
    clippy::exit,
    reason = "a test without the harness by which clippy would know it as one"
)]

mod block;
mod cgroup;
#[cfg(feature = "fault-injection")]
mod fault;
mod fork;
mod fsids;
mod mount;
mod netlink;
mod ns;
mod process;
mod root;
mod seccomp;
mod session;
mod uevent;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use linux::CloneFlags;
use linux::mount::Propagation;

/// What a test is called and does.
type Case = (&'static str, fn());

/// The cases of a file, by their functions' names.
#[macro_export]
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[$crate::Case] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}

/// Tells the child which case it is.
const CASE: &str = "LINUX_KERNEL_TEST";

/// The exit status of a case that could not be tried.
const SKIPPED: u8 = 77;

/// Unwinds a case that could not be tried, so that what it made is taken away.
struct Skipped;

fn main() -> ExitCode {
    let cases: Vec<Case> = [
        block::CASES,
        #[cfg(feature = "fault-injection")]
        fault::CASES,
        fork::CASES,
        fsids::CASES,
        mount::CASES,
        netlink::CASES,
        ns::CASES,
        process::CASES,
        root::CASES,
        seccomp::CASES,
        session::CASES,
        uevent::CASES,
        &cgroup::cases(),
    ]
    .concat();
    if let Ok(wanted) = std::env::var(CASE) {
        let (_, case) = cases.iter().find(|(name, _)| *name == wanted).expect("a known case");
        isolate();
        return match std::panic::catch_unwind(case) {
            Ok(()) => ExitCode::SUCCESS,
            Err(payload) if payload.is::<Skipped>() => ExitCode::from(SKIPPED),
            Err(payload) => std::panic::resume_unwind(payload),
        };
    }
    let trials = cases
        .into_iter()
        .map(|(name, _)| {
            let shown = name.trim_start_matches("kernel::");
            Trial::ignorable_test(shown, move || {
                if rustix::process::geteuid().is_root() {
                    run(name)
                } else {
                    Ok(Completion::ignored_with("not root"))
                }
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn isolate() {
    linux::ns::unshare(CloneFlags::NEWNS | CloneFlags::NEWNET | CloneFlags::NEWIPC).unwrap();
    linux::mount::set_propagation("/", Propagation::Slave, true).unwrap();
    linux::mount::attach(tmpfs(), std::fs::File::open("/mnt").unwrap()).unwrap();
}

/// A detached tmpfs.
pub(crate) fn tmpfs() -> std::os::fd::OwnedFd {
    linux::mount::new_filesystem("tmpfs", None, &[], &linux::mount::Attributes::default()).unwrap()
}

/// Runs a case in a process of its own.
fn run(name: &str) -> Result<Completion, Failed> {
    let output = Command::new("/proc/self/exe")
        .env(CASE, name)
        .output()
        .map_err(|error| format!("start: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    match output.status.code() {
        Some(0) => Ok(Completion::Completed),
        Some(code) if code == i32::from(SKIPPED) => Ok(Completion::ignored_with(text)),
        _ => Err(format!("{}\n{text}", output.status).into()),
    }
}

/// Ends the running case: this machine lacks something.
pub(crate) fn skip(reason: &str) -> ! {
    std::io::Write::write_all(&mut std::io::stderr(), reason.as_bytes()).unwrap();
    std::panic::resume_unwind(Box::new(Skipped));
}

/// What another program says.
pub(crate) fn tell(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap().trim_end().to_owned()
}
