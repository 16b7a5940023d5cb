//! The parent's side of a birth: what it does for the child until that is a created container.

use std::cell::Cell;
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};

use linux::ns::{self, Kind, Namespace};
use linux::process::{Pid, PidFd};
use linux::signal::Signal;
use linux::{CloneFlags, Forked};

use super::Plan;
use crate::child::Child;
use crate::error::During as _;
use crate::handshake::{Channel, Message};
use crate::hooks::{self, Place};
use crate::net_devices::{self, Moved};
use crate::rootfs::Rootfs;
use crate::security::Security;
use crate::state::{Saved, Status};
use crate::{Console, Error, Result, console};

/// Makes init in a user namespace that is there already. A process in between enters it, after it
/// has done what takes the host's privileges, and makes init as a child of ours.
pub(super) fn give_birth_within(
    child: &Child<'_>,
    channel: Channel,
    namespace: &Namespace,
) -> Result<(Pid, PidFd, Channel)> {
    let between = match linux::fork(CloneFlags::empty(), child.cgroups.unified())? {
        Forked::Child => {
            drop(channel);
            child.run_between(namespace)
        }
        Forked::Parent { pidfd, .. } => pidfd,
    };
    let answer = channel.receive();
    between.wait()?;
    match answer? {
        Some((Message::Born(pid), Some(pidfd))) => match Pid::new(pid) {
            Some(pid) => Ok((pid, PidFd::from_fd(pidfd), channel)),
            None => Err(died()),
        },
        Some((Message::Failed { kind, text }, _)) => Err(Error::Child { kind, text }),
        _ => Err(died()),
    }
}

/// The parent's view of a child on its way.
pub(super) struct Birth<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) pid: Pid,
    pub(super) pidfd: &'a PidFd,
    pub(super) channel: &'a Channel,
    /// Links that are the container's, once they are.
    pub(super) links: Cell<Option<Moved>>,
}

impl Birth<'_> {
    /// Accompanies the child; one that does not make it is ended, with all its namespaces.
    pub(super) fn run(
        &self,
        rootfs: &Rootfs,
        security: &Security,
        saved: &mut Saved,
    ) -> Result<Option<OwnedFd>> {
        self.accompany(rootfs, security, saved).map_err(|error| {
            if let Some(mut links) = self.links.take() {
                links.take_back();
            }
            // Nobody but us can wait for it.
            let _ = self.pidfd.signal(Signal::KILL);
            let _ = self.pidfd.wait();
            // What it wanted to say tells more than that it was gone when we spoke to it.
            self.channel.last_words().unwrap_or(error)
        })
    }

    /// Does what the child cannot, until it is a created container.
    fn accompany(
        &self,
        rootfs: &Rootfs,
        security: &Security,
        saved: &mut Saved,
    ) -> Result<Option<OwnedFd>> {
        saved.pid = Some(self.pid.get());
        security.grant(Some(self.pid))?;
        if self.plan.namespaces.is_new(Kind::User) {
            self.open_user_namespace(rootfs)?;
        }
        let master = loop {
            match self.channel.receive()? {
                Some((Message::Mounted, _)) => {
                    self.links.set(net_devices::give(&self.plan.net_devices, self.pidfd)?);
                    self.run_hooks(saved)?;
                }
                Some((Message::Unreachable, _)) => self.attach_from_outside(rootfs)?,
                Some((Message::Ready, master)) => break master,
                Some((Message::Failed { kind, text }, _)) => {
                    return Err(Error::Child { kind, text });
                }
                _ => return Err(died()),
            }
            self.let_it_proceed()?;
        };
        saved.start_time = Some(linux::process::start_time(self.pid)?);
        saved.write(&self.plan.directory)?;
        if let Some(path) = self.plan.request.pid_file {
            linux::file::write_atomic(path, self.pid.to_string(), 0o644)?;
        }
        let console = match (self.plan.request.console, master) {
            (Console::Socket(path), Some(master)) => {
                console::send(path, &master)?;
                None
            }
            (_, master) => master,
        };
        self.let_it_proceed()?;
        Ok(console)
    }

    /// A child that was killed meanwhile hears nothing more.
    fn let_it_proceed(&self) -> Result<()> {
        self.channel.send(&Message::Proceed).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => died(),
            _ => error,
        })
    }

    /// Writes the id maps, and shows the mounts through them.
    fn open_user_namespace(&self, rootfs: &Rootfs) -> Result<()> {
        if let Some(maps) = &self.plan.maps {
            maps.write(self.pid)?;
        }
        rootfs.idmap(Some(Namespace::of_pid(self.pid, Kind::User)?.as_fd()))?;
        self.let_it_proceed()
    }

    fn run_hooks(&self, saved: &Saved) -> Result<()> {
        let state = saved.hook_state(Status::Creating, self.pid.get());
        let place = Place {
            directory: Some(saved.bundle.clone()),
            inherit_environment: true,
            told: &[],
            confine: &|| Ok(()),
        };
        let list = self.plan.hooks.runtime.iter().map(|(kind, hook)| (*kind, hook));
        hooks::run(list, &state, &place)
    }

    /// Attaches the rootfs in the child's mounts with the rights of the host.
    fn attach_from_outside(&self, rootfs: &Rootfs) -> Result<()> {
        let mounts = Namespace::of(self.pidfd, Kind::Mount)?;
        ns::in_mount_ns(&mounts, || rootfs.attach())
            .step(|| format!("attach rootfs {}", rootfs.path.display()))
    }
}

fn died() -> Error {
    Error::Child {
        kind: ErrorKind::Other,
        text: "the container's process died while it was made".into(),
    }
}
