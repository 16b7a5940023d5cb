//! A shim with a real container: busybox in namespaces of its own.
//!
//! A test runs in a process of its own with new mount and network namespaces, its state on a
//! tmpfs there and its cgroups below a parent of its own. Without root, or without a static
//! busybox, every test is ignored, and says so.

#![expect(
    clippy::unwrap_used,
    reason = "a test without the harness by which clippy would know it as one"
)]

mod attach;
mod console;
mod life;
mod restart;
mod stop;
mod stress;
mod world;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use linux::CloneFlags;
use linux::mount::{Attributes, Propagation};

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
const CASE: &str = "SHIM_TEST";

fn main() -> ExitCode {
    if let Some(code) = attach::client() {
        return code;
    }
    let cases: Vec<Case> =
        [attach::CASES, console::CASES, life::CASES, restart::CASES, stop::CASES, stress::CASES]
            .concat();
    if let Ok(wanted) = std::env::var(CASE) {
        let (_, case) = cases.iter().find(|(name, _)| *name == wanted).expect("a known case");
        isolate();
        case();
        return ExitCode::SUCCESS;
    }
    let trials = cases
        .into_iter()
        .map(|(name, _)| {
            let shown = name.trim_start_matches("shim::");
            Trial::ignorable_test(shown, move || match missing() {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => run(name).map(|()| Completion::Completed),
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root");
    }
    world::busybox().is_none().then_some("no static busybox")
}

fn isolate() {
    linux::ns::unshare(CloneFlags::NEWNS | CloneFlags::NEWNET).unwrap();
    linux::mount::set_propagation("/", Propagation::Slave, true).unwrap();
    let tmpfs = linux::mount::new_filesystem("tmpfs", None, &[], &Attributes::default()).unwrap();
    linux::mount::attach(tmpfs, std::fs::File::open("/mnt").unwrap()).unwrap();
    // A hook may only lie where nobody else can write.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions("/mnt", mode).unwrap();
}

/// Runs a case in a process of its own.
fn run(name: &str) -> Result<(), Failed> {
    let output = Command::new("/proc/self/exe")
        .env(CASE, name)
        .output()
        .map_err(|error| format!("start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&text)).into())
}
