//! The life of containers, against the kernel at hand.
//!
//! A case runs in a process of its own: single-threaded, sealed as every user of the library, in
//! new mount, network and IPC namespaces with a tmpfs on /mnt. What it leaves behind in cgroups
//! fails it. Without root every case is ignored, and says so.

#![expect(
    clippy::unwrap_used,
    clippy::exit,
    clippy::print_stderr,
    reason = "a test without the harness by which clippy would know it as one"
)]

mod cgroup_mounts;
mod console;
mod crash;
mod escape;
mod hidden;
mod hooks;
mod ids;
mod life;
mod limits;
mod mounts;
mod namespaces;
mod refuse;
mod system;
mod world;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use linux::CloneFlags;
use linux::cgroup::{Cgroup, CgroupPath, Layout};
use linux::mount::{Attributes, Propagation};

/// What a case is called and does.
type Case = (&'static str, fn());

/// The cases of a file, by their functions' names.
#[macro_export]
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[$crate::Case] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}

/// Tells the process which case it is.
const CASE: &str = "RUNTIME_TEST_CASE";

/// Tells the process that it is the victim of `escape`.
pub(crate) const LINGER: &str = "RUNTIME_TEST_LINGER";

/// Begins the names of the case's cgroups.
pub(crate) const CGROUPS: &str = "RUNTIME_TEST_CGROUPS";

/// The exit status of a case that could not be tried.
const SKIPPED: i32 = 77;

fn main() -> ExitCode {
    let cases: Vec<Case> = [
        cgroup_mounts::CASES,
        console::CASES,
        crash::CASES,
        escape::CASES,
        hidden::CASES,
        hooks::CASES,
        ids::CASES,
        life::CASES,
        limits::CASES,
        mounts::CASES,
        namespaces::CASES,
        refuse::CASES,
        system::CASES,
    ]
    .concat();
    if std::env::var_os(LINGER).is_some() {
        // An image has made the kernel run us in a container: long enough to be looked at.
        let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        let _ = rustix::event::poll(&mut [], Some(&second));
        return ExitCode::SUCCESS;
    }
    if let Ok(id) = std::env::var(escape::VICTIM) {
        runtime::exe::seal("runtime-test").unwrap();
        escape::run_victim(&id);
        return ExitCode::SUCCESS;
    }
    if let Ok(wanted) = std::env::var(CASE) {
        runtime::exe::seal("runtime-test").unwrap();
        let (_, case) = cases.iter().find(|(name, _)| *name == wanted).expect("a known case");
        isolate();
        case();
        return ExitCode::SUCCESS;
    }
    let trials = cases
        .into_iter()
        .map(|(name, _)| {
            Trial::ignorable_test(name.trim_start_matches("life::"), move || {
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
    let tmpfs = linux::mount::new_filesystem("tmpfs", None, &[], &Attributes::default()).unwrap();
    linux::mount::attach(tmpfs, std::fs::File::open("/mnt").unwrap()).unwrap();
}

/// Runs a case in a process of its own.
fn run(name: &str) -> Result<Completion, Failed> {
    // The dot at its end tells it from the case whose name is longer.
    let prefix = format!("sysc-runtime-{}-{}.", std::process::id(), name.replace("::", "-"));
    let output = Command::new("/proc/self/exe")
        .arg0("runtime-test")
        .env(CASE, name)
        .env(CGROUPS, &prefix)
        .output()
        .map_err(|error| format!("start: {error}"))?;
    let left = clean_up(&prefix);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    match output.status.code() {
        Some(0) if left.is_empty() => Ok(Completion::Completed),
        Some(0) => Err(format!("left behind: {left:?}\n{text}").into()),
        Some(SKIPPED) => Ok(Completion::ignored_with(text)),
        _ => Err(format!("{}\n{text}", output.status).into()),
    }
}

/// Ends what a case left in cgroups of its prefix, and names them.
fn clean_up(prefix: &str) -> Vec<PathBuf> {
    let layout = Layout::detect().unwrap();
    let mut left = Vec::new();
    for hierarchy in layout.hierarchies() {
        for entry in std::fs::read_dir(&hierarchy.mount_point).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap_or_default();
            if !name.starts_with(prefix) {
                continue;
            }
            left.push(hierarchy.mount_point.join(&name));
            if let Ok(cgroup) = Cgroup::open(&layout, &CgroupPath::parse(&name).unwrap()) {
                let _ = cgroup.kill_all(Duration::from_secs(5));
                let _ = cgroup.remove(Duration::from_secs(5));
            }
        }
    }
    left
}

/// Ends the running case: this machine lacks something.
pub(crate) fn skip(reason: &str) -> ! {
    eprintln!("{reason}");
    std::process::exit(SKIPPED);
}
