//! A store of containers, a busybox tree, and what to ask of a running one.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use container::config::{Namespaces, Security};
use container::{Config, Container, State, Status, Store};
use engine_ext::attach::client::pair;
use engine_ext::shim::client::{self, Launch, Started};
use engine_ext::shim::protocol::{Attach, Exit, Kind, PACKET_MAX, parse};
use engine_ext::shim::transport;
use linux::cgroup::{Cgroup, CgroupPath, Layout};
use linux::process::{Pid, PidFd, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
const ROOT: &str = "/mnt/root";
const STATE: &str = "/mnt/state";
const ROOTFS: &str = "/mnt/rootfs";
/// Nothing here takes long; what takes this long hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) const ALL: Attach =
    Attach { stdin: true, stdout: true, stderr: true, replay: true, lossless: true };

pub(crate) fn busybox() -> Option<&'static Path> {
    BUSYBOX.iter().map(Path::new).find(|path| path.exists())
}

/// One container to be made; change what matters.
pub(crate) struct Recipe(Value);

impl Recipe {
    pub(crate) fn of(args: &[&str]) -> Self {
        Self(json!({
            "version": 1, "created": "2026-01-01T00:00:00Z", "image": "none", "rootfs": ROOTFS,
            "system_container": false, "privileged": false, "read_only": false,
            "process": {
                "args": args, "entrypoint": null, "env": ["PATH=/bin", "TERM=dumb"],
                "env_target_file": null, "cwd": "/", "user": "", "group_add": [], "tty": false,
                "open_stdin": false,
            },
            "hostname": "guest", "namespaces": Namespaces::default(), "user_remap": null,
            "resources": {}, "security": Security::default(), "mounts": [], "devices": [],
            "host_channel": null, "shm_size": 65536, "sysctls": {}, "ns_change_files": [],
            "ns_change_opt": null,
            "network_files": {"extra_hosts": [], "dns": [], "dns_options": [], "dns_search": []},
            "restart": "no", "auto_remove": false, "stop_signal": null,
            "log": {"disabled": false, "path": null, "max_size": 0, "max_file": 1},
            "hook_spec": null, "hooks": {}, "labels": {}, "annotations": {},
        }))
    }

    /// A shell script.
    pub(crate) fn script(script: &str) -> Self {
        Self::of(&["sh", "-c", script])
    }

    pub(crate) fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        *self.0.pointer_mut(pointer).unwrap() = value.into();
        self
    }

    pub(crate) fn tty(self) -> Self {
        self.set("/process/tty", true).stdin()
    }

    pub(crate) fn stdin(self) -> Self {
        self.set("/process/open_stdin", true)
    }

    pub(crate) fn system(self) -> Self {
        self.set("/system_container", true)
    }
}

/// Where a test's containers are.
pub(crate) struct World {
    pub(crate) store: Store,
    cgroup: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let bin = Path::new(ROOTFS).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for directory in ["proc", "dev", "sys", "tmp"] {
            std::fs::create_dir_all(Path::new(ROOTFS).join(directory)).unwrap();
        }
        std::fs::copy(busybox().unwrap(), bin.join("busybox")).unwrap();
        for applet in [
            "sh", "sleep", "cat", "dd", "echo", "reboot", "poweroff", "stty", "tail", "true",
            "setsid",
        ] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        Self {
            store: Store::new(ROOT, STATE),
            cgroup: format!("sysc-shim-{}", rustix::process::getpid().as_raw_nonzero()),
        }
    }

    /// A path as the container sees it.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        Path::new(ROOTFS).join(path.trim_start_matches('/'))
    }

    pub(crate) fn create(&self, recipe: Recipe) -> Guest<'_> {
        let Recipe(mut config) = recipe;
        let reservation = self.store.reserve(None).unwrap();
        let id = reservation.container().id.to_string();
        config["id"] = id.clone().into();
        config["name"] = id.into();
        config["cgroup_parent"] = format!("/{}", self.cgroup).into();
        let config: Config = serde_json::from_value(config).unwrap();
        Guest { container: reservation.commit(&config).unwrap(), world: self }
    }

    /// Makes and starts a container.
    pub(crate) fn run(&self, recipe: Recipe) -> (Guest<'_>, Started) {
        let guest = self.create(recipe);
        let started = guest.start();
        (guest, started)
    }

    /// Makes and starts a container with somebody attached from the first byte on.
    pub(crate) fn run_attached(&self, recipe: Recipe) -> (Guest<'_>, Watcher) {
        let guest = self.create(recipe);
        let (ours, theirs) = pair(&ALL).unwrap();
        guest.launch(Some(theirs)).unwrap();
        (guest, Watcher::new(ours))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for container in self.store.list().unwrap() {
            let lock = container.state_dir.join("shim.lock");
            let pids = [linux::lock::holder(&lock), pid_of(&container)];
            for pid in pids.into_iter().flatten() {
                let _ = PidFd::open(pid).and_then(|it| it.signal(Signal::KILL));
            }
        }
        let path = CgroupPath::parse(&self.cgroup).unwrap();
        if let Ok(cgroup) = Cgroup::open(&Layout::detect().unwrap(), &path) {
            let _ = cgroup.kill_all(LIMIT);
            cgroup.remove(LIMIT).unwrap();
        }
    }
}

fn pid_of(container: &Container) -> Option<Pid> {
    container.saved_state().ok()?.pid.and_then(Pid::new)
}

/// A container of a [`World`].
pub(crate) struct Guest<'a> {
    pub(crate) container: Container,
    world: &'a World,
}

impl Guest<'_> {
    pub(crate) fn launch(&self, attach: Option<OwnedFd>) -> anyhow::Result<Started> {
        client::launch(Launch {
            limit: None,
            program: Path::new(env!("CARGO_BIN_EXE_isula-shim")),
            root: self.world.store.layout().root(),
            state: self.world.store.layout().state(),
            id: self.container.id.as_str(),
            attach,
        })
    }

    pub(crate) fn start(&self) -> Started {
        self.launch(None).unwrap()
    }

    pub(crate) fn state_dir(&self) -> &Path {
        &self.container.state_dir
    }

    pub(crate) fn state(&self) -> State {
        self.container.saved_state().unwrap()
    }

    pub(crate) fn shim(&self) -> Option<Pid> {
        linux::lock::holder(self.state_dir().join("shim.lock"))
    }

    /// What the log says, both streams.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.container.path("console.log")).unwrap();
        let record = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        text.lines().map(|line| record(line)["log"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn until(&self, what: &str, fact: impl Fn(&State) -> bool) -> State {
        until(what, || Some(self.state()).filter(&fact))
    }

    /// Waits until it is down and its shim gone; fails when something of it is left.
    pub(crate) fn until_gone(&self) -> State {
        until("the shim goes", || self.shim().is_none().then_some(()));
        let state = self.state();
        assert_eq!(state.status, Status::Stopped, "{}", self.notes());
        assert_eq!(state.pid, None);
        assert!(!self.state_dir().join("shim.sock").exists());
        let runtime = self.world.store.layout().runtime().join(self.container.id.as_str());
        assert!(!runtime.exists(), "{} is left", runtime.display());
        let path = CgroupPath::parse(&self.world.cgroup).unwrap();
        let cgroup = path.join(self.container.id.as_str()).unwrap();
        assert!(Cgroup::open(&Layout::detect().unwrap(), &cgroup).is_err(), "its cgroup is left");
        assert_eq!(self.notes(), "");
        state
    }

    /// What the shim had to say.
    pub(crate) fn notes(&self) -> String {
        std::fs::read_to_string(self.state_dir().join("shim.log")).unwrap_or_default()
    }

    pub(crate) fn attach(&self, wants: &Attach) -> Watcher {
        Watcher::new(engine_ext::attach::client::open(self.state_dir(), wants).unwrap().unwrap())
    }

    pub(crate) fn stop(&self, timeout_ms: i64) -> Option<i32> {
        let stop = engine_ext::shim::protocol::Stop { timeout_ms, ..Default::default() };
        client::stop(self.state_dir(), &stop).unwrap()
    }
}

/// An attached client that remembers what it has heard.
pub(crate) struct Watcher {
    connection: OwnedFd,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) restarts: usize,
    pub(crate) exit: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) is_closed: bool,
}

impl Watcher {
    pub(crate) fn new(connection: OwnedFd) -> Self {
        Self {
            connection,
            stdout: vec![],
            stderr: vec![],
            restarts: 0,
            exit: None,
            error: None,
            is_closed: false,
        }
    }

    /// Takes one packet; `false` when none came in time.
    fn hear(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(&self.connection, PollFlags::IN)];
        if poll(&mut fds, Some(&Timespec::try_from(left).unwrap())).unwrap() == 0 {
            return false;
        }
        let mut packet = vec![0; PACKET_MAX];
        let Some(length) = transport::receive(self.connection.as_fd(), &mut packet).unwrap() else {
            self.is_closed = true;
            return true;
        };
        let (kind, payload) = parse(&packet[..length]).unwrap();
        match kind {
            Kind::Stdout => self.stdout.extend(payload),
            Kind::Stderr => self.stderr.extend(payload),
            Kind::Restarted => self.restarts += 1,
            Kind::Exit => self.exit = Some(serde_json::from_slice::<Exit>(payload).unwrap().code),
            Kind::Error => self.error = Some(String::from_utf8_lossy(payload).into_owned()),
            _ => {}
        }
        true
    }

    /// Listens until it has heard what it waits for; a silence is what ends its patience.
    pub(crate) fn until(&mut self, what: &str, fact: impl Fn(&Self) -> bool) {
        while !fact(self) {
            let heard = !self.is_closed && self.hear(Instant::now() + LIMIT);
            assert!(heard || fact(self), "no {what}; heard {}", self.text());
        }
    }

    pub(crate) fn until_says(&mut self, text: &str) {
        self.until(text, |it| it.text().contains(text));
    }

    pub(crate) fn until_exit(&mut self) -> i32 {
        self.until("exit", |it| it.exit.is_some() || it.is_closed);
        self.exit.unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn send(&self, kind: Kind, payload: &[u8]) {
        assert!(transport::send(self.connection.as_fd(), &kind.packet(payload)).unwrap());
    }

    pub(crate) fn say(&self, text: &str) {
        self.send(Kind::Stdin, text.as_bytes());
    }
}

/// Waits for a fact.
pub(crate) fn until<T>(what: &str, fact: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long: {what}");
        // The only wait without a descriptor to wait for: 2 ms.
        let pause = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        let _ = poll(&mut [], Some(&pause));
    }
}
