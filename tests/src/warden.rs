//! The three processes of a test run, so that whatever ends it leaves nothing behind.
//!
//! ```text
//! e2e (warden)            blocks SIGINT and SIGTERM, removes cgroups and directory at the end
//! '- unshare(1)           a pid and a mount namespace
//!    '- e2e (init)        pid 1 there: reaps, and takes everything with it when it ends
//!       '- e2e (runner)   the tests
//! ```
//!
//! The init's stdin is a pipe from the warden: its end is the order to stop, also if the warden
//! was killed outright.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use rustix::mount::{MountFlags, mount};
use rustix::process::WaitOptions;

use crate::{leaks, processes, wait};

const ROLE: &str = "SYSC_TESTS_ROLE";
const DIRECTORY: &str = "SYSC_TESTS_DIRECTORY";
/// What every cgroup and directory of every run begins with.
const PREFIX: &str = "sysc-test-";

/// Runs `run` under a warden if there is something to guard: as root.
pub fn guard(run: impl FnOnce() -> ExitCode) -> ExitCode {
    let result = match std::env::var(ROLE).as_deref() {
        Ok("init") => init(),
        Ok("runner") => return run(),
        _ if !rustix::process::geteuid().is_root() => return run(),
        _ => warden(),
    };
    result.unwrap_or_else(|error| {
        crate::runner::say(&format!("e2e: {error:#}"));
        ExitCode::FAILURE
    })
}

/// The directory of this run: a tmpfs that only its processes see.
pub fn directory() -> Result<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from).context("not under the warden")
}

fn warden() -> Result<ExitCode> {
    sweep()?;
    let name = format!("{PREFIX}{}", std::process::id());
    let directory = std::env::temp_dir().join(&name);
    std::fs::create_dir(&directory)
        .with_context(|| format!("make the directory {}", directory.display()))?;

    let ours =
        SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD]);
    ours.thread_block().context("block signals")?;
    let signals = SignalFd::new(&ours).context("make a signalfd")?;
    let mut child = Command::new("unshare")
        .args(["--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child"])
        .arg("--mount-proc")
        .arg(std::env::current_exe().context("name this program")?)
        .args(std::env::args_os().skip(1))
        .env(ROLE, "init")
        .env(DIRECTORY, &directory)
        .stdin(Stdio::piped())
        .spawn()
        .context("start unshare")?;
    let status = supervise(&mut child, &signals);

    leaks::remove_cgroups(&name)?;
    std::fs::remove_dir(&directory)
        .with_context(|| format!("remove the directory {}", directory.display()))?;
    let status = status?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn supervise(child: &mut Child, signals: &SignalFd) -> Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().context("wait for the tests")? {
            return Ok(status);
        }
        let signal = signals.read_signal().context("read the signalfd")?;
        let child_signal = u32::try_from(Signal::SIGCHLD as i32).ok();
        if signal.is_some_and(|signal| Some(signal.ssi_signo) != child_signal) {
            drop(child.stdin.take());
        }
    }
}

/// Takes away what runs left that were killed together with their warden.
fn sweep() -> Result<()> {
    for dir in leaks::hierarchies().iter().chain([&std::env::temp_dir()]) {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let pid = rest.split('-').next().unwrap_or_default();
            if pid.parse::<u32>().is_err() || Path::new("/proc").join(pid).exists() {
                continue;
            }
            leaks::remove_cgroups(&format!("{PREFIX}{pid}"))?;
            let _ = std::fs::remove_dir(std::env::temp_dir().join(&name));
        }
    }
    Ok(())
}

fn init() -> Result<ExitCode> {
    let directory = directory()?;
    mount("tmpfs", &directory, "tmpfs", MountFlags::empty(), Some(c"mode=755"))
        .with_context(|| format!("mount a tmpfs on {}", directory.display()))?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        end(130);
    });
    let runner = Command::new(std::env::current_exe().context("name this program")?)
        .args(std::env::args_os().skip(1))
        .env(ROLE, "runner")
        .stdin(Stdio::null())
        .spawn()
        .context("start the tests")?;
    let runner = i32::try_from(runner.id()).context("a pid")?;
    let status = loop {
        // Everything orphaned in this namespace is ours to reap.
        if let Some((pid, status)) = rustix::process::wait(WaitOptions::empty()).context("wait")?
            && pid.as_raw_nonzero().get() == runner
        {
            break status;
        }
    };
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    // With the tests over, nothing but this process may be left.
    let own = std::process::id();
    let left = wait::until("all processes end", Duration::from_secs(5), || {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        Ok(processes::all().iter().all(|process| process.pid == own).then_some(()))
    });
    if left.is_err() {
        crate::runner::say("e2e: left behind:");
        for process in processes::all().iter().filter(|process| process.pid != own) {
            crate::runner::say(&format!("    {process}"));
        }
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

#[expect(clippy::exit, reason = "pid 1 ends its namespace from the thread that sees the order")]
fn end(code: i32) -> ! {
    std::process::exit(code)
}
