//! The host's own files: opened once, read with `pread`, so that a read costs one call.
//!
//! A seq_file gives at most its buffer in one call (fs/seq_file.c): reading goes on until it gives
//! nothing, except for files the kernel writes as one record.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use linux::{Context as _, Errno};
use rustix::fs::{Mode, OFlags};

use crate::view::{cpuinfo::HostCpus, meminfo::HostMeminfo};

/// How old the text of cpuinfo may be: the kernel samples every CPU's clock for each read of it.
const CPUINFO_AGE: Duration = Duration::from_secs(1);

/// A file of the host.
#[derive(Debug)]
pub struct HostFile {
    path: String,
    fd: Option<OwnedFd>,
}

impl HostFile {
    /// Opens `path`; a file this kernel does not have is one whose every read says so.
    pub fn open(path: &str) -> HostFile {
        HostFile { path: path.into(), fd: open(path).ok() }
    }

    /// Appends the whole file.
    pub fn read(&self, out: &mut Vec<u8>) -> linux::Result<()> {
        match &self.fd {
            Some(fd) => read_all(fd, out),
            None => Err(Errno::NOENT),
        }
        .during(|| format!("read {}", self.path))
    }
}

/// A file of the host that many answers are made from, and what was made of it.
#[derive(Debug)]
pub struct Recent<T> {
    file: HostFile,
    parse: fn(Vec<u8>) -> T,
    last: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T> Recent<T> {
    fn open(path: &str, parse: fn(Vec<u8>) -> T) -> Recent<T> {
        Recent { file: HostFile::open(path), parse, last: Mutex::new(None) }
    }

    /// At most `fresh` old. Reading happens without the lock: two callers may read at once, none
    /// waits for another's read.
    pub fn get(&self, fresh: Duration) -> linux::Result<Arc<T>> {
        let kept = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, known)) = kept.filter(|(read, _)| read.elapsed() < fresh) {
            return Ok(known);
        }
        let now = Instant::now();
        let mut text = Vec::with_capacity(CHUNK);
        self.file.read(&mut text)?;
        let new = Arc::new((self.parse)(text));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two that read at once the later one's stays: counters in it do not go back.
        if last.as_ref().is_none_or(|(read, _)| *read <= now) {
            *last = Some((now, Arc::clone(&new)));
        }
        Ok(new)
    }
}

/// Reads a file by path, for files that are read once.
pub fn read_path(path: &str, out: &mut Vec<u8>) -> linux::Result<()> {
    open(path).and_then(|fd| read_all(&fd, out)).during(|| format!("read {path}"))
}

fn open(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Appends everything from the start of the file.
pub fn read_all(fd: &OwnedFd, out: &mut Vec<u8>) -> rustix::io::Result<()> {
    let start = out.len();
    loop {
        if read_at(fd, out, (out.len() - start) as u64)? == 0 {
            return Ok(());
        }
    }
}

/// Appends a file the kernel writes as one record: one call, more only if it does not fit.
pub fn read_record(fd: &OwnedFd, out: &mut Vec<u8>) -> rustix::io::Result<()> {
    let start = out.len();
    loop {
        out.reserve(CHUNK);
        let room = out.capacity() - out.len();
        let got = read_at(fd, out, (out.len() - start) as u64)?;
        if got < room {
            return Ok(());
        }
    }
}

const CHUNK: usize = 4096;

fn read_at(fd: &OwnedFd, out: &mut Vec<u8>, offset: u64) -> rustix::io::Result<usize> {
    out.reserve(CHUNK);
    rustix::io::retry_on_intr(|| rustix::io::pread(fd, rustix::buffer::spare_capacity(out), offset))
}

/// All the host's files that views are made from.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the files")]
pub struct Host {
    pub meminfo: Recent<HostMeminfo>,
    pub stat: Recent<Vec<u8>>,
    cpuinfo: Recent<HostCpus>,
    online: HostFile,
    /// `vm.overcommit_ratio` when the daemon started.
    pub overcommit_ratio: u64,
    /// When the host booted, in seconds of the wall clock: the time stamp of every file.
    pub boot_time: u64,
}

impl Host {
    /// Opens them.
    pub fn open() -> Host {
        let mut ratio = Vec::new();
        let overcommit_ratio = read_path("/proc/sys/vm/overcommit_ratio", &mut ratio)
            .ok()
            .and_then(|()| crate::text::number(&ratio))
            .unwrap_or(50);
        let stat = Recent::open("/proc/stat", |text| text);
        let boot_time = stat
            .get(Duration::ZERO)
            .ok()
            .and_then(|text| {
                let mut pairs = crate::text::pairs(&text);
                pairs.find_map(|(key, value)| (key == b"btime").then_some(value))
            })
            .unwrap_or(0);
        Host {
            meminfo: Recent::open("/proc/meminfo", HostMeminfo::parse),
            stat,
            cpuinfo: Recent::open("/proc/cpuinfo", |text| HostCpus::parse(&text)),
            online: HostFile::open("/sys/devices/system/cpu/online"),
            overcommit_ratio,
            boot_time,
        }
    }

    /// The CPUs' blocks, at most a second old.
    pub fn cpus(&self) -> linux::Result<Arc<HostCpus>> {
        self.cpuinfo.get(CPUINFO_AGE)
    }

    /// The CPUs in use on the host.
    pub fn online(&self) -> linux::Result<crate::cpuset::CpuSet> {
        let mut text = Vec::new();
        self.online.read(&mut text)?;
        crate::cpuset::CpuSet::parse(&text)
            .ok_or_else(|| linux::Error::new("parse /sys/devices/system/cpu/online", Errno::INVAL))
    }
}

/// Microseconds since boot, on the clock process start times are on.
pub fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}
