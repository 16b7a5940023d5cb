//! A container of a story: namespaces, cgroups, and a shell as its init that we talk to.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use linux::cgroup::layout::Version;

use crate::world::{World, kill, pause, remove_tree};

impl World {
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

    /// Gives a container a part of the tree that is its own.
    pub(crate) fn attach(&self, id: &str, pid: i32) {
        let request = lxcfs::control::Request::Attach { id: id.into(), pid };
        let socket = self.runtime_dir().join("control.sock");
        let (response, _) = lxcfs::control::ask(&socket, &request).unwrap();
        assert_eq!(response, lxcfs::control::Response::Done);
    }

    /// Makes a cgroup in every hierarchy.
    pub(crate) fn make_cgroups(&self, path: &str) -> Vec<PathBuf> {
        let mut dirs = Vec::new();
        for tree in self.layout.hierarchies() {
            let mut dir = tree.mount_point.clone();
            for part in path.split('/') {
                let parent = dir.clone();
                dir.push(part);
                if dir.exists() {
                    continue;
                }
                fs::create_dir(&dir).unwrap();
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

    /// What the container has used of the CPUs, as its cgroup has it.
    pub(crate) fn cpu_time(&self) -> Duration {
        if let Some(dir) = self.dirs.iter().find(|dir| dir.join("cpuacct.usage").exists()) {
            let text = fs::read_to_string(dir.join("cpuacct.usage")).unwrap();
            return Duration::from_nanos(text.trim().parse().unwrap());
        }
        let text = fs::read_to_string(self.file(&["cpu.stat"])).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
        Duration::from_micros(line.parse().unwrap())
    }

    /// Bounds swap; `false` where this kernel does not account it.
    pub(crate) fn limit_swap(&self, bytes: u64) -> bool {
        let files = ["memory.swap.max", "memory.memsw.limit_in_bytes"];
        let file = files
            .iter()
            .flat_map(|file| self.dirs.iter().map(move |dir| dir.join(file)))
            .find(|file| file.exists());
        if file.as_ref().is_some_and(|file| file.ends_with(files[1])) {
            // Memory and swap together cannot be less than memory.
            self.limit_memory(&bytes.to_string());
        }
        file.is_some_and(|file| fs::write(file, bytes.to_string()).is_ok())
    }

    /// Moves a process into the container's cgroups.
    pub(crate) fn take_in(&self, pid: i32) {
        for dir in &self.dirs {
            fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }

    /// Moves the container's processes to others of its hierarchies' cgroups and takes its own away.
    pub(crate) fn lose_cgroups(&self, others: &[PathBuf]) {
        for (dir, other) in self.dirs.iter().zip(others) {
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
            for pid in procs.lines() {
                // The shell's children may have ended meanwhile.
                let _ = fs::write(other.join("cgroup.procs"), pid);
            }
            remove_tree(dir);
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
