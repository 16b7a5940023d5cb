//! From the thread that made a request to its container, for the tree that all share.
//!
//! The caller cannot end while its request is unanswered, so its thread id is its own for as long
//! as we look. One stat of `/proc/TID/ns/pid` finds a known container; an unknown one costs an
//! ioctl for its init (`linux::pidns`). A namespace within a namespace is its own container.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use linux::process::Pid;

use crate::{container::Container, fallback::Cause, server::Server, text};

/// For how long a namespace whose init could not be found is not looked at again.
const NEGATIVE: Duration = Duration::from_millis(100);
/// Processes of a cgroup that are asked for the oldest of them.
const ELDERS: usize = 64;

/// Who asked.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A process of the host: it sees the host.
    Host,
    /// A process of this container.
    Container(Arc<Container>),
    /// Nobody of the host, and of no container that could be found.
    Unknown,
}

impl Caller {
    /// The container, where there is one.
    pub fn container(&self) -> Option<&Arc<Container>> {
        match self {
            Caller::Container(container) => Some(container),
            Caller::Host | Caller::Unknown => None,
        }
    }
}

/// The containers met so far.
#[derive(Debug)]
pub struct Callers {
    own_pid_ns: u64,
    host_mount_ns: [u64; 2],
    by_pid_ns: RwLock<HashMap<u64, Arc<Container>>>,
    by_cgroup: RwLock<HashMap<u64, Arc<Container>>>,
    unknown: Mutex<HashMap<u64, Instant>>,
}

impl Callers {
    /// Knows nobody, and the host by the namespaces of this process and of pid 1.
    pub fn new() -> Callers {
        let mount_ns = |pid: &str| namespace(pid, "mnt").unwrap_or(0);
        Callers {
            own_pid_ns: namespace("self", "pid").unwrap_or(0),
            host_mount_ns: [mount_ns("self"), mount_ns("1")],
            by_pid_ns: RwLock::default(),
            by_cgroup: RwLock::default(),
            unknown: Mutex::default(),
        }
    }

    /// Who the thread `tid` belongs to. 0 is a thread we cannot see.
    pub fn find(&self, server: &Server, tid: u32) -> Result<Caller, Cause> {
        let tid = i32::try_from(tid).ok().and_then(Pid::new).ok_or(Cause::Identity)?;
        let pid_ns = namespace(&tid.to_string(), "pid").ok_or(Cause::Identity)?;
        if pid_ns == self.own_pid_ns {
            return self.in_our_pid_ns(server, tid);
        }
        if let Some(known) = read(&self.by_pid_ns).get(&pid_ns) {
            return Ok(Caller::Container(Arc::clone(known)));
        }
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.retain(|_, since| since.elapsed() < NEGATIVE);
        if unknown.contains_key(&pid_ns) {
            return Err(Cause::Identity);
        }
        drop(unknown);
        let found = self.meet(server, tid, pid_ns);
        if found.is_err() {
            let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            unknown.insert(pid_ns, Instant::now());
        }
        found.map(Caller::Container)
    }

    fn meet(&self, server: &Server, tid: Pid, pid_ns: u64) -> Result<Arc<Container>, Cause> {
        let init = linux::pidns::init_of(tid).map_err(|_| Cause::Identity)?;
        let settings = server.config.defaults.clone();
        let name = format!("pid-ns-{pid_ns}");
        let container =
            Container::new(init, pid_ns, name, settings).map_err(|_| Cause::Identity)?;
        // The pidfd pins the namespace from here on; what was read before has to hold still.
        if namespace(&init.to_string(), "pid") != Some(pid_ns) || !container.is_alive() {
            return Err(Cause::Identity);
        }
        let mut known = self.by_pid_ns.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(pid_ns).or_insert_with(|| Arc::new(container))))
    }

    /// A container may share the host's pid namespace; its cgroup tells it from the host then.
    fn in_our_pid_ns(&self, server: &Server, tid: Pid) -> Result<Caller, Cause> {
        let mount_ns = namespace(&tid.to_string(), "mnt").ok_or(Cause::Identity)?;
        if self.host_mount_ns.contains(&mount_ns) {
            return Ok(Caller::Host);
        }
        let mut cgroup = Vec::new();
        crate::host::read_path(&format!("/proc/{tid}/cgroup"), &mut cgroup)
            .map_err(|_| Cause::Identity)?;
        let key = hash(&cgroup);
        let known = read(&self.by_cgroup).get(&key).filter(|known| known.is_alive()).cloned();
        if let Some(known) = known {
            return Ok(Caller::Container(known));
        }
        let init = self.eldest(server, tid).ok_or(Cause::Identity)?;
        let settings = server.config.defaults.clone();
        let name = format!("cgroup-{key:x}");
        let container = Container::new(init, key, name, settings).map_err(|_| Cause::Identity)?;
        let container = Arc::new(container);
        self.by_cgroup
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, Arc::clone(&container));
        Ok(Caller::Container(container))
    }

    /// The process of the caller's cgroup that started first stands for its init.
    fn eldest(&self, server: &Server, tid: Pid) -> Option<Pid> {
        let group = thread_group(tid)?;
        let membership = crate::source::membership(group).ok()?;
        let places = crate::source::Places::of(&server.trees, &membership);
        let mut procs = Vec::new();
        if let Some(dir) = places.process_dir(&server.trees) {
            let list = dir.join("cgroup.procs");
            let _ = crate::host::read_path(&list.to_string_lossy(), &mut procs);
        }
        let pids = text::lines(&procs)
            .take(ELDERS)
            .filter_map(|line| Pid::new(i32::try_from(text::number(line)?).ok()?));
        pids.chain([group]).min_by_key(|pid| linux::process::start_time(*pid).unwrap_or(u64::MAX))
    }

    /// Every container met and not yet gone.
    pub fn all(&self) -> Vec<Arc<Container>> {
        let pid_ns = read(&self.by_pid_ns);
        let cgroup = read(&self.by_cgroup);
        pid_ns.values().chain(cgroup.values()).cloned().collect()
    }

    /// Lets containers go whose init ended; they are returned.
    pub fn sweep(&self) -> Vec<Arc<Container>> {
        let gone: Vec<_> =
            self.all().into_iter().filter(|container| !container.is_alive()).collect();
        for map in [&self.by_pid_ns, &self.by_cgroup] {
            if gone.is_empty() {
                break;
            }
            map.write()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|_, container| !gone.iter().any(|gone| Arc::ptr_eq(gone, container)));
        }
        gone
    }
}

impl Default for Callers {
    fn default() -> Callers {
        Callers::new()
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// The inode number of a namespace: its identity while somebody is in it.
fn namespace(pid: &str, kind: &str) -> Option<u64> {
    rustix::fs::stat(format!("/proc/{pid}/ns/{kind}")).ok().map(|stat| stat.st_ino)
}

fn thread_group(tid: Pid) -> Option<Pid> {
    let mut status = Vec::new();
    crate::host::read_path(&format!("/proc/{tid}/status"), &mut status).ok()?;
    text::lines(&status)
        .find_map(|line| line.strip_prefix(b"Tgid:"))
        .and_then(text::number)
        .and_then(|pid| Pid::new(i32::try_from(pid).ok()?))
}

/// FNV-1a: keys of our own table, not a defence.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
