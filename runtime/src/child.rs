//! What the cloned child does until it is the user's program.
//!
//! It is a copy of the caller in new namespaces, as root of them, and not dumpable: no process of
//! the container can look into it. It ends when the parent ends before the container is made.
//! Everything that can be wrong is found before it says `Ready`; then it has no descriptor left
//! but the standard streams, those to be passed on, and the socket it waits on for `start`.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use linux::cgroup::JoinFds;
use linux::error::Context as _;
use linux::ns::{self, Kind, Namespace};
use linux::{CloneFlags, Errno, Forked, mount};
use oci_spec::runtime::{Hook, Process, Spec};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::console::Terminal;
use crate::error::During as _;
use crate::handshake::{Channel, Message};
use crate::hooks::{self, HookLists, Place};
use crate::namespaces::Namespaces;
use crate::program::Program;
use crate::rootfs::{Rootfs, pivot};
use crate::security::{self, Security};
use crate::start::Waiting;
use crate::state::{Saved, Status};
use crate::stdio::Streams;
use crate::{Error, Result, loopback};

/// What the child needs of the parent's memory, of which it has a copy.
pub(crate) struct Child<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) process: &'a Process,
    pub(crate) saved: &'a Saved,
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) rootfs: &'a Rootfs,
    pub(crate) cgroups: &'a JoinFds,
    pub(crate) security: &'a Security,
    pub(crate) hooks: &'a HookLists,
    /// The parent has something to do once the namespaces are there: hooks, links.
    pub(crate) is_awaited: bool,
    pub(crate) channel: &'a Channel,
    pub(crate) start: &'a OwnedFd,
    pub(crate) streams: Streams<'a>,
    pub(crate) preserve_fds: u32,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
}

impl Child<'_> {
    /// Becomes the container's process, or says why not and ends.
    pub(crate) fn run(&self) -> ! {
        self.end(|| {
            self.join_cgroups()?;
            self.live()
        })
    }

    /// Enters the user namespace `namespace` and makes there the process that runs the rest, as a
    /// child of our parent.
    pub(crate) fn run_between(&self, namespace: &Namespace) -> ! {
        self.end(|| {
            hide()?;
            self.join_cgroups()?;
            self.namespaces.enter()?;
            namespace.enter().step(|| "join the user namespace".into())?;
            match linux::fork(self.namespaces.clone_flags() | CloneFlags::PARENT, None)? {
                Forked::Child => self.end(|| self.live()),
                Forked::Parent { pid, pidfd } => {
                    let pidfd = OwnedFd::from(pidfd);
                    self.channel.send_with(&Message::Born(pid.get()), Some(&pidfd))?;
                    linux::process::exit_now(0)
                }
            }
        })
    }

    fn end(&self, live: impl FnOnce() -> Result<()>) -> ! {
        let outcome = catch_unwind(AssertUnwindSafe(live));
        if let Ok(Err(error)) = outcome {
            // A parent that is gone needs no answer.
            let _ = self.channel.send(&Message::failed(&error));
        }
        linux::process::exit_now(1)
    }

    fn live(&self) -> Result<()> {
        hide()?;
        self.security.take_along()?;
        rustix::process::setsid().during(|| "start a session")?;
        umask(Mode::empty());
        // Nothing of what follows may reach the host; what the host unmounts goes here, too.
        mount::set_propagation("/", mount::Propagation::Slave, true)
            .step(|| "detach from the host's mounts".into())?;
        if self.namespaces.is_new(Kind::User) {
            // The maps are written and the mounts shown through them.
            self.proceed()?;
        }
        self.attach_rootfs()?;
        if self.namespaces.has(Kind::User) {
            become_root()?;
        }
        if self.namespaces.is_new(Kind::Cgroup) {
            // Its root is the cgroup we are in, so this comes after joining.
            ns::unshare(Kind::Cgroup.clone_flag()).step(|| "make a cgroup namespace".into())?;
        }
        if !self.no_new_keyring {
            security::join_session_keyring(&self.saved.id)?;
        }
        let (program, master) = self.build()?;
        let waiting = Waiting::new(self.start, self.namespaces.has(Kind::User));
        let mut keep = vec![waiting.as_fd(), self.channel.as_fd()];
        keep.extend(master.as_ref().map(|master| master.as_fd()));
        self.close_all_but(&keep)?;
        self.channel.send_with(&Message::Ready, master.as_ref())?;
        drop(master);
        self.proceed()?;
        self.close_all_but(&[waiting.as_fd()])?;
        waiting.wait_for_start(|| self.execute(&program))
    }

    /// With the ids and the privileges of the host.
    fn join_cgroups(&self) -> Result<()> {
        self.cgroups.join_v1().step(|| "join the container's cgroups".into())?;
        if let Some(namespace) = self.namespaces.joined(Kind::Cgroup) {
            namespace.enter().step(|| "join the cgroup namespace".into())?;
        }
        Ok(())
    }

    /// Still with the user id of the host's root, which owns the directories on the way.
    fn attach_rootfs(&self) -> Result<()> {
        match self.rootfs.attach() {
            // One of them is another user's: the host's root may pass it, we may not.
            Err(error) if error.is(Errno::ACCESS) => {
                self.channel.send(&Message::Unreachable)?;
                self.proceed()
            }
            attached => attached.step(|| format!("attach rootfs {}", self.rootfs.path.display())),
        }
    }

    /// Makes the container around the process.
    fn build(&self) -> Result<(Program, Option<OwnedFd>)> {
        if self.namespaces.is_new(Kind::Net) {
            loopback::up().step(|| "bring the loopback interface up".into())?;
        }
        let proc = self.rootfs.mount_all()?;
        let terminal = self.process.terminal().unwrap_or(false);
        let console = match terminal {
            true => {
                let root = self.rootfs.root()?;
                let console = Terminal::open(&root, self.process)?;
                console.bind(&root)?;
                Some(console)
            }
            false => None,
        };
        self.set_names()?;
        if self.is_awaited {
            self.channel.send(&Message::Mounted)?;
            self.proceed()?;
        }
        self.rootfs.set_sysctl(proc.as_ref())?;
        self.run_hooks("createContainer", &self.hooks.create_container, Status::Creating, &|| {
            Ok(())
        })?;
        self.rootfs.restrict()?;
        self.rootfs.seal()?;
        self.rootfs.pivot(self.no_pivot)?;
        let master = match console {
            Some(console) => Some(console.become_stdio()?),
            None => {
                self.streams.become_stdio()?;
                None
            }
        };
        self.enter_working_directory()?;
        let program = Program::find(self.process)?;
        Ok((program, master))
    }

    fn set_names(&self) -> Result<()> {
        if let Some(name) = self.spec.hostname() {
            rustix::system::sethostname(name.as_bytes())
                .during(|| format!("set host name {name:?}"))?;
        }
        if let Some(name) = self.spec.domainname() {
            rustix::system::setdomainname(name.as_bytes())
                .during(|| format!("set domain name {name:?}"))?;
        }
        Ok(())
    }

    fn enter_working_directory(&self) -> Result<()> {
        let directory = self.process.cwd();
        if !directory.is_absolute() {
            let directory = directory.display();
            return Err(Error::config("process.cwd", format!("{directory} is not absolute")));
        }
        match pivot::enter(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Inside the container's root, where its own links lead nowhere else.
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(directory)
                    .during(|| format!("make working directory {}", directory.display()))?;
                pivot::enter(directory)
            }
            entered => entered,
        }
    }

    fn run_hooks(
        &self,
        kind: &'static str,
        list: &[Hook],
        status: Status,
        confine: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let state = self.saved.hook_state(status, linux::process::Pid::current().get());
        let place = Place { directory: None, inherit_environment: false, told: &[], confine };
        hooks::run(list.iter().map(|hook| (kind, hook)), &state, &place)
    }

    /// Between `create` and `start` nothing of the host stays open in here.
    fn close_all_but(&self, keep: &[BorrowedFd<'_>]) -> Result<()> {
        let keep = keep.iter().copied().chain(self.security.descriptors());
        let keep: Vec<RawFd> = keep.map(|fd| fd.as_raw_fd()).collect();
        linux::fd::close_all_but(self.first_fd(), &keep)?;
        Ok(())
    }

    /// The first descriptor that is not passed on.
    fn first_fd(&self) -> RawFd {
        RawFd::try_from(self.preserve_fds).unwrap_or(RawFd::MAX).saturating_add(3)
    }

    /// The last steps, once `start` has been asked for. Comes back only with the reason why not.
    fn execute(&self, program: &Program) -> Result<()> {
        self.run_hooks("startContainer", &self.hooks.start_container, Status::Created, &|| {
            self.security.apply()
        })?;
        // Everything that is still open and not passed on goes with the old program.
        linux::fd::close_on_exec_from(self.first_fd())?;
        linux::signal::restore_defaults()?;
        self.security.apply()?;
        Err(program.execute())
    }

    fn proceed(&self) -> Result<()> {
        match self.channel.receive()? {
            Some((Message::Proceed, _)) => Ok(()),
            // The parent is gone: so are we.
            _ => linux::process::exit_now(1),
        }
    }
}

/// Without it a process of a joined pid namespace could open our descriptors by /proc/PID/fd.
fn hide() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during(|| "hide from the container")?;
    Ok(())
}

/// Takes the ids of the root of the user namespace.
pub(crate) fn become_root() -> Result<()> {
    let act = || "become root of the user namespace";
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).during(act)?;
    match set_thread_groups(&[]) {
        // Denied in a user namespace whose owner closed it there (user_namespaces(7)).
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(linux::Error::new(act(), errno).into()),
    }
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).during(act)?;
    Ok(())
}
