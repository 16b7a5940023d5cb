//! A world of its own for each story: a mount namespace, a daemon, cgroups, containers.
//!
//! The thread of a test unshares its mount namespace and everything it starts is in there. What it
//! made is taken away when the world ends, and a leftover fails the test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use linux::{
    CloneFlags,
    cgroup::layout::Layout,
    mount::{self, Propagation},
};

/// Where a daemon and everything of it is.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    daemon: Option<Child>,
    pub(crate) cgroup: String,
    pub(crate) layout: Layout,
    pub(crate) guests: AtomicU32,
}

/// One of our tools: in the directory that `SYSC_BIN` names, else where cargo has built it.
pub(crate) fn tool(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_lxcfs"));
    let dir = std::env::var_os("SYSC_BIN").map(PathBuf::from);
    dir.as_deref().or(built.parent()).expect("a program is in a directory").join(name)
}

/// How much slower than the machine the figures were written for this one is.
pub(crate) fn slow() -> u32 {
    std::env::var("SYSC_TESTS_SLOW").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Waits for a fact.
pub(crate) fn until(what: &str, fact: impl FnMut() -> bool) {
    until_within(20, what, fact);
}

/// The same, for one that takes its time.
pub(crate) fn until_within(seconds: u64, what: &str, mut fact: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds) * slow();
    while !fact() {
        assert!(Instant::now() < end, "{what}: not in time");
        pause(5);
    }
}

pub(crate) fn pause(ms: u64) {
    let span = rustix::event::Timespec::try_from(Duration::from_millis(ms)).ok();
    let _ = rustix::event::poll(&mut [], span.as_ref());
}

impl World {
    /// A world with a daemon that was given `options`.
    pub(crate) fn new(options: &[&str]) -> World {
        let world = World::empty();
        let mut world = world;
        world.start(options);
        world
    }

    /// A world without a daemon.
    pub(crate) fn empty() -> World {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        linux::ns::unshare(CloneFlags::NEWNS).unwrap();
        mount::set_propagation("/", Propagation::Private, true).unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("mnt")).unwrap();
        World {
            dir,
            daemon: None,
            cgroup: format!("sysc-lxcfs-{}-{number}", std::process::id()),
            layout: Layout::detect().unwrap(),
            guests: AtomicU32::new(0),
        }
    }

    pub(crate) fn mount(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) fn start(&mut self, options: &[&str]) {
        let daemon = self.command(options).spawn().unwrap();
        self.adopt(daemon);
    }

    /// Takes a daemon that was started otherwise, and waits until it serves.
    pub(crate) fn adopt(&mut self, mut daemon: Child) {
        let mount = self.mount();
        until("the daemon serves", || {
            if let Some(status) = daemon.try_wait().unwrap() {
                panic!("the daemon ended: {status}\n{}", self.log());
            }
            fs::read_dir(mount.join("proc")).is_ok()
        });
        self.daemon = Some(daemon);
    }

    /// A daemon beside ours, with everything of its own.
    pub(crate) fn second(&self) -> Second {
        let dir = self.dir.path().join("second");
        fs::create_dir(&dir).unwrap();
        let mount = dir.join("mnt");
        let mut command = Command::new(tool("lxcfs"));
        command.arg("--runtime-dir").arg(dir.join("run")).arg("-p").arg(dir.join("pid"));
        command.arg("--log").arg(dir.join("log")).arg(&mount).stdin(Stdio::null());
        let daemon = command.spawn().unwrap();
        until("the second daemon serves", || fs::read_dir(mount.join("proc")).is_ok());
        Second { daemon, mount }
    }

    /// The command line of the daemon.
    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let log = self.dir.path().join("log");
        let mut command = Command::new(tool("lxcfs"));
        // On a slow machine an answer that is on its way is not late.
        if slow() > 1 && !options.contains(&"--deadline") {
            command.args(["--deadline", &(2000 * slow()).to_string()]);
        }
        command.args(options).arg("--runtime-dir").arg(self.runtime_dir());
        command.arg("--log").arg(&log).args(["--log-level", "info"]);
        command.arg("-p").arg(self.dir.path().join("pid")).arg(self.mount());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn holder(&self) -> i32 {
        i32::try_from(self.daemon.as_ref().expect("a daemon").id()).unwrap()
    }

    /// The worker that serves at this moment.
    pub(crate) fn worker(&self) -> i32 {
        let holder = linux::process::Pid::new(self.holder()).unwrap();
        let mut worker = None;
        until("there is a worker", || {
            worker = linux::process::children(holder).unwrap().last().copied();
            worker.is_some()
        });
        worker.unwrap().get()
    }

    /// Ends the daemon as a service manager would; returns how it ended.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        let mut daemon = self.daemon.take().expect("a daemon");
        kill(i32::try_from(daemon.id()).unwrap(), 15);
        daemon.wait().unwrap()
    }

    /// Kills the holder, and only it.
    pub(crate) fn kill_holder(&mut self) {
        let mut daemon = self.daemon.take().expect("a daemon");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    pub(crate) fn toolkit(&self, args: &[&str]) -> Output {
        Command::new(tool("lxcfs-toolkit"))
            .arg("--path")
            .arg(self.mount())
            .arg("--runtime-dir")
            .arg(self.runtime_dir())
            .args(args)
            .output()
            .unwrap()
    }

    /// A file the kernel keeps, of an attached container.
    pub(crate) fn kept(&self, path: &str) -> PathBuf {
        self.runtime_dir().join("kept").join(path)
    }

    /// A file of the tree all share.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.mount().join(path)).unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        let socket = self.runtime_dir().join("metrics.sock");
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        text
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// A daemon beside the world's.
pub(crate) struct Second {
    daemon: Child,
    pub(crate) mount: PathBuf,
}

impl Second {
    /// Stops it and its worker: from now on whoever asks it waits.
    pub(crate) fn hang(&self) {
        let holder = linux::process::Pid::new(i32::try_from(self.daemon.id()).unwrap()).unwrap();
        kill(holder.get(), 19);
        for worker in linux::process::children(holder).unwrap() {
            kill(worker.get(), 19);
        }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let holder = linux::process::Pid::new(i32::try_from(self.daemon.id()).unwrap()).unwrap();
        for process in
            linux::process::children(holder).unwrap_or_default().into_iter().chain([holder])
        {
            kill(process.get(), 9);
        }
        let _ = self.daemon.wait();
        for mount in [self.mount.clone(), self.mount.with_file_name("run/kept")] {
            let _ = mount::detach(mount);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the daemon\n{}", self.log());
        }
        if let Some(mut daemon) = self.daemon.take() {
            kill(i32::try_from(daemon.id()).unwrap(), 15);
            let _ = daemon.wait();
        }
        for mount in [self.mount(), self.runtime_dir().join("kept")] {
            let _ = mount::detach(mount);
        }
        for tree in self.layout.hierarchies() {
            let top = tree.mount_point.join(&self.cgroup);
            remove_tree(&top);
            assert!(std::thread::panicking() || !top.exists(), "{} is left", top.display());
        }
    }
}

pub(crate) fn remove_tree(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.path().is_dir()) {
        remove_tree(&entry.path());
    }
    let end = Instant::now() + Duration::from_secs(5);
    while dir.exists() && fs::remove_dir(dir).is_err() && Instant::now() < end {
        pause(5);
    }
}

pub(crate) fn kill(pid: i32, signal: i32) {
    if let Some(pid) = linux::process::Pid::new(pid)
        && let Ok(process) = linux::process::PidFd::open(pid)
    {
        let _ = process.signal(linux::signal::Signal::new(signal).unwrap());
    }
}

/// The number on a line of meminfo.
pub(crate) fn kb(meminfo: &str, key: &str) -> u64 {
    let line = meminfo
        .lines()
        .find(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
        .unwrap_or_else(|| panic!("no {key} in {meminfo}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
