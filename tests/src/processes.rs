//! The processes of this pid namespace, as /proc shows them.

use std::fmt;
use std::fs;

/// One process. `pid` is its number in the namespace of the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub state: char,
    pub argv: Vec<String>,
    pub cgroup: String,
    environ: Vec<u8>,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let dir = format!("/proc/{pid}");
        let stat = fs::read_to_string(format!("{dir}/stat")).ok()?;
        // The name is in parentheses and may hold anything, also parentheses.
        let (name, rest) = stat.rsplit_once(") ")?;
        let mut rest = rest.split(' ');
        let state = rest.next()?.chars().next()?;
        let parent = rest.next()?.parse().ok()?;
        let bytes = fs::read(format!("{dir}/cmdline")).unwrap_or_default();
        let mut argv: Vec<String> = bytes
            .split(|&byte| byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        argv.pop();
        if argv.is_empty() {
            argv.push(format!("[{}]", name.split_once('(').map_or("?", |(_, name)| name)));
        }
        Some(Self {
            pid,
            parent,
            state,
            argv,
            cgroup: fs::read_to_string(format!("{dir}/cgroup")).unwrap_or_default(),
            environ: fs::read(format!("{dir}/environ")).unwrap_or_default(),
        })
    }

    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }

    /// Whether it belongs to the world of that name: by what it was started with, or its cgroup.
    pub fn belongs_to(&self, world: &str) -> bool {
        let marker = format!("SYSC_WORLD={world}");
        let in_environ =
            self.environ.split(|&byte| byte == 0).any(|word| word == marker.as_bytes());
        let in_cgroup = self
            .cgroup
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2))
            .any(|path| path.split('/').any(|part| part == world));
        in_environ || in_cgroup
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (parent {}, {}) {}", self.pid, self.parent, self.state, self.argv.join(" "))
    }
}

/// All of them; one that ends meanwhile is left out.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect()
}

/// Those other than us that have the pipe of this inode number open.
pub fn holding(pipe: u64) -> Vec<Process> {
    let name = format!("pipe:[{pipe}]");
    let is_open = |process: &Process| {
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", process.pid)) else { return false };
        open.flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| target.as_os_str() == name.as_str())
    };
    let mut all = all();
    all.retain(|process| process.pid != std::process::id() && is_open(process));
    all
}

/// Those of one world.
pub fn of(world: &str) -> Vec<Process> {
    all().into_iter().filter(|process| process.belongs_to(world)).collect()
}
