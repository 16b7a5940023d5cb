//! A world of its own for each story: a mount namespace, a daemon, cgroups, containers.
//!
//! The thread of a test unshares its mount namespace and everything it starts is in there. What it
//! made is taken away when the world ends, and a leftover fails the test.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use linux::{
    CloneFlags,
    cgroup::layout::{Layout, Version},
    mount::{self, Propagation},
};

/// Where a daemon and everything of it is.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    daemon: Option<Child>,
    cgroup: String,
    layout: Layout,
    guests: AtomicU32,
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
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20) * slow();
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

    /// The command line of the daemon.
    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let log = self.dir.path().join("log");
        let mut command = Command::new(tool("lxcfs"));
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

    /// A container with cgroups of its own.
    pub(crate) fn guest(&self) -> Guest {
        self.guest_with("sh", true)
    }

    /// A container whose init has this name.
    pub(crate) fn guest_named(&self, name: &str) -> Guest {
        let shell = self.dir.path().join(name);
        fs::copy("/bin/sh", &shell).unwrap();
        self.guest_with(&format!("'{}'", shell.display()), true)
    }

    pub(crate) fn guest_with(&self, shell: &str, own_pid_ns: bool) -> Guest {
        let number = self.guests.fetch_add(1, Ordering::Relaxed);
        let id = format!("guest{number}-{}", self.cgroup.trim_start_matches("sysc-lxcfs-"));
        let path = format!("{}/isulad/{id}", self.cgroup);
        let dirs = self.make_cgroups(&path);
        let mut join = String::new();
        for dir in &dirs {
            join.push_str(&format!("echo 0 > {}/cgroup.procs\n", dir.display()));
        }
        let pid_ns = if own_pid_ns { "--pid --fork --kill-child --mount-proc" } else { "" };
        let script = format!("{join}exec unshare --mount --propagation private {pid_ns} {shell}");
        let mut child = Command::new("sh")
            .args(["-e", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut guest =
            Guest { id, child, input: Some(input), output, dirs, mount: self.mount(), own_pid_ns };
        assert_eq!(guest.run("echo up"), "up\n");
        guest
    }

    fn make_cgroups(&self, path: &str) -> Vec<PathBuf> {
        let mut dirs = Vec::new();
        for tree in self.layout.hierarchies() {
            let mut dir = tree.mount_point.clone();
            for part in path.split('/') {
                let parent = dir.clone();
                dir.push(part);
                if !dir.exists() {
                    fs::create_dir(&dir).unwrap();
                }
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    if tree.version == Version::V1 && tree.has("cpuset") {
                        let value = fs::read(parent.join(file)).unwrap();
                        fs::write(dir.join(file), value).unwrap();
                    }
                }
                if tree.version == Version::V2 {
                    for controller in ["memory", "cpu", "cpuset", "io", "pids"] {
                        let _ = fs::write(
                            parent.join("cgroup.subtree_control"),
                            format!("+{controller}"),
                        );
                    }
                }
            }
            dirs.push(dir);
        }
        dirs
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
        let _ = mount::detach(self.mount());
        for tree in self.layout.hierarchies() {
            let top = tree.mount_point.join(&self.cgroup);
            remove_tree(&top);
            assert!(std::thread::panicking() || !top.exists(), "{} is left", top.display());
        }
    }
}

fn remove_tree(dir: &Path) {
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

/// A container: namespaces, cgroups, and a shell as its init that we talk to.
pub(crate) struct Guest {
    pub(crate) id: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    dirs: Vec<PathBuf>,
    mount: PathBuf,
    own_pid_ns: bool,
}

impl Guest {
    /// What a command says, by the container's shell.
    pub(crate) fn run(&mut self, command: &str) -> String {
        self.start(command);
        self.finish()
    }

    /// Starts a command; `finish` waits for it.
    pub(crate) fn start(&mut self, command: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{{ {command}\n}} 2>&1; echo; echo ==end==").unwrap();
        input.flush().unwrap();
    }

    pub(crate) fn finish(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            let mut line = Vec::new();
            let got = self.output.read_until(b'\n', &mut line).unwrap();
            assert!(got > 0, "the container ended: {}", String::from_utf8_lossy(&text));
            if line == b"==end==\n" {
                break;
            }
            text.extend_from_slice(&line);
        }
        text.pop();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A file of the shared tree, as the container reads it.
    pub(crate) fn read(&mut self, path: &str) -> String {
        let path = self.mount.join(path);
        self.run(&format!("cat {}", path.display()))
    }

    /// The host's number of its init.
    pub(crate) fn pid(&self) -> i32 {
        let parent = linux::process::Pid::new(i32::try_from(self.child.id()).unwrap()).unwrap();
        if !self.own_pid_ns {
            return parent.get();
        }
        linux::process::children(parent).unwrap()[0].get()
    }

    fn file(&self, names: &[&str]) -> PathBuf {
        self.dirs
            .iter()
            .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
            .find(|path| path.exists())
            .unwrap_or_else(|| panic!("no {names:?}"))
    }

    fn set(&self, names: &[&str], value: &str) {
        let path = self.file(names);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    pub(crate) fn limit_memory(&self, bytes: &str) {
        let v1 = if bytes == "max" { "-1" } else { bytes };
        if self.dirs.iter().any(|dir| dir.join("memory.max").exists()) {
            self.set(&["memory.max"], bytes);
        } else {
            self.set(&["memory.limit_in_bytes"], v1);
        }
    }

    /// The limit of the cgroup above.
    pub(crate) fn limit_parent_memory(&self, bytes: &str) {
        let dir = self.dirs.iter().map(|dir| dir.parent().unwrap());
        let files = dir.flat_map(|dir| [dir.join("memory.limit_in_bytes"), dir.join("memory.max")]);
        fs::write(files.into_iter().find(|file| file.exists()).unwrap(), bytes).unwrap();
    }

    pub(crate) fn set_quota(&self, quota_us: i64) {
        self.set_quota_in(quota_us, |dir| dir.to_owned());
    }

    pub(crate) fn set_parent_quota(&self, quota_us: i64) {
        self.set_quota_in(quota_us, |dir| dir.parent().unwrap().to_owned());
    }

    fn set_quota_in(&self, quota_us: i64, which: impl Fn(&Path) -> PathBuf) {
        for dir in self.dirs.iter().map(|dir| which(dir)) {
            if dir.join("cpu.max").exists() {
                let quota = if quota_us < 0 { "max".into() } else { quota_us.to_string() };
                return fs::write(dir.join("cpu.max"), format!("{quota} 100000")).unwrap();
            }
            if dir.join("cpu.cfs_quota_us").exists() {
                return fs::write(dir.join("cpu.cfs_quota_us"), quota_us.to_string()).unwrap();
            }
        }
        panic!("no cpu controller");
    }

    pub(crate) fn set_cpus(&self, cpus: &str) {
        self.set(&["cpuset.cpus"], cpus);
    }

    /// A directory of the controller that has this file.
    pub(crate) fn dir_with(&self, file: &str) -> PathBuf {
        self.file(&[file]).parent().unwrap().to_owned()
    }

    /// Ends the container as its engine would.
    pub(crate) fn end(mut self) {
        self.end_now();
    }

    fn end_now(&mut self) {
        drop(self.input.take());
        kill(self.pid_or_zero(), 9);
        let _ = self.child.kill();
        let _ = self.child.wait();
        for dir in &self.dirs {
            let procs = dir.join("cgroup.procs");
            let end = Instant::now() + Duration::from_secs(5);
            while fs::read_to_string(&procs).is_ok_and(|procs| !procs.is_empty())
                && Instant::now() < end
            {
                pause(2);
            }
            remove_tree(dir);
        }
    }

    fn pid_or_zero(&self) -> i32 {
        let parent = linux::process::Pid::new(i32::try_from(self.child.id()).unwrap()).unwrap();
        let children = linux::process::children(parent).unwrap_or_default();
        children.first().map_or(0, |pid| pid.get())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.end_now();
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
