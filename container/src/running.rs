//! A container that runs, held so that nothing done to it can hit another one.
//!
//! Its init is a pidfd whose start time or cgroup has been looked at, and whose namespaces are not
//! the host's; its tree is one directory descriptor. Between these and an act there is no pid and no
//! path any more. What only some acts need is looked at when it is first asked for.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::oci_state::OciState;
use crate::spec::Spec;
use crate::state::Status;
use crate::store::Container;
use linux::cgroup::{Cgroup, CgroupPath, Layout};
use linux::ns::{Kind, Namespace};
use linux::process::{Pid, PidFd};
use linux::root::Root;

/// See the module.
#[derive(Debug)]
pub struct Running {
    /// The id.
    pub id: String,
    /// The host pid of init: for messages, and for files of /proc while `init` lives.
    pub pid: Pid,
    /// Its init.
    pub init: PidFd,
    /// Its tree.
    pub root: Root,
    /// Where its mounts are.
    pub mounts: Namespace,
    /// Its ids, when they are not the host's.
    pub user: Option<UserNamespace>,
    bundle: Option<PathBuf>,
    network: OnceLock<Option<Namespace>>,
    cgroup: OnceLock<Cgroup>,
    spec: OnceLock<Spec>,
}

/// A user namespace and its maps, as the host sees them.
#[derive(Debug)]
pub struct UserNamespace {
    /// The namespace.
    pub namespace: Namespace,
    uids: IdMap,
    gids: IdMap,
}

/// Lines of `/proc/PID/uid_map`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdMap(Vec<(u32, u32, u32)>);

/// Where a container stands, as far as hot-plug cares.
#[derive(Debug)]
pub enum Standing {
    /// It runs.
    Running(Box<Running>),
    /// It does not, and will read its record when it starts.
    Stopped,
    /// It is on its way: its record may have been read already.
    Starting,
}

/// Why there is nothing to act on.
#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    /// A file of ours.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] linux::Error),
    /// What was found is not the container.
    #[error("container {id}: {reason}")]
    NotIts {
        /// The container.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

type Result<T, E = RunningError> = std::result::Result<T, E>;

const ENDED: &str = "its init has ended";

impl Running {
    /// Where one of `isula`'s containers stands.
    ///
    /// # Errors
    /// A file cannot be read, or what has the pid of its init is not its init.
    pub fn of(container: &Container) -> Result<Standing> {
        let state = container.state()?;
        match state.status {
            Status::Running | Status::Paused => {}
            Status::Starting => return Ok(Standing::Starting),
            Status::Created | Status::Restarting | Status::Stopped => return Ok(Standing::Stopped),
        }
        let (Some(pid), Some(start)) = (state.pid.and_then(Pid::new), state.start_time) else {
            return Ok(Standing::Starting);
        };
        // Its shim has not yet said that it ended.
        let Some(init) = PidFd::open_alive(pid, start)? else {
            return Ok(Standing::Stopped);
        };
        let id = container.id.to_string();
        let running = Self::hold(id, pid, init, Some(&container.dir), None)?;
        Ok(Standing::Running(Box::new(running)))
    }

    /// The container whose hook we are, at a time when it has not changed its root yet, or later.
    ///
    /// # Errors
    /// It has no process, its rootfs is nowhere or is the host's, or the process is not its own.
    pub fn of_hook(state: &OciState) -> Result<Self> {
        let not_its = |reason: &str| not_its(&state.id, reason);
        let pid = Pid::new(state.pid).ok_or_else(|| not_its("its state names no process"))?;
        let spec = Spec::read(&state.bundle)?;
        let rootfs = rootfs_of(state, &spec)?;
        let init = PidFd::open(pid)?;
        let running = Self::hold(state.id.clone(), pid, init, Some(&state.bundle), Some(&rootfs))?;
        once(&running.spec, || Ok(spec))?;
        running.cgroup()?;
        Ok(running)
    }

    /// A running container of another engine's: its init, and its bundle if it is known.
    ///
    /// # Errors
    /// The process is gone, or is not a container's.
    pub fn of_process(
        id: &str,
        pid: Pid,
        start_time: Option<u64>,
        bundle: Option<&Path>,
    ) -> Result<Standing> {
        let is_told = start_time.is_some();
        let start_time = match start_time {
            Some(start_time) => start_time,
            None => match linux::process::start_time(pid) {
                Err(error) if error.is(linux::Errno::NOENT) => return Ok(Standing::Stopped),
                start_time => start_time?,
            },
        };
        let Some(init) = PidFd::open_alive(pid, start_time)? else {
            return Ok(Standing::Stopped);
        };
        let running = Self::hold(id.to_owned(), pid, init, bundle, None)?;
        if !is_told {
            // Whoever has that pid now is known by its cgroup alone.
            running.cgroup()?;
        }
        Ok(Standing::Running(Box::new(running)))
    }

    /// `rootfs`: where the tree is if the process still has the host's root.
    fn hold(
        id: String,
        pid: Pid,
        init: PidFd,
        bundle: Option<&Path>,
        rootfs: Option<&Path>,
    ) -> Result<Self> {
        let mounts = Namespace::of(&init, Kind::Mount)?;
        if is_ours(&mounts)? {
            return Err(not_its(&id, &format!("process {pid} lives among the host's mounts")));
        }
        let user = Namespace::of(&init, Kind::User)?;
        let user = if is_ours(&user)? { None } else { Some(UserNamespace::of(pid, user)?) };
        // By its pid, which is its own all along if it is still there at the end.
        let root = root_of(&id, pid, rootfs)?;
        if !init.is_alive()? {
            return Err(not_its(&id, ENDED));
        }
        Ok(Self {
            id,
            pid,
            init,
            root,
            mounts,
            user,
            bundle: bundle.map(Path::to_owned),
            network: OnceLock::new(),
            cgroup: OnceLock::new(),
            spec: OnceLock::new(),
        })
    }

    /// Where its links are; `None` when it shares the host's.
    ///
    /// # Errors
    /// Its init has ended.
    pub fn network(&self) -> Result<Option<&Namespace>> {
        let network = once(&self.network, || {
            let network = Namespace::of(&self.init, Kind::Net)?;
            Ok((!is_ours(&network)?).then_some(network))
        })?;
        Ok(network.as_ref())
    }

    /// Its cgroup: the outermost that is its own.
    ///
    /// # Errors
    /// Its init has ended, or is not in the cgroup that the bundle names.
    pub fn cgroup(&self) -> Result<&Cgroup> {
        once(&self.cgroup, || {
            let cgroup = cgroup_of(&self.id, self.pid, self.spec()?)?;
            // Still there, so the pid was its own all along.
            if self.init.is_alive()? { Ok(cgroup) } else { Err(not_its(&self.id, ENDED)) }
        })
    }

    /// What its bundle says; nothing where that is not known.
    ///
    /// # Errors
    /// The bundle's document cannot be read.
    pub fn spec(&self) -> Result<&Spec> {
        once(&self.spec, || {
            Ok(self.bundle.as_deref().map(Spec::read).transpose()?.unwrap_or_default())
        })
    }

    /// Host ids of the container's root.
    ///
    /// # Errors
    /// Its user namespace maps none.
    pub fn root_ids(&self) -> Result<(u32, u32)> {
        let Some(user) = &self.user else { return Ok((0, 0)) };
        user.host_ids(0, 0).ok_or_else(|| {
            not_its(&self.id, "its user namespace maps no id to its root; map 0 to use it")
        })
    }
}

impl UserNamespace {
    fn of(pid: Pid, namespace: Namespace) -> Result<Self> {
        let map = |file: &str| -> Result<IdMap> {
            Ok(IdMap::parse(&linux::file::read_to_string(format!("/proc/{pid}/{file}"))?))
        };
        Ok(Self { namespace, uids: map("uid_map")?, gids: map("gid_map")? })
    }

    /// The host's ids of a pair of the container's.
    #[must_use]
    pub fn host_ids(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        self.uids.to_host(uid).zip(self.gids.to_host(gid))
    }

    /// Whether this pair of the host's stands for one of the container's.
    #[must_use]
    pub fn covers(&self, uid: u32, gid: u32) -> bool {
        self.uids.covers(uid) && self.gids.covers(gid)
    }
}

impl IdMap {
    /// Lines of three numbers; what is none is passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
            let mut next = || numbers.next()?.ok();
            Some((next()?, next()?, next()?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// Whether the host's `id` is that of somebody inside.
    #[must_use]
    pub fn covers(&self, id: u32) -> bool {
        self.0.iter().any(|&(_, host, size)| id.checked_sub(host).is_some_and(|n| n < size))
    }

    /// The host's id of the container's `id`.
    #[must_use]
    pub fn to_host(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|&(inside, host, size)| {
            let offset = id.checked_sub(inside).filter(|&offset| offset < size)?;
            host.checked_add(offset)
        })
    }
}

/// What `cell` has, looked up if it has nothing yet.
fn once<T>(cell: &OnceLock<T>, look: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(found) => Ok(found),
        None => look().map(|found| cell.get_or_init(|| found)),
    }
}

fn not_its(id: &str, reason: &str) -> RunningError {
    RunningError::NotIts { id: id.to_owned(), reason: reason.to_owned() }
}

fn is_ours(namespace: &Namespace) -> linux::Result<bool> {
    Ok(namespace.identity()? == Namespace::current(namespace.kind())?.identity()?)
}

/// The rootfs that the bundle names: absolute, and not the host's root.
fn rootfs_of(state: &OciState, spec: &Spec) -> Result<PathBuf> {
    let named = &spec.root.path;
    if named.as_os_str().is_empty() {
        return Err(not_its(&state.id, "root.path of its config.json is missing or empty"));
    }
    let rootfs = state.bundle.join(named);
    let real = |path: &Path| {
        std::fs::canonicalize(path).map_err(|error| {
            not_its(&state.id, &format!("find its rootfs {}: {error}", path.display()))
        })
    };
    let found = real(&rootfs)?;
    if found == Path::new("/") {
        return Err(not_its(&state.id, "root.path of its config.json is the host's root"));
    }
    if let Some(told) = &state.root
        && (!told.is_absolute() || real(told)? != found)
    {
        let told = told.display();
        let reason = format!(
            "its state says that the rootfs is {told:?}, its config.json says {}",
            rootfs.display()
        );
        return Err(not_its(&state.id, &reason));
    }
    Ok(found)
}

/// The tree of the process, or below it when the process still has the host's root.
fn root_of(id: &str, pid: Pid, rootfs: Option<&Path>) -> Result<Root> {
    let host = linux::root::own_identity()?;
    let root = Root::open(format!("/proc/{pid}/root"))?;
    if root.identity()? != host {
        return Ok(root);
    }
    let Some(rootfs) = rootfs else {
        return Err(not_its(id, &format!("process {pid} has the host's root")));
    };
    let root = root.subtree(rootfs)?;
    if root.identity()? == host {
        return Err(not_its(id, "its rootfs is the host's root"));
    }
    Ok(root)
}

/// The cgroup that the spec names, if the process is in it; else the outermost around the process
/// that carries the id, as engines that use systemd have it; else the process's own.
fn cgroup_of(id: &str, pid: Pid, spec: &Spec) -> Result<Cgroup> {
    let layout = Layout::detect()?;
    let named = spec.linux.cgroups_path.as_deref().filter(|path| path.starts_with('/'));
    if let Some(path) = named {
        let cgroup = Cgroup::with_process(&layout, &CgroupPath::parse(path)?, pid)?;
        return cgroup
            .ok_or_else(|| not_its(id, &format!("process {pid} is not in its cgroup {path}")));
    }
    let cgroup = Cgroup::around(&layout, pid, &|path| trimmed(path, id))?;
    if cgroup.dirs().all(|dir| layout.hierarchies().iter().any(|one| one.mount_point == dir)) {
        return Err(not_its(id, &format!("process {pid} is in no cgroup of its own")));
    }
    Ok(cgroup)
}

/// Up to the part that carries the id, or without the leaf that a systemd inside has moved to.
fn trimmed(path: &Path, id: &str) -> PathBuf {
    let carries = |part: std::path::Component<'_>| {
        part.as_os_str().to_str().is_some_and(|name| name.contains(id))
    };
    let parts: Vec<_> = path.components().collect();
    if let Some(at) = parts.iter().position(|part| carries(*part)) {
        return parts[..=at].iter().collect();
    }
    match path.file_name() {
        Some(name) if name == "init.scope" => path.parent().unwrap_or(path).to_owned(),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
