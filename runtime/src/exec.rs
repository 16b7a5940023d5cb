//! A further process in a running container.
//!
//! ```text
//! caller   visits the container's pid namespace for the moment of one clone3, which puts the
//!          child straight into the v2 cgroup of init
//! child    joins the v1 cgroups, takes what only the host can give, then enters all other
//!          namespaces of init by its pidfd in one setns(2), the user namespace among them
//!          closes what is the host's, and only then looks at anything of the container
//! ```
//!
//! The cgroup is the one init is in, not the container's own: in that the guest's systemd may have
//! enabled controllers, and the kernel takes no processes there any more (cgroups(7), "no internal
//! processes").

use std::borrow::Cow;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use linux::cgroup::{Cgroup, CgroupPath, JoinFds, Layout};
use linux::error::Context as _;
use linux::ns::{self, Kind, Namespace};
use linux::process::{self, Pid, PidFd};
use linux::root::Root;
use linux::signal::Signal;
use linux::{CloneFlags, Errno, Forked};
use oci_spec::runtime::{Linux, Process, Spec};
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

use crate::bundle::Bundle;
use crate::child::become_root;
use crate::console::Terminal;
use crate::error::During as _;
use crate::handshake::{Channel, Message};
use crate::program::Program;
use crate::rootfs::pivot;
use crate::security::{self, Affinity, Security};
use crate::state::{Saved, Status};
use crate::stdio::{self, Streams};
use crate::{
    Console, Error, Result, Runtime, Stdio, cgroup, console, exe, start, system, validate,
};

/// Every kind a process can join. The pid namespace is for children only and is joined before the
/// clone.
const JOINED_BY_CHILD: [Kind; 7] =
    [Kind::User, Kind::Mount, Kind::Ipc, Kind::Uts, Kind::Net, Kind::Cgroup, Kind::Time];

/// What `exec` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ExecRequest<'a> {
    /// The program, who it is and what it may do.
    pub process: &'a Process,
    /// What the bundle's `config.json` says, from one who has just read it; else it is read.
    pub spec: Option<&'a Spec>,
    /// Its standard streams when it has no terminal.
    pub stdio: Stdio<'a>,
    /// Who gets the master of its terminal, when it has one.
    pub console: Console<'a>,
    /// A cgroup below the container's own, instead of the one init is in.
    pub cgroup: Option<&'a str>,
    /// Where its host pid is written, by rename.
    pub pid_file: Option<&'a Path>,
    /// Descriptors 3 to 3+n-1 are passed on to it.
    pub preserve_fds: u32,
    /// Leaves it in the caller's session keyring.
    pub no_new_keyring: bool,
}

impl<'a> ExecRequest<'a> {
    /// A request with the defaults of the OCI command line.
    #[must_use]
    pub fn new(process: &'a Process) -> Self {
        Self {
            process,
            spec: None,
            stdio: Stdio::Inherit,
            console: Console::Return,
            cgroup: None,
            pid_file: None,
            preserve_fds: 0,
            no_new_keyring: false,
        }
    }
}

/// A process that runs its program in the container.
#[derive(Debug)]
pub struct Exec {
    /// Its host pid; it is a child of the caller.
    pub pid: Pid,
    /// The same, held fast: wait on this.
    pub pidfd: PidFd,
    /// The terminal's master, when it has a terminal and no socket was named for it.
    pub console: Option<OwnedFd>,
}

impl Runtime {
    /// Runs a further process in a running container.
    ///
    /// # Errors
    /// Among others: the container does not run, the program cannot be executed in it (`kind()`
    /// says whether it was not found or not permitted), or asks for what cannot be given.
    pub fn exec(&self, id: &str, request: &ExecRequest<'_>) -> Result<Exec> {
        if let Some(driver) = self.driver(id)? {
            return driver.exec(request);
        }
        exe::require_sealed()?;
        stdio::check_preserved(request.preserve_fds)?;
        validate::check_process(request.process)?;
        if let Console::Socket(path) = request.console {
            console::check_socket(path, request.process.terminal().unwrap_or(false))?;
        }
        let saved = self.load(id)?;
        let init = self.living(&saved)?;
        let init_pid = init.pid()?.ok_or_else(|| not_running(id, Status::Stopped))?;
        if start::is_waiting(&self.directory(id)?) {
            return Err(not_running(id, Status::Created));
        }
        let layout = Layout::detect()?;
        let path = CgroupPath::parse(&saved.cgroup)?;
        let cgroup = Cgroup::open(&layout, &path)?;
        if cgroup.is_frozen()? {
            return Err(not_running(id, Status::Paused));
        }
        let target = Target::of(&init, init_pid)?;
        let mut spec = match request.spec {
            Some(spec) => Cow::Borrowed(spec),
            None => Cow::Owned(Bundle::spec_of(&saved.bundle)?),
        };
        if saved.adapted {
            system::adapt(spec.to_mut());
        }
        let linux = spec.linux().as_ref();
        let process = with_defaults(request.process, spec.process().as_ref());
        let security = self.prepare_exec(&process, linux, &saved, &target)?;
        let cgroups = cgroup::join_of_exec(&layout, &cgroup, init_pid, request.cgroup)?;
        let (ours, theirs) = Channel::pair()?;
        let child = Child {
            request,
            process: &process,
            saved: &saved,
            target: &target,
            security: &security,
            cgroups: &cgroups,
            channel: &theirs,
            streams: Streams::from(request.stdio),
        };
        let (pid, pidfd) = give_birth(&child)?;
        // Only the child holds its end now, so that execve(2) ends the stream.
        drop(theirs);
        match accompany(request, &ours, pid) {
            Ok(console) => Ok(Exec { pid, pidfd, console }),
            Err(error) => {
                let _ = pidfd.signal(Signal::KILL);
                let _ = pidfd.wait();
                Err(error)
            }
        }
    }

    fn prepare_exec(
        &self,
        process: &Process,
        linux: Option<&Linux>,
        saved: &Saved,
        target: &Target<'_>,
    ) -> Result<Security> {
        let state = saved.state(Status::Running);
        let place = security::Place {
            user_namespace: target.joins(Kind::User),
            setgroups_denied: target.setgroups_denied,
            seccomp_cache: self.seccomp_cache(),
            state: &state,
        };
        security::prepare(process, linux, place)
    }
}

fn not_running(id: &str, status: Status) -> Error {
    Error::NotRunning { id: id.to_owned(), status }
}

/// The process with what it takes from the container's configuration when it does not say itself.
fn with_defaults(process: &Process, container: Option<&Process>) -> Process {
    let mut process = process.clone();
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(container.and_then(|it| it.exec_cpu_affinity().clone()));
    }
    process
}

/// Where the process goes.
struct Target<'a> {
    init: &'a PidFd,
    kinds: Vec<Kind>,
    setgroups_denied: bool,
}

impl<'a> Target<'a> {
    /// The namespaces of init that the caller is not in. Joining the caller's own is refused for
    /// a user namespace (setns(2)) and would do nothing for the others.
    fn of(init: &'a PidFd, pid: Pid) -> Result<Self> {
        let own = Pid::current();
        let mut kinds = Vec::new();
        for kind in std::iter::once(Kind::Pid).chain(JOINED_BY_CHILD) {
            match (process::namespace_link(pid, kind), process::namespace_link(own, kind)) {
                (Ok(theirs), Ok(ours)) if theirs != ours => kinds.push(kind),
                (Ok(_), Ok(_)) => {}
                // A kernel without time namespaces has no such link.
                (_, Err(error)) if error.is(Errno::NOENT) => {}
                (Err(error), _) | (_, Err(error)) => {
                    return Err(error).step(|| "find the container's namespaces".into());
                }
            }
        }
        let setgroups = linux::file::read(format!("/proc/{pid}/setgroups"))
            .step(|| "look into the container's user namespace".into())?;
        // All of this was about init and no later process of that pid.
        let is_alive = init.is_alive().step(|| "find the container's init".into())?;
        if !is_alive {
            return Err(linux::Error::new("find the container's init", Errno::SRCH).into());
        }
        Ok(Self { init, kinds, setgroups_denied: setgroups.starts_with(b"deny") })
    }

    fn joins(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Enters everything but the pid namespace.
    fn enter(&self) -> linux::Result<()> {
        let flags = self
            .kinds
            .iter()
            .filter(|kind| **kind != Kind::Pid)
            .fold(CloneFlags::empty(), |flags, kind| flags | kind.clone_flag());
        if flags.is_empty() { Ok(()) } else { ns::enter(self.init, flags) }
    }
}

/// Makes the process. In it this never comes back.
fn give_birth(child: &Child<'_>) -> Result<(Pid, PidFd)> {
    // From its first moment on no process of the container can look into it.
    let _hidden = Hidden::new()?;
    let home = match child.target.joins(Kind::Pid) {
        true => {
            let home = Namespace::current(Kind::Pid)?;
            ns::enter(child.target.init, CloneFlags::NEWPID)
                .step(|| "join the container's pid namespace".into())?;
            Some(home)
        }
        false => None,
    };
    let forked = linux::fork(CloneFlags::empty(), child.cgroups.unified());
    if let Ok(Forked::Child) = forked {
        child.run();
    }
    let back = home.map_or(Ok(()), |home| home.enter());
    let Forked::Parent { pid, pidfd } = forked? else { unreachable!("the child has run") };
    if let Err(error) = back {
        let _ = pidfd.signal(Signal::KILL);
        let _ = pidfd.wait();
        return Err(error).step(|| "return to the host's pid namespace".into());
    }
    Ok((pid, pidfd))
}

/// Makes the caller undumpable, and back when dropped.
struct Hidden(DumpableBehavior);

impl Hidden {
    fn new() -> Result<Self> {
        let before = dumpable_behavior().during(|| "ask whether we are dumpable")?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .during(|| "hide from the container")?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The value that it had.
        let _ = set_dumpable_behavior(self.0);
    }
}

/// Waits until the child runs its program, and passes its terminal on.
fn accompany(request: &ExecRequest<'_>, channel: &Channel, pid: Pid) -> Result<Option<OwnedFd>> {
    let mut master = None;
    while let Some((message, fd)) = channel.receive()? {
        match message {
            Message::Failed { kind, text } => return Err(Error::Child { kind, text }),
            _ => master = fd,
        }
    }
    if let Some(path) = request.pid_file {
        linux::file::write_atomic(path, pid.to_string(), 0o644)?;
    }
    match (request.console, master) {
        (Console::Socket(path), Some(master)) => {
            console::send(path, &master)?;
            Ok(None)
        }
        (_, master) => Ok(master),
    }
}

/// What the child needs of the parent's memory, of which it has a copy.
struct Child<'a> {
    request: &'a ExecRequest<'a>,
    process: &'a Process,
    saved: &'a Saved,
    target: &'a Target<'a>,
    security: &'a Security,
    cgroups: &'a JoinFds,
    channel: &'a Channel,
    streams: Streams<'a>,
}

impl Child<'_> {
    /// Becomes the program, or says why not and ends.
    fn run(&self) -> ! {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.live()));
        if let Ok(Err(error)) = outcome {
            // A parent that is gone needs no answer.
            let _ = self.channel.send(&Message::failed(&error));
        }
        process::exit_now(1)
    }

    fn live(&self) -> Result<()> {
        let Affinity { initial, last } = self.security.affinity();
        set_affinity(initial.as_deref())?;
        self.cgroups.join_v1().step(|| "join the container's cgroups".into())?;
        self.security.grant(None)?;
        self.security.take_along()?;
        self.target.enter().step(|| "join the container's namespaces".into())?;
        if self.target.joins(Kind::User) {
            become_root()?;
        }
        if !self.request.no_new_keyring {
            security::join_session_keyring(&self.saved.id)?;
        }
        rustix::process::setsid().during(|| "start a session")?;
        self.take_streams()?;
        self.close_all()?;
        pivot::enter(self.process.cwd())?;
        let program = Program::find(self.process)?;
        set_affinity(last.as_deref())?;
        linux::signal::restore_defaults()?;
        self.security.apply()?;
        Err(program.execute())
    }

    fn take_streams(&self) -> Result<()> {
        if !self.process.terminal().unwrap_or(false) {
            return self.streams.become_stdio();
        }
        let root = Root::open("/").step(|| "make the terminal".into())?;
        let master = Terminal::open(&root, self.process)?.become_stdio()?;
        self.channel.send_with(&Message::Ready, Some(&master))
    }

    /// Before a path of the container is followed, nothing of the host is open that a link to
    /// /proc/self/fd could lead to (CVE-2024-21626).
    fn close_all(&self) -> Result<()> {
        let first = RawFd::try_from(self.request.preserve_fds).unwrap_or(RawFd::MAX);
        let first = first.saturating_add(3);
        let mut keep: Vec<RawFd> = self.security.descriptors().map(|fd| fd.as_raw_fd()).collect();
        keep.push(self.channel.as_fd().as_raw_fd());
        linux::fd::close_all_but(first, &keep)?;
        // What is left of ours goes with the old program.
        linux::fd::close_on_exec_from(first)?;
        Ok(())
    }
}

fn set_affinity(cpus: Option<&[u32]>) -> Result<()> {
    cpus.map_or(Ok(()), linux::attributes::set_affinity)
        .step(|| "apply process.execCPUAffinity".into())
}
