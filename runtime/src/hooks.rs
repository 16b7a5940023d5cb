//! OCI hooks: runs a list of programs one after the other, the container's state on their stdin.
//!
//! A hook is a process group of its own. When its time is over the whole group is killed; what it
//! wrote to stdout and stderr comes back in the error, bounded. Hooks that run in the container
//! are programs of the image: `confine` puts the container's own limits on them before they run.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux::error::Context as _;
use linux::process::{ExitStatus, PidFd};
use linux::{CloneFlags, Errno, Forked};
use oci_spec::runtime::{Hook, Hooks, Spec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::Serialize;

use crate::program::{Program, c_strings};
use crate::stdio::Streams;
use crate::{Error, Result, Status};

/// As much of a hook's output as an error repeats.
const MAX_OUTPUT: usize = 4096;

/// The hooks of a bundle that run before the user's program, and the rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct HookLists {
    /// `prestart` and `createRuntime`, with their names: the runtime's namespaces.
    pub(crate) runtime: Vec<(&'static str, Hook)>,
    /// The container's mount namespace, before its root is changed.
    pub(crate) create_container: Vec<Hook>,
    /// In the container, just before its program.
    pub(crate) start_container: Vec<Hook>,
    pub(crate) poststart: Vec<Hook>,
    pub(crate) poststop: Vec<Hook>,
}

impl HookLists {
    /// The hooks of `spec`, each checked.
    pub(crate) fn of(spec: &Spec) -> Result<Self> {
        let Some(hooks) = spec.hooks() else { return Ok(Self::default()) };
        let list = |kind: &str, list: &Option<Vec<Hook>>| -> Result<Vec<Hook>> {
            let list = list.clone().unwrap_or_default();
            list.iter().enumerate().try_for_each(|(index, hook)| check(kind, index, hook))?;
            Ok(list)
        };
        let mut runtime = Vec::new();
        for hook in list("prestart", prestart(hooks))? {
            runtime.push(("prestart", hook));
        }
        for hook in list("createRuntime", hooks.create_runtime())? {
            runtime.push(("createRuntime", hook));
        }
        Ok(Self {
            runtime,
            create_container: list("createContainer", hooks.create_container())?,
            start_container: list("startContainer", hooks.start_container())?,
            poststart: list("poststart", hooks.poststart())?,
            poststop: list("poststop", hooks.poststop())?,
        })
    }
}

fn prestart(hooks: &Hooks) -> &Option<Vec<Hook>> {
    hooks.prestart()
}

fn check(kind: &str, index: usize, hook: &Hook) -> Result<()> {
    let member = || format!("hooks.{kind}[{index}]");
    if !hook.path().is_absolute() {
        let path = hook.path().display();
        return Err(Error::config(member(), format!("path {path} is not absolute")));
    }
    if hook.timeout().is_some_and(|seconds| seconds <= 0) {
        return Err(Error::config(member(), "timeout is not above zero; leave it out for none"));
    }
    Ok(())
}

/// What a hook reads: the state of the specification, and the rootfs for our own hooks.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HookState<'a> {
    pub(crate) oci_version: &'a str,
    pub(crate) id: &'a str,
    pub(crate) status: Status,
    pub(crate) pid: i32,
    pub(crate) bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: &'a BTreeMap<String, String>,
    pub(crate) root: &'a Path,
}

/// Where and how the hooks of a list run.
pub(crate) struct Place<'a> {
    /// Working directory, when it is not the caller's.
    pub(crate) directory: Option<PathBuf>,
    /// Environment of a hook that names none: the caller's, else nothing.
    pub(crate) inherit_environment: bool,
    /// Variables that every hook gets besides: `KEY=VALUE`.
    pub(crate) told: &'a [String],
    /// Runs in the hook's process just before its program.
    pub(crate) confine: &'a dyn Fn() -> Result<()>,
}

/// Runs `hooks` in order until one fails.
pub(crate) fn run<'h>(
    hooks: impl IntoIterator<Item = (&'static str, &'h Hook)>,
    state: &HookState<'_>,
    place: &Place<'_>,
) -> Result<()> {
    let mut document = None;
    for (kind, hook) in hooks {
        let document = match &document {
            Some(document) => document,
            None => document.insert(encode(state)?),
        };
        run_one(hook, document, place).map_err(|error| Error::Hook {
            kind,
            path: hook.path().display().to_string(),
            reason: error.flatten(),
        })?;
    }
    Ok(())
}

fn encode(state: &HookState<'_>) -> Result<Vec<u8>> {
    serde_json::to_vec(state).map_err(|error| Error::File {
        act: "encode the state for a hook".into(),
        reason: error.to_string(),
    })
}

fn run_one(hook: &Hook, document: &[u8], place: &Place<'_>) -> Result<()> {
    let program = program(hook, place)?;
    let stdin = document_file(document)?;
    let (output, write_end) = pipe_with(PipeFlags::CLOEXEC).during(|| "make a pipe")?;
    let parent = rustix::process::getpid();
    match linux::fork(CloneFlags::empty(), None)? {
        Forked::Child => {
            let error = become_hook(&program, &stdin, &write_end, place, parent);
            // The reader puts it into its own error.
            let _ = rustix::io::write(&write_end, error.flatten().as_bytes());
            linux::process::exit_now(127)
        }
        Forked::Parent { pidfd, pid } => {
            drop(write_end);
            let deadline = hook
                .timeout()
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs);
            let (text, in_time) = collect(&pidfd, output.as_fd(), deadline)?;
            if !in_time {
                // Before the hook is reaped: until then its group id cannot belong to another.
                let _ =
                    rustix::process::kill_process_group(pid.into(), rustix::process::Signal::KILL);
            }
            let status = pidfd.wait()?;
            verdict(status, in_time, hook.timeout(), &text)
        }
    }
}

fn program(hook: &Hook, place: &Place<'_>) -> Result<Program> {
    let path = hook.path().to_string_lossy().into_owned();
    let args = match hook.args() {
        Some(args) if !args.is_empty() => c_strings("hooks.args", args)?,
        _ => c_strings("hooks.args", std::slice::from_ref(&path))?,
    };
    let mut env = match hook.env() {
        Some(env) => c_strings("hooks.env", env)?,
        None if place.inherit_environment => inherited_environment(),
        None => Vec::new(),
    };
    env.extend(c_strings("hooks.env", place.told)?);
    Ok(Program::new(c_strings("hooks.path", &[path])?.remove(0), args, env))
}

fn inherited_environment() -> Vec<CString> {
    use std::os::unix::ffi::OsStrExt as _;
    std::env::vars_os()
        .filter_map(|(key, value)| {
            CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        })
        .collect()
}

/// The document as an open file at its start: unlike a pipe it cannot block us or be left unread.
fn document_file(document: &[u8]) -> Result<OwnedFd> {
    let act = || "hand the state to a hook".to_owned();
    let file = memfd_create("state", MemfdFlags::CLOEXEC).during(act)?;
    let mut file = std::fs::File::from(file);
    file.write_all(document).and_then(|()| file.rewind()).during(act)?;
    Ok(file.into())
}

fn become_hook(
    program: &Program,
    stdin: &OwnedFd,
    output: &OwnedFd,
    place: &Place<'_>,
    parent: rustix::process::Pid,
) -> Error {
    let prepare = || -> Result<()> {
        // Nobody would hear what came of it, and the container it works for is given up.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .during(|| "end with the runtime")?;
        if rustix::process::getppid() != Some(parent) {
            linux::process::exit_now(127);
        }
        rustix::process::setpgid(None, None).during(|| "make a process group")?;
        if let Some(directory) = &place.directory {
            rustix::process::chdir(directory)
                .during(|| format!("enter {}", directory.display()))?;
        }
        Streams::new(stdin.as_fd(), output.as_fd(), output.as_fd()).become_stdio()?;
        linux::fd::close_on_exec_from(3)?;
        linux::signal::restore_defaults()?;
        (place.confine)()
    };
    match prepare() {
        Ok(()) => program.execute(),
        Err(error) => error,
    }
}

/// Reads what the hook writes until it is gone or its time is over.
fn collect(
    hook: &PidFd,
    output: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> Result<(Vec<u8>, bool)> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut text = Vec::new();
    let mut open = true;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok((text, false));
        }
        let mut fds = vec![PollFd::from_borrowed_fd(hook.as_fd(), PollFlags::IN)];
        if open {
            fds.push(PollFd::from_borrowed_fd(output, PollFlags::IN));
        }
        let wait = left.and_then(|left| rustix::time::Timespec::try_from(left).ok());
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(linux::Error::new("wait for a hook", errno).into()),
        }
        let gone = !fds[0].revents().is_empty();
        let readable = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        // A grandchild may hold the pipe and go on writing: once the hook is gone, enough is enough.
        if readable && !(gone && text.len() >= MAX_OUTPUT) {
            open = read_some(output, &mut text)?;
        } else if gone {
            return Ok((text, true));
        }
    }
}

/// False at the end of the stream.
fn read_some(output: BorrowedFd<'_>, text: &mut Vec<u8>) -> Result<bool> {
    let mut buffer = [0; 4096];
    let count = match rustix::io::read(output, &mut buffer) {
        Ok(count) => count,
        Err(Errno::INTR) => return Ok(true),
        Err(errno) => return Err(linux::Error::new("read a hook's output", errno).into()),
    };
    let room = MAX_OUTPUT.saturating_sub(text.len());
    text.extend_from_slice(&buffer[..count.min(room)]);
    Ok(count > 0)
}

fn verdict(status: ExitStatus, in_time: bool, timeout: Option<i64>, text: &[u8]) -> Result<()> {
    let reason = match status {
        ExitStatus::Exited(0) if in_time => return Ok(()),
        _ if !in_time => format!("killed after {} s", timeout.unwrap_or_default()),
        status => status.to_string(),
    };
    let text = String::from_utf8_lossy(text);
    let text = text.trim();
    Err(Error::Usage(if text.is_empty() { reason } else { format!("{reason}: {text}") }))
}

#[cfg(test)]
mod tests;
