//! Counts the threads of containers that somebody reads, for `loadavg` and `procs_running`.
//!
//! Once in five seconds, only containers read in the last five minutes, never more threads than
//! a budget: what is over it keeps its last count rather than holding the others up.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::{File, Mode},
    container::{Container, Load},
    host,
    load::{Averages, PERIOD_S},
    server::Server,
    text,
};

/// How long after its last read a container is still counted.
const INTEREST_US: u64 = 300_000_000;
/// Threads looked at in one container.
const THREADS: usize = 20_000;
/// Directories below a container's cgroup that are looked into.
const DIRS: usize = 2_000;
/// How long one round may take, all containers together.
const ROUND: Duration = Duration::from_millis(500);

/// One round over all containers.
pub fn round(server: &Server, containers: &[Arc<Container>]) {
    let start = Instant::now();
    for container in containers {
        let now = host::now_us();
        let wanted = container.settings.mode(File::Loadavg) == Mode::On
            && container.used() > 0
            && now.saturating_sub(container.used()) < INTEREST_US;
        if !wanted {
            continue;
        }
        if start.elapsed() > ROUND {
            tracing::debug!("load round cut short");
            return;
        }
        count(server, container, now);
    }
}

/// Counts one container and moves its averages on.
pub fn count(server: &Server, container: &Container, now: u64) -> Option<Load> {
    let dir = container.sources(&server.trees).places.process_dir(&server.trees)?;
    let mut counts = Counts::default();
    counts.tree(&dir);
    let active = counts.running + counts.blocked;
    let (averages, at) = match container.load() {
        Some(last) => {
            let periods = now.saturating_sub(last.at) / (PERIOD_S * 1_000_000);
            let mut averages = last.averages;
            averages.advance(active, periods);
            (averages, last.at + periods * PERIOD_S * 1_000_000)
        }
        None => (Averages::starting_at(active), now),
    };
    let load = Load {
        averages,
        running: counts.running,
        blocked: counts.blocked,
        threads: counts.threads as u64,
        last_pid: counts.last_pid(),
        at,
    };
    container.set_load(load);
    Some(load)
}

#[derive(Debug, Default)]
struct Counts {
    running: u64,
    blocked: u64,
    threads: usize,
    dirs: usize,
    newest: u64,
    buffer: Vec<u8>,
}

impl Counts {
    fn tree(&mut self, dir: &Path) {
        self.dirs += 1;
        // v2 lists threads in cgroup.threads; v1 calls the file tasks.
        let names = ["cgroup.threads", "tasks"];
        let mut list = Vec::new();
        for name in names {
            list.clear();
            if host::read_path(&dir.join(name).to_string_lossy(), &mut list).is_ok() {
                break;
            }
        }
        for tid in text::lines(&list).filter_map(text::number) {
            if self.threads >= THREADS {
                return;
            }
            self.thread(tid);
        }
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let below: Vec<PathBuf> =
            entries.flatten().filter(is_dir).map(|entry| entry.path()).collect();
        for dir in below {
            if self.dirs < DIRS {
                self.tree(&dir);
            }
        }
    }

    fn thread(&mut self, tid: u64) {
        self.buffer.clear();
        if host::read_path(&format!("/proc/{tid}/stat"), &mut self.buffer).is_err() {
            return;
        }
        self.threads += 1;
        self.newest = self.newest.max(tid);
        match state(&self.buffer) {
            Some(b'R') => self.running += 1,
            Some(b'D') => self.blocked += 1,
            _ => {}
        }
    }

    /// The newest thread's number as its own pid namespace has it.
    fn last_pid(&self) -> u64 {
        let mut status = Vec::new();
        let read = host::read_path(&format!("/proc/{}/status", self.newest), &mut status);
        read.ok()
            .and_then(|()| text::lines(&status).find_map(|line| line.strip_prefix(b"NSpid:")))
            .and_then(|pids| text::words(pids).last().and_then(text::number))
            .unwrap_or(1)
    }
}

/// The state letter of `/proc/PID/stat`: the word after the last `)`, since a name may hold any.
fn state(stat: &[u8]) -> Option<u8> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(end + 2).copied()
}

#[cfg(test)]
mod tests {
    use super::state;

    #[test]
    fn a_name_cannot_pretend_a_state() {
        assert_eq!(state(b"7 (a) R (b) D 1 7"), Some(b'D'));
        assert_eq!(state(b"nonsense"), None);
    }
}
