//! One container: who it is, where its cgroups are, what its files may say.
//!
//! Its pidfd pins the pid namespace of its init: while it is held, the namespace's inode number is
//! given to no other (put_pid() in kernel/pid.c lets the namespace go with the last reference to
//! the pid), so a container found by that number is the right one without asking again.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use linux::process::{Pid, PidFd};

use crate::{
    config::Settings,
    cpuview::{Reading, Record},
    fallback::Cause,
    host::now_us,
    load::Averages,
    sample::{CpuBudget, CpuUsage},
    source::{
        self, CgroupFile, Places, Trees, block::BlockSource, cpu::CpuSource, memory::MemorySource,
    },
    state::{Key, State},
};

/// Microseconds of one tick of `/proc/PID/stat`: `USER_HZ` is 100 everywhere.
const TICK_US: u64 = 10_000;
/// How often a container may be found to have moved to another cgroup.
const MEMBERSHIP_US: u64 = 1_000_000;

/// A container while its init lives.
#[derive(Debug)]
pub struct Container {
    /// Whose record it is.
    pub key: Key,
    /// Its id where we were told one, else how we know it.
    pub name: String,
    /// Its init.
    pub init: Pid,
    /// What its files look like.
    pub settings: Settings,
    pidfd: PidFd,
    /// None until somebody asks, and again when nobody has for a while.
    sources: RwLock<Option<Arc<Sources>>>,
    checked: AtomicU64,
    used: AtomicU64,
    cpu: Mutex<Option<Record>>,
    load: Mutex<Option<Load>>,
    kept: Mutex<HashMap<u64, Kept>>,
}

/// What the sampler has counted.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "the names are the counts")]
pub struct Load {
    pub averages: Averages,
    pub running: u64,
    pub blocked: u64,
    pub threads: u64,
    pub last_pid: u64,
    /// When, microseconds since boot.
    pub at: u64,
}

/// The text of a file that the kernel may keep, and when it last became another.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What it says.
    pub text: Arc<[u8]>,
    /// When it was rendered, microseconds since boot.
    pub at: u64,
    /// When it last changed, nanoseconds since boot: the file's time stamp.
    pub changed: u64,
}

/// The files a container's samples are read from, as long as it stays in its cgroups.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are what they are the source of")]
pub struct Sources {
    pub places: Places,
    pub memory: Option<MemorySource>,
    pub cpu: CpuSource,
    pub block: BlockSource,
    /// cpu, memory, io, irq.
    pub pressure: Option<[CgroupFile; 4]>,
}

impl Sources {
    fn new(places: Places) -> Sources {
        let huge = places.hugetlb.as_ref().zip(default_huge_page());
        Sources {
            memory: places.memory.as_ref().map(|place| MemorySource::new(place, huge)),
            cpu: CpuSource::new(&places),
            block: BlockSource::new(&places),
            pressure: places.pressure_files(),
            places,
        }
    }
}

/// The unit in hugetlb's file names of the page size meminfo shows by default.
fn default_huge_page() -> Option<&'static str> {
    match rustix::param::page_size() {
        4096 | 16384 => Some(if rustix::param::page_size() == 4096 { "2MB" } else { "32MB" }),
        65536 => Some("512MB"),
        _ => None,
    }
}

impl Container {
    /// The container whose init is `init`, which `identity` stands for.
    ///
    /// An error says that the process is gone or that its cgroups cannot be told.
    pub fn new(
        init: Pid,
        identity: u64,
        name: String,
        settings: Settings,
    ) -> linux::Result<Container> {
        let pidfd = PidFd::open(init)?;
        let start = linux::process::start_time(init)?.saturating_mul(TICK_US);
        source::membership(init)?;
        Ok(Container {
            key: Key { identity, start },
            name,
            init,
            settings,
            pidfd,
            sources: RwLock::new(None),
            checked: AtomicU64::new(now_us()),
            used: AtomicU64::new(0),
            cpu: Mutex::new(None),
            load: Mutex::new(None),
            kept: Mutex::new(HashMap::new()),
        })
    }

    /// Whether its init still runs.
    pub fn is_alive(&self) -> bool {
        // One of which this cannot be asked is not forgotten.
        self.pidfd.is_alive().unwrap_or(true)
    }

    /// The pidfd, to wait for the end on.
    pub fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// Microseconds since its init started.
    pub fn age_us(&self, now: u64) -> u64 {
        now.saturating_sub(self.key.start)
    }

    /// Somebody reads one of its files.
    pub fn touch(&self) {
        self.used.store(now_us(), Ordering::Relaxed);
    }

    /// When somebody last read one of its files, microseconds since boot; 0 for never.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Its sources; looked up again once a second, since containers do get moved.
    pub fn sources(&self, trees: &Trees) -> Arc<Sources> {
        let now = now_us();
        let checked = self.checked.load(Ordering::Relaxed);
        if now.saturating_sub(checked) > MEMBERSHIP_US
            && self
                .checked
                .compare_exchange(checked, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.look_again(trees);
        }
        let known = self.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.unwrap_or_else(|| {
            // A zombie init is in no cgroup to speak of.
            let places = source::membership(self.init)
                .map(|membership| Places::of(trees, &membership))
                .unwrap_or_default();
            let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(sources.get_or_insert_with(|| Arc::new(Sources::new(places))))
        })
    }

    fn look_again(&self, trees: &Trees) {
        // What was known of an init that is a zombie now stays.
        let Ok(membership) = source::membership(self.init) else { return };
        let places = Places::of(trees, &membership);
        if !self.is_alive() {
            return;
        }
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        if sources.as_ref().is_some_and(|known| known.places != places) {
            *sources = Some(Arc::new(Sources::new(places)));
        }
    }

    /// What it may use of the CPUs.
    pub fn budget(
        &self,
        server: &crate::server::Server,
        fresh: Duration,
    ) -> Result<Arc<CpuBudget>, Cause> {
        let sources = self.sources(&server.trees);
        let quota = self.settings.quota;
        sources.cpu.budget(&server.trees, &server.host, quota, fresh).map_err(Cause::read)
    }

    /// Its CPU time told so far, brought up to this moment and kept where a successor finds it.
    pub fn cpu_record(
        &self,
        state: &State,
        restored: &Mutex<HashMap<Key, Record>>,
        budget: &CpuBudget,
        usage: &CpuUsage,
        now: u64,
    ) -> Result<Record, Cause> {
        let reading = Reading { now, age: self.age_us(now), budget, usage };
        let mut cpu = lock(&self.cpu);
        let record = match cpu.take().or_else(|| lock(restored).remove(&self.key)) {
            Some(mut record) => {
                record.advance(&reading);
                record
            }
            None => Record::first(&reading),
        };
        // Before it is told to anybody. This is memory, not a disk: it does not wait.
        let stored = state.store(self.key, &record);
        *cpu = Some(record.clone());
        drop(cpu);
        stored.map_err(Cause::read)?;
        Ok(record)
    }

    /// What the sampler counted last.
    pub fn load(&self) -> Option<Load> {
        *lock(&self.load)
    }

    /// What the sampler counts now.
    pub fn set_load(&self, load: Load) {
        *lock(&self.load) = Some(load);
    }

    /// The kept text of the file `inode`, rendered again if it is older than `age_us`.
    pub fn kept(&self, inode: u64, age_us: u64, render: impl FnOnce() -> Arc<[u8]>) -> Kept {
        let now = now_us();
        let known = lock(&self.kept).get(&inode).cloned();
        if let Some(kept) = &known
            && now.saturating_sub(kept.at) < age_us
        {
            return kept.clone();
        }
        let text = render();
        let changed = match &known {
            Some(kept) if kept.text == text => kept.changed,
            _ => now.saturating_mul(1000),
        };
        let kept = Kept { text, at: now, changed };
        lock(&self.kept).insert(inode, kept.clone());
        kept
    }

    /// Lets descriptors and kept texts go; they come back when somebody asks.
    pub fn rest(&self) {
        *self.sources.write().unwrap_or_else(PoisonError::into_inner) = None;
        *lock(&self.kept) = HashMap::new();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_keeps_it_awake() {
        let container =
            Container::new(Pid::current(), 1, "own".into(), Settings::default()).unwrap();
        // As the sampler does, which must not be the reason for its next round.
        container.sources(&Trees::none());
        assert_eq!(container.used(), 0);
        container.touch();
        assert!(container.used() > 0);
    }
}
