//! From a bundle to a created container: the steps, each with its undo.
//!
//! The order is that of the privileges. What needs the host's is opened and prepared first, then
//! one `clone3` makes init in all its namespaces and its v2 cgroup, and the child builds the
//! container around itself (`child`). Whatever fails on the way is undone: a killed child takes its
//! namespaces and mounts with it, the cgroup and the state directory are removed.

mod birth;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::cgroup::{Cgroup, CgroupPath, Layout};
use linux::error::Context as _;
use linux::ns::Kind;
use linux::process::{Pid, PidFd};
use linux::signal::Signal;
use linux::{Forked, Undo};
use oci_spec::runtime::{Linux, Process, Spec};
use rustix::fs::{FileType, Gid, Uid, fchown, fstat};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::birth::{Birth, give_birth_within};
use crate::bundle::Bundle;
use crate::child::Child;
use crate::handshake::Channel;
use crate::hooks::HookLists;
use crate::idmap::IdMaps;
use crate::namespaces::Namespaces;
use crate::rootfs::{self, Needs, Rootfs};
use crate::security::{self, Security};
use crate::state::{self, Saved, Status};
use crate::stdio::{self, Streams};
use crate::systemd::{Placeholder, Scope};
use crate::{
    Console, CreateRequest, Error, Result, Runtime, cgroup, console, delete, exe, net_devices,
    start, system, validate,
};

/// How long removing an empty cgroup may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A container that waits for its start.
#[derive(Debug)]
pub struct Created {
    /// Host pid of init, a child of the caller.
    pub pid: Pid,
    /// The same, held fast: wait on this.
    pub pidfd: PidFd,
    /// The terminal's master, when the process has a terminal and no socket was named for it.
    pub console: Option<OwnedFd>,
    /// When init was made, in clock ticks since the host's boot (proc(5), stat).
    pub start_time: Option<u64>,
    /// Where init began, where that is known.
    pub cgroup: Option<Cgroup>,
}

impl Runtime {
    /// Makes a container and everything in it but the user's program.
    ///
    /// # Errors
    /// Among others: the id is taken, the bundle asks for what this runtime does not do, a hook
    /// failed, the program does not exist in the container. Nothing is left behind then.
    pub fn create(&self, mut request: CreateRequest<'_>) -> Result<Created> {
        if let Some(driver) = self.driver(request.id)? {
            return driver.create(request);
        }
        exe::require_sealed()?;
        stdio::check_preserved(request.preserve_fds)?;
        let mut bundle = request.take_bundle()?;
        let adapted = request.system_container.asks(&bundle.spec, &request.policy)?;
        if adapted {
            system::adapt(&mut bundle.spec);
        }
        validate::check(&bundle.spec)?;
        let plan = Plan::new(self, &request, &bundle, adapted)?;
        let mut undo = Undo::new();
        let created = plan.run(&mut undo);
        match created {
            Ok(created) => {
                undo.disarm();
                Ok(created)
            }
            Err(error) => {
                let error = with_leftovers(error, undo.run_back());
                // What the hooks of a container set up, its poststop hooks take down: they follow
                // on its end also when that was in the middle of create (runtime.md, "Lifecycle").
                if let Some(saved) = plan.born.take() {
                    delete::run_poststop(&saved, &[]);
                }
                Err(error)
            }
        }
    }
}

/// A failure tells what it left behind.
fn with_leftovers(error: Error, leftovers: Vec<String>) -> Error {
    if leftovers.is_empty() {
        return error;
    }
    let kind = error.kind();
    let text = format!("{}; left behind: {}", error.flatten(), leftovers.join("; "));
    Error::Child { kind, text }
}

/// Everything that is known before anything is made.
struct Plan<'a> {
    runtime: &'a Runtime,
    request: &'a CreateRequest<'a>,
    bundle: &'a Bundle,
    spec: &'a Spec,
    linux: &'a Linux,
    process: &'a Process,
    directory: PathBuf,
    namespaces: Namespaces,
    /// Of the container's user namespace, if it has one.
    maps: Option<IdMaps>,
    /// Links of the host's, and what they are called in the container.
    net_devices: BTreeMap<&'a str, &'a str>,
    hooks: HookLists,
    annotations: BTreeMap<String, String>,
    /// The spec is not the bundle's as it stands.
    adapted: bool,
    /// There was a process, and so perhaps hooks.
    born: Cell<Option<Saved>>,
}

impl<'a> Plan<'a> {
    fn new(
        runtime: &'a Runtime,
        request: &'a CreateRequest<'a>,
        bundle: &'a Bundle,
        adapted: bool,
    ) -> Result<Self> {
        let spec = &bundle.spec;
        let missing = |member: &str| Error::config(member, "is missing");
        let linux = spec.linux().as_ref().ok_or_else(|| missing("linux"))?;
        let process = spec.process().as_ref().ok_or_else(|| missing("process"))?;
        if let Console::Socket(path) = request.console {
            console::check_socket(path, process.terminal().unwrap_or(false))?;
        }
        let namespaces = Namespaces::of(linux)?;
        let maps = match namespaces.joined(Kind::User) {
            Some(namespace) => Some(IdMaps::of_namespace(namespace)?),
            None if namespaces.is_new(Kind::User) => Some(IdMaps::of(linux)?),
            None => None,
        };
        Ok(Self {
            runtime,
            request,
            bundle,
            spec,
            linux,
            process,
            directory: runtime.directory(request.id)?,
            namespaces,
            maps,
            net_devices: net_devices::of(linux)?,
            hooks: HookLists::of(spec)?,
            annotations: spec.annotations().iter().flatten().map(own).collect(),
            adapted,
            born: Cell::new(None),
        })
    }

    fn run(&self, undo: &mut Undo<'a>) -> Result<Created> {
        self.make_directory(undo)?;
        let _lock = self.runtime.lock(self.request.id)?;
        let scope = self.scope()?;
        let path = match &scope {
            Some(scope) => scope.path()?,
            None => cgroup::path_of(self.spec, self.request.id)?,
        };
        let mut saved = Saved { scope: scope.clone(), ..self.saved(path.as_str()) };
        // Before the cgroup exists: whoever cleans up after us finds its path here.
        saved.write(&self.directory)?;
        let layout = Layout::detect()?;
        let (cgroup, placeholder) = self.make_cgroup(undo, &layout, &path, scope.as_ref())?;
        let rootfs = rootfs::prepare(&Needs {
            bundle: self.bundle,
            linux: self.linux,
            namespaces: &self.namespaces,
            maps: self.maps.as_ref(),
            layout: &layout,
            cgroup: &cgroup,
            system_container: system::is_one(self.spec),
        })?;
        let security = self.prepare_security(&saved)?;
        let start = start::listen_in(&self.directory)?;
        let (ours, theirs) = Channel::pair()?;
        let streams = Streams::from(self.request.stdio);
        self.give_streams_away(&streams);
        let cgroups = cgroup.join_fds()?;
        let child = Child {
            spec: self.spec,
            process: self.process,
            saved: &saved,
            namespaces: &self.namespaces,
            rootfs: &rootfs,
            cgroups: &cgroups,
            security: &security,
            hooks: &self.hooks,
            is_awaited: !self.hooks.runtime.is_empty() || !self.net_devices.is_empty(),
            channel: &theirs,
            start: &start,
            streams,
            preserve_fds: self.request.preserve_fds,
            no_pivot: self.request.no_pivot,
            no_new_keyring: self.request.no_new_keyring,
        };
        let (pid, pidfd, ours) = self.give_birth(&child, ours, &rootfs)?;
        // Only the child holds its end now, so that its death ends the stream.
        drop(theirs);
        drop(start);
        let birth =
            Birth { plan: self, pid, pidfd: &pidfd, channel: &ours, links: Cell::new(None) };
        let console = birth.run(&rootfs, &security, &mut saved).inspect_err(|_| {
            self.born.set(Some(saved.clone()));
        })?;
        // The place is taken.
        drop(placeholder);
        Ok(Created { pid, pidfd, console, start_time: saved.start_time, cgroup: Some(cgroup) })
    }

    fn make_directory(&self, undo: &mut Undo<'a>) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let root = self.runtime.root();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .during(|| format!("make {}", root.display()))?;
        match std::fs::DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists { id: self.request.id.to_owned() });
            }
            made => made.during(|| format!("make {}", self.directory.display()))?,
        }
        let directory = self.directory.clone();
        undo.push("state directory", move || delete::remove(&directory));
        Ok(())
    }

    /// Makes the cgroup, or has systemd make it; then a process holds the place until there is init.
    fn make_cgroup(
        &self,
        undo: &mut Undo<'a>,
        layout: &Layout,
        path: &CgroupPath,
        scope: Option<&Scope>,
    ) -> Result<(Cgroup, Option<Placeholder>)> {
        let owner = self.host_root();
        let Some(scope) = scope else {
            let cgroup = cgroup::create(layout, path, self.spec, owner)?;
            let made = cgroup.clone();
            undo.push("cgroup", move || made.remove(PATIENCE));
            return Ok((cgroup, None));
        };
        let placeholder = scope.begin(self.request.id, &self.annotations)?;
        let begun = scope.clone();
        undo.push("unit", move || begun.end());
        let cgroup = cgroup::complete(layout, path, self.spec, owner, scope)?;
        let made = cgroup.clone();
        undo.push("cgroup", move || made.remove(PATIENCE));
        Ok((cgroup, Some(placeholder)))
    }

    /// The unit that systemd is to make, if it is.
    fn scope(&self) -> Result<Option<Scope>> {
        if !self.request.systemd_cgroup {
            return Ok(None);
        }
        let path = self.linux.cgroups_path().as_deref().map(Path::to_string_lossy);
        Scope::parse(path.as_deref(), self.request.id).map(Some)
    }

    fn saved(&self, cgroup: &str) -> Saved {
        Saved {
            version: state::VERSION,
            oci_version: self.spec.version().clone(),
            id: self.request.id.to_owned(),
            pid: None,
            start_time: None,
            bundle: self.bundle.directory.clone(),
            rootfs: self.bundle.rootfs.clone(),
            cgroup: cgroup.to_owned(),
            scope: None,
            created: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            annotations: self.annotations.clone(),
            adapted: self.adapted,
            poststart: self.hooks.poststart.clone(),
            poststop: self.hooks.poststop.clone(),
        }
    }

    fn prepare_security(&self, saved: &Saved) -> Result<Security> {
        let state = saved.state(Status::Creating);
        let place = security::Place {
            user_namespace: self.maps.is_some(),
            setgroups_denied: false,
            seccomp_cache: self.runtime.seccomp_cache(),
            state: &state,
        };
        security::prepare(self.process, Some(self.linux), place)
    }

    /// The host's ids of the container's root, where they are not the host's own.
    fn host_root(&self) -> Option<(u32, u32)> {
        let maps = self.maps.as_ref()?;
        maps.host_uid(0).zip(maps.host_gid(0))
    }

    /// The user of the process may open /dev/stdout and its like again: so it must own the pipes.
    /// Files and devices of the host stay whose they are.
    fn give_streams_away(&self, streams: &Streams<'_>) {
        let uid = self.process.user().uid();
        let uid = self.maps.as_ref().map_or(Some(uid), |maps| maps.host_uid(uid));
        let Some(uid) = uid else { return };
        for stream in streams.all() {
            let Ok(stat) = fstat(stream) else { continue };
            if stat.st_uid != uid && FileType::from_raw_mode(stat.st_mode) == FileType::Fifo {
                // A pipe of a kind that cannot be given away is used as it is.
                let _ = fchown(stream, Some(Uid::from_raw(uid)), None::<Gid>);
            }
        }
    }

    /// Makes init. In the child this never comes back, and our end of the channel is closed: its
    /// own copy would hide our death from it.
    fn give_birth(
        &self,
        child: &Child<'_>,
        channel: Channel,
        rootfs: &Rootfs,
    ) -> Result<(Pid, PidFd, Channel)> {
        if let Some(namespace) = self.namespaces.joined(Kind::User) {
            rootfs.idmap(Some(namespace.as_fd()))?;
            return give_birth_within(child, channel, namespace);
        }
        if !self.namespaces.is_new(Kind::User) {
            rootfs.idmap(None)?;
        }
        let visit = self.namespaces.visit()?;
        let forked = linux::fork(self.namespaces.clone_flags(), child.cgroups.unified());
        if let Ok(Forked::Child) = forked {
            drop(channel);
            child.run();
        }
        let home = visit.leave();
        let Forked::Parent { pid, pidfd } = forked? else { unreachable!("the child has run") };
        if let Err(error) = home {
            let _ = pidfd.signal(Signal::KILL);
            let _ = pidfd.wait();
            return Err(error);
        }
        Ok((pid, pidfd, channel))
    }
}

fn own((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}
