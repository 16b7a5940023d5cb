//! Programs that are not ours: an OCI runtime in our own's place, driven through the command line
//! that all of them share, and ps(1), whose columns are its own business.
//!
//! ```text
//! <state root>/<id>/         log.json, pid, console.sock: what we and the runtime tell each other
//! <state root>/.<name>/      the runtime's own --root
//! ```
//!
//! The container's processes become children of the caller, who is a subreaper, once the runtime
//! has ended: so they are waited for as if they were ours.

mod answer;
mod refusal;
mod terminal;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, ensure};
use linux::Errno;
use linux::cgroup::{Cgroup, Layout};
use linux::error::Context as _;
use linux::process::{Pid, start_time};
use linux::signal::Signal;
use oci_spec::runtime::{Linux, LinuxResources, Spec};
use rustix::fs::{Mode, OFlags};

use self::answer::{kind_of, last_error, naming, process_of};
use self::terminal::Listener;
use crate::idmap::IdMaps;
use crate::{
    CreateRequest, Created, Error, Exec, ExecRequest, Result, Runtime, State, Stdio, cgroup,
    delete, system,
};

/// What the files below a container's directory are called.
const LOG: &str = "log.json";
const PID: &str = "pid";

/// An OCI runtime that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// What it is called in errors.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// What it is given before each verb.
    pub args: Vec<String>,
}

/// A foreign runtime at work on one container of `runtime`.
pub(crate) struct Driver<'a> {
    foreign: &'a Foreign,
    runtime: &'a Runtime,
    id: &'a str,
    directory: PathBuf,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(foreign: &'a Foreign, runtime: &'a Runtime, id: &'a str) -> Result<Self> {
        Ok(Self { foreign, runtime, id, directory: runtime.directory(id)? })
    }

    pub(crate) fn create(&self, mut request: CreateRequest<'_>) -> Result<Created> {
        let bundle = request.take_bundle()?;
        refusal::check(self.foreign, &bundle)?;
        self.make_directory()?;
        self.try_create(&request, &bundle.spec).map_err(|error| {
            // The first error is the one to report.
            let _ = self.delete(true);
            match bundle.spec.process() {
                Some(process) => naming(error, process),
                None => error,
            }
        })
    }

    fn try_create(&self, request: &CreateRequest<'_>, spec: &Spec) -> Result<Created> {
        let terminal = spec.process().as_ref().and_then(|process| process.terminal());
        let terminal = terminal.unwrap_or(false);
        let listener = Listener::for_terminal(&self.directory, terminal, request.console)?;
        let pid_file = self.directory.join(PID);
        let mut command = self.verb("create")?;
        command.arg("--bundle").arg(request.bundle).arg("--pid-file").arg(&pid_file);
        if let Some(path) = listener.path(request.console) {
            command.arg("--console-socket").arg(path);
        }
        if request.no_pivot {
            command.arg("--no-pivot");
        }
        self.run(command.arg(self.id), request.stdio, "create")?;
        let (pid, pidfd) = process_of(&pid_file)?;
        if let Some(path) = request.pid_file {
            linux::file::write_atomic(path, pid.to_string(), 0o644)?;
        }
        let layout = Layout::detect()?;
        hand_over(&layout, spec, self.id)?;
        Ok(Created {
            console: listener.receive()?,
            start_time: start_time(pid).ok(),
            cgroup: Cgroup::of(&layout, pid).ok(),
            pid,
            pidfd,
        })
    }

    pub(crate) fn start(&self) -> Result<()> {
        self.simple("start", &[])
    }

    pub(crate) fn kill(&self, signal: Signal, all: bool) -> Result<()> {
        let mut command = self.verb("kill")?;
        if all {
            command.arg("--all");
        }
        self.run(command.arg(self.id).arg(signal.get().to_string()), null()?.stdio(), "kill")
    }

    /// With `force` a container that is not there is no error, and the runtime is not asked for it.
    pub(crate) fn delete(&self, force: bool) -> Result<()> {
        if !self.directory.is_dir() {
            return if force { Ok(()) } else { Err(Error::NotFound { id: self.id.to_owned() }) };
        }
        self.simple("delete", if force { &["--force"] } else { &[] })?;
        delete::remove(&self.directory)
    }

    pub(crate) fn pause(&self) -> Result<()> {
        self.simple("pause", &[])
    }

    pub(crate) fn resume(&self) -> Result<()> {
        self.simple("resume", &[])
    }

    pub(crate) fn update(&self, resources: &LinuxResources) -> Result<()> {
        let path = self.scratch("resources");
        write_json(&path, resources)?;
        let mut command = self.verb("update")?;
        command.arg("--resources").arg(&path).arg(self.id);
        let done = self.run(&mut command, null()?.stdio(), "update");
        remove_file(&path);
        done
    }

    pub(crate) fn state(&self) -> Result<State> {
        self.ask("state", &[])
    }

    pub(crate) fn pids(&self) -> Result<Vec<Pid>> {
        let pids: Vec<i32> = self.ask("ps", &["--format", "json"])?;
        Ok(pids.into_iter().filter_map(Pid::new).collect())
    }

    pub(crate) fn exec(&self, request: &ExecRequest<'_>) -> Result<Exec> {
        // The process comes to us when the runtime has ended.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .during(|| "become a subreaper")?;
        let process = self.scratch("process");
        let pid_file = self.scratch("exec-pid");
        write_json(&process, request.process)?;
        let exec = self.try_exec(request, &process, &pid_file);
        remove_file(&process);
        remove_file(&pid_file);
        exec.map_err(|error| naming(error, request.process))
    }

    fn try_exec(&self, request: &ExecRequest<'_>, process: &Path, pid_file: &Path) -> Result<Exec> {
        let scratch = self.scratch("terminal");
        let terminal = request.process.terminal().unwrap_or(false);
        if terminal {
            std::fs::create_dir(&scratch).during(|| format!("make {}", scratch.display()))?;
        }
        let done = (|| {
            let listener = Listener::for_terminal(&scratch, terminal, request.console)?;
            let mut command = self.verb("exec")?;
            command.arg("--detach").arg("--process").arg(process).arg("--pid-file").arg(pid_file);
            if let Some(path) = listener.path(request.console) {
                command.arg("--console-socket").arg(path);
            }
            self.run(command.arg(self.id), request.stdio, "exec")?;
            let (pid, pidfd) = process_of(pid_file)?;
            if let Some(path) = request.pid_file {
                linux::file::write_atomic(path, pid.to_string(), 0o644)?;
            }
            Ok(Exec { pid, pidfd, console: listener.receive()? })
        })();
        if terminal {
            delete::remove(&scratch)?;
        }
        done
    }

    fn make_directory(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let make = |recursive, path: &Path| {
            std::fs::DirBuilder::new().recursive(recursive).mode(0o700).create(path)
        };
        make(true, self.runtime.root())
            .during(|| format!("make {}", self.runtime.root().display()))?;
        match make(false, &self.directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::Exists { id: self.id.to_owned() })
            }
            made => Ok(made.during(|| format!("make {}", self.directory.display()))?),
        }
    }

    /// A file for this call alone.
    fn scratch(&self, what: &str) -> PathBuf {
        self.directory.join(format!("{what}-{}", std::process::id()))
    }

    fn simple(&self, verb: &str, options: &[&str]) -> Result<()> {
        let mut command = self.verb(verb)?;
        self.run(command.args(options).arg(self.id), null()?.stdio(), verb)
    }

    /// A verb whose answer is JSON.
    fn ask<T: serde::de::DeserializeOwned>(&self, verb: &str, options: &[&str]) -> Result<T> {
        let mut command = self.verb(verb)?;
        let output = command.args(options).arg(self.id).output();
        let output = output.map_err(|error| self.not_run(&error))?;
        if !output.status.success() {
            return Err(self.failure(verb, output.status));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| Error::File {
            act: format!("{}: read the answer of {verb}", self.foreign.name),
            reason: error.to_string(),
        })
    }

    /// The program with what every verb is given. Its log holds the errors of this verb alone.
    fn verb(&self, verb: &str) -> Result<Command> {
        let log = self.directory.join(LOG);
        remove_file(&log);
        let mut command = Command::new(&self.foreign.program);
        command.args(&self.foreign.args);
        command.arg("--root").arg(self.runtime.root().join(format!(".{}", self.foreign.name)));
        command.arg("--log").arg(log).args(["--log-format", "json"]).arg(verb);
        // It would take itself for the one to notify.
        command.env_remove("NOTIFY_SOCKET");
        Ok(command)
    }

    fn run(&self, command: &mut Command, stdio: Stdio<'_>, verb: &str) -> Result<()> {
        if let Stdio::Use { stdin, stdout, stderr } = stdio {
            let act = || "copy a descriptor".to_owned();
            command.stdin(stdin.try_clone_to_owned().during(act)?);
            command.stdout(stdout.try_clone_to_owned().during(act)?);
            command.stderr(stderr.try_clone_to_owned().during(act)?);
        }
        let status = command.status().map_err(|error| self.not_run(&error))?;
        if status.success() { Ok(()) } else { Err(self.failure(verb, status)) }
    }

    fn not_run(&self, error: &io::Error) -> Error {
        linux::Error::from_io(format!("run {}", self.foreign.program.display()), error).into()
    }

    /// What it wrote to its log, in the kinds that callers tell apart.
    fn failure(&self, verb: &str, status: ExitStatus) -> Error {
        let name = &self.foreign.name;
        let log = linux::file::read(self.directory.join(LOG)).unwrap_or_default();
        match last_error(&String::from_utf8_lossy(&log)) {
            Some(text) => {
                Error::Child { kind: kind_of(&text), text: format!("{name} {verb}: {text}") }
            }
            None => Error::Child {
                kind: ErrorKind::Other,
                text: format!("{name} {verb}: it ended with {status} and did not say why"),
            },
        }
    }
}

/// Makes a system container's cgroup its root's, as runc 1.1 does not where that has ids of its own:
/// no systemd starts then. It is the cgroup that the document names: where the process is could be
/// the host's own, with a runtime that makes none.
fn hand_over(layout: &Layout, spec: &Spec, id: &str) -> Result<()> {
    let mapped = |linux: &&Linux| linux.uid_mappings().is_some() && system::is_one(spec);
    let Some(linux) = spec.linux().as_ref().filter(mapped) else { return Ok(()) };
    let maps = IdMaps::of(linux)?;
    let Some((uid, gid)) = maps.host_uid(0).zip(maps.host_gid(0)) else { return Ok(()) };
    match Cgroup::open(layout, &cgroup::path_of(spec, id)?) {
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        cgroup => Ok(cgroup?.hand_over(uid, gid)?),
    }
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|error| Error::File {
        act: format!("write {}", path.display()),
        reason: error.to_string(),
    })?;
    Ok(linux::file::write_atomic(path, text, 0o600)?)
}

/// One that is left is in the container's directory and goes with it.
fn remove_file(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// /dev/null, three times.
struct Null(OwnedFd);

fn null() -> Result<Null> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    Ok(Null(rustix::fs::open("/dev/null", flags, Mode::empty()).during(|| "open /dev/null")?))
}

impl Null {
    fn stdio(&self) -> Stdio<'_> {
        let fd = self.0.as_fd();
        Stdio::Use { stdin: fd, stdout: fd, stderr: fd }
    }
}

/// What `ps OPTION...` prints.
///
/// # Errors
/// It is not there, or does not take the options.
pub(crate) fn ps(options: &[String]) -> anyhow::Result<String> {
    let output = Command::new("ps").args(options).output().context("run ps")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ps {}: {}", options.join(" "), stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests;
